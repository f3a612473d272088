use super::*;

use std::io::Cursor;

use ::image::codecs::jpeg::JpegEncoder;
use ::image::{DynamicImage, GrayImage, Luma, Rgb, Rgba, RgbaImage};
use proptest::prelude::*;

/// Pixels with enough detail that every part of the file matters.
fn busy(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let hash = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
        let [a, b, c, _] = (hash ^ (hash >> 13)).to_be_bytes();
        Rgb([a, b, c])
    })
}

fn jpeg(image: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90)).expect("encodes");
    file
}

fn png(image: &DynamicImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ::image::ImageFormat::Png).expect("encodes");
    file.into_inner()
}

#[test]
fn a_png_comes_back_exactly() -> Result<(), ImageError> {
    let image = busy(31, 17);
    let decoded = DecodedImage::decode(&png(&image.clone().into()))?;
    assert_eq!((decoded.width(), decoded.height()), (31, 17));
    assert_eq!(decoded.rgb(), image.as_raw().as_slice());
    Ok(())
}

#[test]
fn every_kind_of_pixel_becomes_rgb() -> Result<(), ImageError> {
    let grey = DynamicImage::from(GrayImage::from_pixel(8, 8, Luma([77])));
    let alpha = DynamicImage::from(RgbaImage::from_pixel(8, 8, Rgba([10, 20, 30, 0])));
    let deep = DynamicImage::from(alpha.to_rgb16());
    let expected = |rgb: [u8; 3]| rgb.repeat(64);
    assert_eq!(DecodedImage::decode(&png(&grey))?.rgb(), expected([77; 3]));
    assert_eq!(DecodedImage::decode(&jpeg(&grey))?.rgb(), expected([77; 3]));
    assert_eq!(DecodedImage::decode(&png(&alpha))?.rgb(), expected([10, 20, 30]));
    assert_eq!(DecodedImage::decode(&png(&deep))?.rgb(), expected([10, 20, 30]));
    Ok(())
}

#[test]
fn a_jpeg_keeps_its_colours() -> Result<(), ImageError> {
    let image = RgbImage::from_fn(64, 48, |x, _| if x < 32 { Rgb([200, 30, 40]) } else { Rgb([20, 60, 220]) });
    let decoded = DecodedImage::decode(&jpeg(&image.clone().into()))?;
    let error = (decoded.rgb().iter().zip(image.as_raw())).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(error < Some(24), "{error:?}");
    Ok(())
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let image = DynamicImage::from(busy(40, 40));
    for file in [jpeg(&image), png(&image)] {
        assert!(DecodedImage::decode(&file).is_ok());
        for length in 0..file.len() {
            let error = DecodedImage::decode(&file[..length]).expect_err("cut");
            let expected = match length {
                0..8 => matches!(error, ImageError::NotAnImage | ImageError::Truncated { .. }),
                _ => matches!(error, ImageError::Truncated { .. }),
            };
            assert!(expected, "{length}: {error}");
        }
    }
}

#[test]
fn what_is_no_picture_is_said_to_be_none() {
    for bytes in [&b""[..], b"GIF89a", b"<svg/>", &[0xff, 0xd8], &[0; 100]] {
        assert_eq!(DecodedImage::decode(bytes), Err(ImageError::NotAnImage));
    }
    let long = vec![0xff; IMAGE_ENCODED_BYTES_MAX + 1];
    assert!(matches!(DecodedImage::decode(&long), Err(ImageError::TooManyBytes { .. })));
}

/// Rewrites the size in a PNG's header, with the right checksum.
fn resized_png(width: u32, height: u32) -> Vec<u8> {
    let mut file = png(&busy(2, 2).into());
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&checksum.to_be_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1))))
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let mut file = jpeg(&busy(16, 16).into());
    let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    file[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    for bomb in [file, resized_png(50_001, 1_000), resized_png(0x7fff_ffff, 0x7fff_ffff)] {
        let error = DecodedImage::decode(&bomb).expect_err("a bomb");
        assert!(matches!(error, ImageError::TooManyPixels { .. } | ImageError::TooMuchMemory { .. }), "{error}");
    }
}

#[test]
fn raw_pixels_must_fill_the_picture() {
    assert!(DecodedImage::from_raw(2, 3, vec![0; 18]).is_ok());
    assert!(matches!(
        DecodedImage::from_raw(2, 3, vec![0; 17]),
        Err(ImageError::RawLength { expected: 18, got: 17, .. })
    ));
    assert_eq!(DecodedImage::from_raw(0, 3, vec![]), Err(ImageError::Empty));
    assert!(matches!(DecodedImage::from_raw(u32::MAX, u32::MAX, vec![]), Err(ImageError::TooManyPixels { .. })));
}

#[test]
fn a_sideways_photo_is_turned_upright() -> Result<(), ImageError> {
    let image = RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([250; 3]) } else { Rgb([5; 3]) });
    let mut file = jpeg(&image.into());
    // Exif with one entry, Orientation = 6: turn 90° clockwise.
    let exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    file.splice(2..2, exif.iter().copied());
    let decoded = DecodedImage::decode(&file)?;
    assert_eq!((decoded.width(), decoded.height()), (16, 32));
    assert!(decoded.rgb()[0] > 200 && decoded.rgb()[decoded.rgb().len() - 1] < 50);
    Ok(())
}

proptest! {
    #[test]
    fn damage_never_panics(at in 0usize..3000, value: u8, keep in 0usize..6000) {
        let image = DynamicImage::from(busy(24, 24));
        for mut file in [jpeg(&image), png(&image)] {
            let at = at % file.len();
            file[at] = value;
            file.truncate(keep);
            let _ = DecodedImage::decode(&file);
        }
    }
}
