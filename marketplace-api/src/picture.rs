//! What the gateway looks at in a picture: its header, so that a bomb is refused before anybody decodes it.
//!
//! Whole decoding is the model nodes'; a damaged body makes them abstain.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits};

/// Bounds on a picture's dimensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PictureRules {
    pub(crate) side_max: u32,
    pub(crate) pixels_max: u64,
    /// All pictures of one call together.
    pub(crate) call_pixels_max: u64,
}

/// The header reader may allocate this much, whatever the file says.
const HEADER_ALLOC_BYTES_MAX: u64 = 1 << 20;

/// Checks a picture's format and dimensions, and gives its pixels; the message says what is wrong with it.
pub(crate) fn check_picture(bytes: &[u8], rules: PictureRules) -> Result<u64, String> {
    let format = image::guess_format(bytes).ok();
    let Some(format @ (ImageFormat::Jpeg | ImageFormat::Png)) = format else {
        return Err(format!("not a JPEG or PNG picture ({} bytes)", bytes.len()));
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(HEADER_ALLOC_BYTES_MAX);
    reader.limits(limits);
    let name = if format == ImageFormat::Png { "PNG" } else { "JPEG" };
    let (width, height) =
        reader.into_dimensions().map_err(|_| format!("a damaged or truncated {name}: its header cannot be read"))?;
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 {
        return Err(format!("the {name} is {width}x{height}: it has no pixels"));
    }
    if width.max(height) > rules.side_max || pixels > rules.pixels_max {
        return Err(format!(
            "the {name} is {width}x{height}, too large: at most {} pixels a side and {} in all",
            rules.side_max, rules.pixels_max
        ));
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: PictureRules = PictureRules { side_max: 100, pixels_max: 5000, call_pixels_max: 8000 };

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let picture = image::RgbImage::new(width, height);
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    #[test]
    fn only_pictures_of_reasonable_size_pass() {
        assert_eq!(check_picture(&png(10, 10), RULES), Ok(100));
        for (bytes, complaint) in [
            (png(101, 1), "too large"),
            (png(80, 80), "too large"),
            (png(10, 10)[..20].to_vec(), "truncated"),
            (b"GIF89a".to_vec(), "not a JPEG or PNG"),
            (Vec::new(), "not a JPEG or PNG"),
            (vec![0xff, 0xd8, 0xff], "truncated"),
        ] {
            let message = check_picture(&bytes, RULES).unwrap_err();
            assert!(message.contains(complaint), "{message}");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_header_alone() {
        let mut bomb = png(1, 1);
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        assert!(check_picture(&bomb, RULES).unwrap_err().contains("65536x65536, too large"));
    }
}
