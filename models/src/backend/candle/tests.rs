use dropbear_ops::reference::Planes;

use super::reference::scores;
use super::*;
use crate::backend::Side;
use crate::convert::{EfficientNetLite, Variant};
use crate::efficientnet_lite::Network as Plan;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn interface(side: usize, classes: usize) -> Interface {
    Interface {
        input: Side { tensor: "input".into(), shape: vec![3, side, side] },
        output: Side { tensor: "logits".into(), shape: vec![classes] },
        picture: None,
    }
}

fn load(artefact: &[u8]) -> Result<Candle, BackendError> {
    Candle::load(artefact, &interface(224, 1000), &RunOptions::default())
}

fn refusal(artefact: &[u8]) -> String {
    match load(artefact) {
        Err(BackendError::Artefact { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn pictures(count: usize, side: usize) -> Vec<Vec<f32>> {
    let sample = |i: usize| ((i * i % 4093) as f32 / 2046.5) - 1.0;
    (0..count).map(|picture| (0..3 * side * side).map(|i| sample(i + picture * 977)).collect()).collect()
}

fn run(network: &Network, pictures: &[Vec<f32>], side: usize) -> candle_core::Result<Vec<Vec<f32>>> {
    let batch = CandleTensor::from_vec(pictures.concat(), (pictures.len(), 3, side, side), &CandleDevice::Cpu)?;
    network.run(&batch)?.to_vec2()
}

#[test]
fn a_small_network_scores_as_one_in_double_precision() -> Outcome {
    for (variant, side) in [(Variant::Lite0, 45), (Variant::Lite2, 32)] {
        let model = EfficientNetLite::synthetic(variant);
        let artefact = model.to_safetensors();
        let plan = Plan::with_side(variant, side);
        let network = |threads| Network::new(&plan, Weights::read(&artefact)?, threads);
        let pictures = pictures(3, side);
        let alone = run(&network(1)?, &pictures[1..2], side)?;
        let batch = run(&network(1)?, &pictures, side)?;
        assert_eq!(alone[0], batch[1], "a batch changes nothing");
        assert_eq!(run(&network(3)?, &pictures, side)?, batch, "threads change nothing");
        for (picture, got) in pictures.iter().zip(&batch) {
            let values = picture.iter().copied().map(f64::from).collect();
            let expected = scores(&model, &plan, Planes { channels: 3, height: side, width: side, values });
            let spread = expected.iter().fold(0.0f64, |most, score| most.max(score.abs()));
            assert!(spread > 0.1, "the features are alive");
            for (got, expected) in got.iter().zip(&expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-5 * spread, "{got} {expected}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_model_has_the_tensors_of_its_manifest() -> Outcome {
    let artefact = EfficientNetLite::synthetic(Variant::Lite1).to_safetensors();
    let interface = Interface {
        input: Side { tensor: "pixels".into(), shape: vec![3, 240, 240] },
        output: Side { tensor: "scores".into(), shape: vec![1000] },
        picture: None,
    };
    let mut candle = Candle::load(&artefact, &interface, &RunOptions::default())?;
    let description = Description { inputs: vec![interface.input.spec()], outputs: vec![interface.output.spec()] };
    assert_eq!(candle.describe(), &description);
    let small = Tensor::fp32(vec![1, 3, 224, 224], vec![0.0; 3 * 224 * 224])?;
    assert!(matches!(candle.infer(&[small]), Err(BackendError::Input { .. })));
    let mut samples = vec![0.0; 3 * 240 * 240];
    samples[77] = f32::NAN;
    assert!(matches!(candle.infer(&[Tensor::fp32(vec![1, 3, 240, 240], samples)?]), Err(BackendError::Input { .. })));
    let empty = candle.infer(&[Tensor::fp32(vec![0, 3, 240, 240], vec![])?])?;
    assert_eq!(empty, [Tensor::fp32(vec![0, 1000], vec![])?]);
    for (side, classes) in [(224, 1000), (240, 999)] {
        let refused = Candle::load(&artefact, &self::interface(side, classes), &RunOptions::default());
        assert!(matches!(refused, Err(BackendError::Artefact { .. })));
    }
    Ok(())
}

#[test]
fn it_runs_on_processors_in_single_precision() {
    for (device, precision, mention) in
        [(Device::Cuda(0), Precision::Fp32, "CPUs"), (Device::Cpu, Precision::Fp16, "fp16")]
    {
        let options = RunOptions { device, precision, ..RunOptions::default() };
        match Candle::load(&[], &interface(224, 1000), &options) {
            Err(BackendError::Unavailable { reason }) => assert!(reason.contains(mention), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

/// A file whose header and numbers `change` has changed.
fn changed(file: &[u8], change: impl FnOnce(String, &mut Vec<u8>) -> String) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk::<8>().expect("a header");
    let (header, numbers) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut numbers = numbers.to_vec();
    let header = change(String::from_utf8_lossy(header).into_owned(), &mut numbers);
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat()
}

#[test]
fn what_is_not_exactly_the_weights_is_refused() {
    let file = EfficientNetLite::synthetic(Variant::Lite0).to_safetensors();
    assert!(load(&file).is_ok());
    for broken in [&file[..file.len() - 1], &file[..100], &file[..7], &[], &[0xff; 64]] {
        refusal(broken);
    }
    let header = |from: &str, to: &str| {
        let change = |header: String, _: &mut Vec<u8>| {
            let changed = header.replacen(from, to, 1);
            assert_ne!(changed, header, "{from}");
            changed
        };
        refusal(&changed(&file, change))
    };
    assert!(header("efficientnet-lite0", "efficientnet-lite9").contains("none of"));
    assert!(header("\"architecture\"", "\"format\"").contains("none of"));
    assert!(header("efficientnet-lite0", "efficientnet-lite1").contains("240"));
    assert!(header("\"stem.weight\"", "\"trunk.weight\"").contains("`stem.weight`"));
    assert!(header("[32,3,3,3]", "[3,32,3,3]").contains("`stem.weight`"));
    assert!(header("\"dtype\":\"F32\"", "\"dtype\":\"I32\"").contains("I32"));
    let surplus = changed(&file, |header, numbers| {
        let end = numbers.len();
        numbers.extend([0; 4]);
        let tensor = format!(",\"spare\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[{end},{}]}}}}", end + 4);
        header.trim_end().strip_suffix('}').expect("an object").to_owned() + &tensor
    });
    assert!(refusal(&surplus).contains("`spare`"));
    for bad in [f32::NAN, f32::INFINITY] {
        let spoilt = changed(&file, |header, numbers| {
            let place = numbers.len() / 8 * 4;
            numbers[place..place + 4].copy_from_slice(&bad.to_le_bytes());
            header
        });
        assert!(refusal(&spoilt).contains("finite"));
    }
}
