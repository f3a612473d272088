//! Holds EfficientNet-Lite on a GPU against the same weights on the CPU, and says how fast it is:
//!
//! ```text
//! cargo run --release -p dropbear-models --example gpu_network -- lite0.safetensors 224
//! ```
//!
//! Ends with 1 if any score is further off than rounding explains. A machine without a GPU is told so.

use std::time::{Duration, Instant};

use dropbear_models::backend::{Interface, Normalisation, Side, load};
use dropbear_models::manifest::BackendKind;
use dropbear_models::{Device, Precision, RunOptions, Tensor, TensorData};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const BY: Normalisation = Normalisation { mean: 127.0, scale: 128.0 };

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, side] = arguments.as_slice() else { return Err("give MODEL.safetensors SIDE".into()) };
    let (artefact, side) = (std::fs::read(path)?, side.parse::<usize>()?);
    let interface = Interface {
        input: Side { tensor: "input".into(), shape: vec![3, side, side] },
        output: Side { tensor: "logits".into(), shape: vec![1000] },
        picture: Some(BY),
    };
    let open = |device, precision| {
        let options = RunOptions { device, precision, intra_threads: 4, ..RunOptions::default() };
        load(BackendKind::Candle, &artefact, &interface, None, &options)
    };
    let mut cpu = open(Device::Cpu, Precision::Fp32)?;
    let mut wrong = 0;
    for (precision, tolerance) in [(Precision::Fp32, 1e-3), (Precision::Fp16, 0.15)] {
        let began = Instant::now();
        let mut gpu = open(Device::Cuda(0), precision)?;
        println!("{precision}: loaded in {:?}", began.elapsed());
        for count in [1, 3, 8, 1] {
            let pixels = pixels(count, side);
            let expected = cpu.infer(&[planes(&pixels, count, side)?])?;
            let got = gpu.infer(&[Tensor::new(vec![count, side, side, 3], TensorData::Uint8(pixels))?])?;
            let (Some(expected), Some(got)) = (expected[0].as_fp32(), got[0].as_fp32()) else {
                return Err("scores are FP32".into());
            };
            let apart = expected.iter().zip(got).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0f32, |max, apart| if apart.is_nan() { f32::INFINITY } else { max.max(apart) });
            let largest = expected.iter().fold(0f32, |max, score| max.max(score.abs()));
            let right = apart <= tolerance && expected.len() == got.len();
            wrong += usize::from(!right);
            let verdict = if right { "ok   " } else { "WRONG" };
            println!("{verdict}  {precision} batch of {count}: {apart:e} apart, of {largest:.2}");
        }
        for count in [1, 8, 16, 32, 64, 128, 256] {
            let batch = [Tensor::new(vec![count, side, side, 3], TensorData::Uint8(pixels(count, side)))?];
            for _ in 0..5 {
                gpu.infer(&batch)?;
            }
            let (began, mut runs) = (Instant::now(), 0);
            while began.elapsed() < Duration::from_secs(1) {
                gpu.infer(&batch)?;
                runs += 1;
            }
            let took = began.elapsed().as_secs_f64();
            println!(
                "       {precision} {count:>3}: {:>7.0} images/s, {:.3} ms a batch",
                (runs * count) as f64 / took,
                took * 1e3 / f64::from(runs as u32)
            );
        }
    }
    if wrong > 0 { Err(format!("{wrong} batches are wrong").into()) } else { Ok(()) }
}

/// Pictures with edges and gradients, different each.
fn pixels(count: usize, side: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (picture, place) = (i / (3 * side * side), i / 3 % (side * side));
        let (row, column, channel) = (place / side, place % side, i % 3);
        ((row * (picture + 1) + column * (channel + 2)) ^ (row * column / 64)) as u8
    };
    (0..count * 3 * side * side).map(pixel).collect()
}

fn planes(pixels: &[u8], count: usize, side: usize) -> Result<Tensor> {
    let mut planes = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(3 * side * side) {
        for channel in 0..3 {
            planes.extend(picture.chunks_exact(3).map(|pixel| (f32::from(pixel[channel]) - BY.mean) / BY.scale));
        }
    }
    Ok(Tensor::fp32(vec![count, 3, side, side], planes)?)
}
