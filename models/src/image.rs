//! Pictures: from hostile bytes to RGB pixels, within bounds.

mod jpeg;
mod png;

use image::RgbImage;
use image::metadata::Orientation;
use thiserror::Error;

/// The most bytes of an encoded picture that are looked at.
pub const IMAGE_ENCODED_BYTES_MAX: usize = 20_000_000;
/// The most pixels that a picture may have, whatever its file promises.
pub const IMAGE_PIXELS_MAX: u64 = 50_000_000;
/// The most bytes that a decoder may allocate for one picture.
pub const IMAGE_ALLOC_BYTES_MAX: u64 = 512 << 20;

/// The encodings that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// ITU-T T.81, baseline or progressive.
    Jpeg,
    /// W3C PNG.
    Png,
}

/// RGB pixels, one byte per channel, rows from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodedImage {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// Why bytes are not a picture that we take. The sender is to blame for each of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Neither signature fits.
    #[error("not a JPEG or PNG")]
    NotAnImage,
    /// The file is longer than [`IMAGE_ENCODED_BYTES_MAX`].
    #[error("too large: {bytes} bytes > {IMAGE_ENCODED_BYTES_MAX}")]
    TooManyBytes {
        /// Its length.
        bytes: usize,
    },
    /// The picture has more pixels than [`IMAGE_PIXELS_MAX`].
    #[error("too large: {width}x{height} > {IMAGE_PIXELS_MAX} pixels")]
    TooManyPixels {
        /// Its width.
        width: u64,
        /// Its height.
        height: u64,
    },
    /// Decoding would need more memory than [`IMAGE_ALLOC_BYTES_MAX`].
    #[error("too large: decoding this {format} needs more than {IMAGE_ALLOC_BYTES_MAX} bytes")]
    TooMuchMemory {
        /// Its encoding.
        format: ImageFormat,
    },
    /// The file breaks off.
    #[error("truncated {format}")]
    Truncated {
        /// Its encoding.
        format: ImageFormat,
    },
    /// The file contradicts its format.
    #[error("damaged {format}: {reason}")]
    Damaged {
        /// Its encoding.
        format: ImageFormat,
        /// What the decoder met.
        reason: String,
    },
    /// The file uses a part of its format that we do not read.
    #[error("unsupported {format}: {reason}")]
    Unsupported {
        /// Its encoding.
        format: ImageFormat,
        /// Which part.
        reason: String,
    },
    /// Raw pixels are not height × width × 3 bytes.
    #[error("raw pixels of {width}x{height} RGB need {expected} bytes, got {got}")]
    RawLength {
        /// The width given.
        width: u32,
        /// The height given.
        height: u32,
        /// height × width × 3.
        expected: u64,
        /// The bytes given.
        got: usize,
    },
    /// The width or the height is zero.
    #[error("the picture has no pixels")]
    Empty,
}

impl std::fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
        })
    }
}

impl ImageFormat {
    /// The format that a file's first bytes announce.
    pub fn detect(encoded: &[u8]) -> Option<Self> {
        if encoded.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else if encoded.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else {
            None
        }
    }
}

impl DecodedImage {
    /// Decodes a JPEG or PNG file and turns it upright. Grey, palette, 16-bit and transparent pictures become 8-bit
    /// RGB; transparency is dropped.
    ///
    /// # Errors
    /// When the bytes are not a whole, well-formed picture within the bounds of this module.
    pub fn decode(encoded: &[u8]) -> Result<Self, ImageError> {
        if encoded.len() > IMAGE_ENCODED_BYTES_MAX {
            return Err(ImageError::TooManyBytes { bytes: encoded.len() });
        }
        match ImageFormat::detect(encoded).ok_or(ImageError::NotAnImage)? {
            ImageFormat::Jpeg => jpeg::decode(encoded),
            ImageFormat::Png => png::decode(encoded),
        }
    }

    /// Takes raw pixels: `height` rows of `width` RGB triples, as in a UINT8 tensor of shape `[height, width, 3]`.
    ///
    /// # Errors
    /// When the length does not fit, or the picture is empty or too large.
    pub fn from_raw(height: u32, width: u32, rgb: Vec<u8>) -> Result<Self, ImageError> {
        check_size(width.into(), height.into())?;
        let expected = u64::from(width) * u64::from(height) * 3;
        if u64::try_from(rgb.len()) != Ok(expected) {
            return Err(ImageError::RawLength { width, height, expected, got: rgb.len() });
        }
        Ok(Self { width, height, rgb })
    }

    /// Pixels per row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: `height` rows of `width` RGB triples.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    fn upright(image: RgbImage, orientation: Orientation) -> Self {
        let mut image = image::DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        let image = image.into_rgb8();
        Self { width: image.width(), height: image.height(), rgb: image.into_raw() }
    }
}

impl std::fmt::Debug for DecodedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecodedImage({}x{})", self.width, self.height)
    }
}

/// Called before anything is allocated for pixels.
fn check_size(width: u64, height: u64) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty);
    }
    match width.checked_mul(height) {
        Some(pixels) if pixels <= IMAGE_PIXELS_MAX => Ok(()),
        _ => Err(ImageError::TooManyPixels { width, height }),
    }
}

fn check_alloc(format: ImageFormat, bytes: u64) -> Result<(), ImageError> {
    if bytes > IMAGE_ALLOC_BYTES_MAX {
        return Err(ImageError::TooMuchMemory { format });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
