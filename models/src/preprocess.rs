//! From pixels to what a model was trained on: centre crop, resize, normalise.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::image::DecodedImage;
use crate::manifest::ImageInput;
use crate::run::Device;

/// Turns pictures into one model's inputs. Each worker thread has its own: it keeps its scratch memory.
#[derive(Clone, Debug)]
pub struct Preprocessor {
    input: ImageInput,
    form: Form,
    resizer: Resizer,
}

/// The form in which a model takes pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// FP32 planes, normalised: `[batch, 3, side, side]`.
    Planes,
    /// UINT8 pixels as they are: `[batch, side, side, 3]`. A quarter of the bytes.
    Pixels,
}

impl Form {
    /// The form that models on `device` take: a GPU normalises on its own, so that little crosses the bus.
    pub const fn on(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Planes,
            Device::Cuda(_) => Self::Pixels,
        }
    }
}

/// One picture in one of the forms.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelInput {
    /// 3 × side × side, red plane first, normalised.
    Planes(Vec<f32>),
    /// Side × side × 3.
    Pixels(Vec<u8>),
}

impl ModelInput {
    /// Which form it is in.
    pub const fn form(&self) -> Form {
        match self {
            Self::Planes(_) => Form::Planes,
            Self::Pixels(_) => Form::Pixels,
        }
    }

    /// How many numbers it has.
    pub const fn values(&self) -> usize {
        match self {
            Self::Planes(planes) => planes.len(),
            Self::Pixels(pixels) => pixels.len(),
        }
    }

    /// The planes, if it is in this form.
    pub fn planes(&self) -> Option<&[f32]> {
        match self {
            Self::Planes(planes) => Some(planes),
            Self::Pixels(_) => None,
        }
    }

    /// The pixels, if it is in this form.
    pub fn pixels(&self) -> Option<&[u8]> {
        match self {
            Self::Planes(_) => None,
            Self::Pixels(pixels) => Some(pixels),
        }
    }
}

impl Preprocessor {
    /// A preprocessor for a model that takes `input` in this form.
    pub fn new(input: &ImageInput, form: Form) -> Self {
        Self { input: input.clone(), form, resizer: Resizer::new() }
    }

    /// Crops, resizes and normalises one picture.
    pub fn apply(&mut self, image: &DecodedImage) -> ModelInput {
        let pixels = self.resized(image);
        match self.form {
            Form::Pixels => ModelInput::Pixels(pixels),
            Form::Planes => ModelInput::Planes(normalised(&pixels, self.input.mean, self.input.scale)),
        }
    }

    /// Bicubic with a = −0.5 (Catmull–Rom), antialiased, on 8-bit samples, rows before columns and nothing from
    /// outside the crop: what Pillow's `BICUBIC` does to the cropped picture, and so what the models' authors saw.
    fn resized(&mut self, image: &DecodedImage) -> Vec<u8> {
        let side = self.input.side;
        let crop = Crop::centre(image.width(), image.height(), &self.input);
        let source = ImageRef::new(image.width(), image.height(), image.rgb(), PixelType::U8x3)
            .expect("a decoded image holds width × height RGB triples");
        let source = CroppedImage::new(&source, crop.left, crop.top, crop.side, crop.side)
            .expect("the crop lies inside the picture");
        let mut narrow = Image::new(side, crop.side, PixelType::U8x3);
        self.resize(&source, &mut narrow);
        let mut target = Image::new(side, side, PixelType::U8x3);
        self.resize(&narrow, &mut target);
        target.into_vec()
    }

    fn resize(&mut self, source: &impl IntoImageView, target: &mut Image<'_>) {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        self.resizer.resize(source, target, &options).expect("the pixel types are equal");
    }
}

/// The square that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crop {
    left: u32,
    top: u32,
    side: u32,
}

