//! PNG.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::error::ImageError as DecodeError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};

use super::{DecodedImage, IMAGE_ALLOC_BYTES_MAX, ImageError, ImageFormat, check_alloc, check_size};

const FORMAT: ImageFormat = ImageFormat::Png;

pub(super) fn decode(encoded: &[u8]) -> Result<DecodedImage, ImageError> {
    if !has_end_chunk(encoded) {
        return Err(ImageError::Truncated { format: FORMAT });
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(IMAGE_ALLOC_BYTES_MAX);
    let mut decoder = PngDecoder::with_limits(Cursor::new(encoded), limits).map_err(error)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    // The file's own samples, then as 8-bit RGB.
    let rgb_bytes = u64::from(width) * u64::from(height) * 3;
    check_alloc(FORMAT, decoder.total_bytes().saturating_add(rgb_bytes))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(error)?;
    Ok(DecodedImage::upright(image.into_rgb8(), orientation))
}

/// Whether the chunks run through to the last one; the decoder stops at the last pixel.
fn has_end_chunk(encoded: &[u8]) -> bool {
    const SIGNATURE_BYTES: usize = 8;
    const CHECKSUM_BYTES: usize = 4;
    let mut rest = encoded.get(SIGNATURE_BYTES..).unwrap_or_default();
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        match body.get(length.saturating_add(CHECKSUM_BYTES)..) {
            Some(_) if kind == *b"IEND" => return true,
            Some(next) => rest = next,
            None => return false,
        }
    }
    false
}

fn error(error: DecodeError) -> ImageError {
    match error {
        DecodeError::Limits(_) => ImageError::TooMuchMemory { format: FORMAT },
        DecodeError::Unsupported(e) => ImageError::Unsupported { format: FORMAT, reason: e.to_string() },
        DecodeError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT }
        }
        other => ImageError::Damaged { format: FORMAT, reason: other.to_string() },
    }
}
