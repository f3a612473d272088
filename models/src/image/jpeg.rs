//! JPEG, strictly: lenient decoders fill what is missing with grey, and a model would then answer about the grey.

use image::RgbImage;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{DecodedImage, ImageError, ImageFormat, check_alloc, check_size};

const FORMAT: ImageFormat = ImageFormat::Jpeg;
/// The most progressive scans; encoders write about ten, and each costs a pass over every pixel.
const SCANS_MAX: usize = 64;
/// A progressive decoder keeps a 16-bit coefficient and an 8-bit sample of up to four channels for every pixel.
const ALLOC_BYTES_PER_PIXEL: u64 = 4 * 2 + 3;
/// Sides are 16-bit in the format; the pixel limit is checked on the product.
const SIDE_MAX: usize = 65_535;

pub(super) fn decode(encoded: &[u8]) -> Result<DecodedImage, ImageError> {
    if !has_end_of_image(encoded) {
        return Err(ImageError::Truncated { format: FORMAT });
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
        .jpeg_set_max_scans(SCANS_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(encoded), options);
    decoder.decode_headers().map_err(error)?;
    let (width, height) = size(&decoder)?;
    let orientation =
        (decoder.exif()).and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms);
    let pixels = decoder.decode().map_err(error)?;
    let rgb = match decoder.output_colorspace() {
        Some(ColorSpace::Luma) => pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        _ => pixels,
    };
    let image = RgbImage::from_raw(width, height, rgb).ok_or_else(|| damaged("the pixels do not fill the picture"))?;
    Ok(DecodedImage::upright(image, orientation))
}

fn size(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> Result<(u32, u32), ImageError> {
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged("no frame header"))?;
    check_size(width as u64, height as u64)?;
    check_alloc(FORMAT, width as u64 * height as u64 * ALLOC_BYTES_PER_PIXEL)?;
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(damaged("impossible size")),
    }
}

/// Whether the marker segments and entropy-coded data run through to an end-of-image marker. Decoders stop caring
/// once they have the last block that they want, so this is checked apart.
fn has_end_of_image(encoded: &[u8]) -> bool {
    let mut at = 2;
    while let Some(marker) = next_marker(encoded, &mut at) {
        match marker {
            END_OF_IMAGE => return true,
            0x01 | RESTART_FIRST..=RESTART_LAST => {}
            _ => match encoded.get(at..at + 2) {
                Some(&[high, low]) => at += usize::from(u16::from_be_bytes([high, low])).max(2),
                _ => return false,
            },
        }
    }
    false
}

const END_OF_IMAGE: u8 = 0xd9;
const RESTART_FIRST: u8 = 0xd0;
const RESTART_LAST: u8 = 0xd7;

/// Moves past the next marker and returns its code. FF 00 is a data byte, FF FF is fill.
fn next_marker(encoded: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = encoded.get(*at..)?;
        *at += rest.iter().position(|&byte| byte == 0xff)? + 1;
        match encoded.get(*at)? {
            0x00 => *at += 1,
            0xff => {}
            &code => {
                *at += 1;
                return Some(code);
            }
        }
    }
}

fn error(error: DecodeErrors) -> ImageError {
    match error {
        DecodeErrors::ExhaustedData => ImageError::Truncated { format: FORMAT },
        DecodeErrors::Unsupported(scheme) => ImageError::Unsupported { format: FORMAT, reason: format!("{scheme:?}") },
        DecodeErrors::ZeroError => ImageError::Empty,
        other => damaged(&other.to_string()),
    }
}

fn damaged(reason: &str) -> ImageError {
    ImageError::Damaged { format: FORMAT, reason: reason.to_owned() }
}