impl Crop {
    /// The middle square whose side is S ∕ (S + margin) of the picture's shorter side.
    fn centre(width: u32, height: u32, input: &ImageInput) -> Self {
        let (side, margin) = (u64::from(input.side), u64::from(input.crop_margin));
        let kept = u64::from(width.min(height)) * side / (side + margin);
        let side = u32::try_from(kept).unwrap_or(u32::MAX).max(1);
        Self { left: (width - side) / 2, top: (height - side) / 2, side }
    }
}

/// The planes of one picture.
pub(crate) fn normalised(rgb: &[u8], mean: f32, scale: f32) -> Vec<f32> {
    let mut planes = Vec::with_capacity(rgb.len());
    for channel in 0..3 {
        planes.extend((rgb.chunks_exact(3)).map(|pixel| (f32::from(pixel[channel]) - mean) / scale));
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(side: u32, crop_margin: u32) -> ImageInput {
        ImageInput { tensor: "input".into(), side, crop_margin, mean: 127.0, scale: 128.0 }
    }

    fn planes(input: &ImageInput, image: &DecodedImage) -> Vec<f32> {
        Preprocessor::new(input, Form::Planes).apply(image).planes().expect("planes").to_vec()
    }

    #[test]
    fn the_crop_is_central_and_never_empty() {
        let crop = |w, h, side| Crop::centre(w, h, &input(side, 32));
        let expected = |left, top, side| Crop { left, top, side };
        assert_eq!(crop(512, 512, 224), expected(32, 32, 448));
        assert_eq!(crop(1024, 683, 240), expected(211, 40, 602));
        assert_eq!(crop(1024, 683, 260), expected(208, 37, 608));
        assert_eq!(crop(1, 1, 224), expected(0, 0, 1));
        assert_eq!(crop(1, 5000, 224), expected(0, 2499, 1));
    }

    /// Made with Pillow 13: `image.crop(…).resize((5, 5), Image.BICUBIC)`, its red plane.
    const PILLOW: [[f32; 5]; 5] = [
        [149.0, 126.0, 109.0, 159.0, 80.0],
        [124.0, 146.0, 126.0, 125.0, 137.0],
        [129.0, 156.0, 106.0, 147.0, 111.0],
        [125.0, 117.0, 132.0, 96.0, 107.0],
        [84.0, 115.0, 139.0, 186.0, 118.0],
    ];

    #[test]
    fn pixels_are_those_of_pillow() -> Result<(), Box<dyn std::error::Error>> {
        let (height, width) = (17, 23);
        let pixels = (0..height).flat_map(|y: u32| {
            (0..width)
                .flat_map(move |x: u32| (0..3).map(move |c| (x * x * 7 + y * 29 + x * y * (c + 3) + c * 50) as u8))
        });
        let image = DecodedImage::from_raw(height, width, pixels.collect())?;
        let raw = ImageInput { mean: 0.0, scale: 1.0, ..input(5, 3) };
        assert_eq!(planes(&raw, &image)[..25], *PILLOW.as_flattened());
        Ok(())
    }

    #[test]
    fn pixels_stay_as_they_are() -> Result<(), Box<dyn std::error::Error>> {
        let image = DecodedImage::from_raw(5, 6, [255, 127, 0].repeat(6 * 5))?;
        let model_input = Preprocessor::new(&input(4, 0), Form::Pixels).apply(&image);
        assert_eq!(model_input, ModelInput::Pixels([255, 127, 0].repeat(16)));
        Ok(())
    }

    #[test]
    fn planes_are_red_green_blue_and_normalised() -> Result<(), Box<dyn std::error::Error>> {
        let pixels = [255, 127, 0].repeat(6 * 5);
        let image = DecodedImage::from_raw(5, 6, pixels)?;
        let plane = |value: f32| vec![value; 16];
        assert_eq!(planes(&input(4, 0), &image), [plane(1.0), plane(0.0), plane(-127.0 / 128.0)].concat());
        Ok(())
    }
}
