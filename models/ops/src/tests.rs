use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use proptest::prelude::*;

use super::kernels::Instructions;
use super::reference::{Layer, Planes, convolve};
use super::*;

/// Numbers in [−1, 1] that look random.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
    Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)
}

fn weight_shape(layer: &Layer) -> [usize; 4] {
    [layer.channels_out, layer.channels_in / layer.groups, layer.kernel, layer.kernel]
}

/// One layer and what it is applied to.
#[derive(Clone, Debug)]
struct Case {
    layer: Layer,
    batch: usize,
    height: usize,
    width: usize,
    threads: usize,
    /// Which of the processor's vector instructions.
    instructions: proptest::sample::Index,
    seed: u64,
}

impl Case {
    fn window(&self) -> Window {
        Window { kernel: self.layer.kernel, stride: self.layer.stride, padding: self.layer.padding }
    }

    fn workers(&self) -> Result<Arc<Workers>> {
        Workers::with(self.threads, *self.instructions.get(&Instructions::every())).map(Arc::new)
    }

    fn input(&self) -> Result<Tensor> {
        tensor(&[self.batch, self.layer.channels_in, self.height, self.width], self.seed)
    }

    fn weights(&self) -> Result<(Tensor, Tensor)> {
        Ok((tensor(&weight_shape(&self.layer), self.seed ^ 1)?, tensor(&[self.layer.channels_out], self.seed ^ 2)?))
    }

    /// Holds planes `[N, C, H, W]` against double precision.
    fn check(&self, planes: &Tensor) -> Result<()> {
        let (weight, bias) = self.weights()?;
        let (weight, bias) = (weight.flatten_all()?.to_vec1()?, bias.to_vec1()?);
        for picture in 0..self.batch {
            let values: Vec<f32> = self.input()?.get(picture)?.flatten_all()?.to_vec1()?;
            let values = values.into_iter().map(f64::from).collect();
            let Self { height, width, .. } = *self;
            let input = Planes { channels: self.layer.channels_in, height, width, values };
            let expected = convolve(&input, &self.layer, &weight, &bias);
            let got = planes.get(picture)?;
            assert_eq!(got.dims(), [expected.channels, expected.height, expected.width]);
            for (got, expected) in got.flatten_all()?.to_vec1::<f32>()?.into_iter().zip(expected.values) {
                assert!((f64::from(got) - expected).abs() < 2e-5, "{got} {expected} {self:?}");
            }
        }
        Ok(())
    }
}

prop_compose! {
    fn case(kernels: &'static [usize], channelwise: bool)(
        kernel in proptest::sample::select(kernels),
        stride in 1..3usize,
        before in 0..4usize,
        after in 0..4usize,
        (channels_in, channels_out) in (1..50usize, 1..50usize),
        (height, width) in (1..24usize, 1..24usize),
        (batch, threads, activated, seed) in (1..3usize, 1..4usize, any::<bool>(), any::<u64>()),
        instructions in any::<proptest::sample::Index>(),
    ) -> Case {
        let channels_out = if channelwise { channels_in } else { channels_out };
        let groups = if channelwise { channels_in } else { 1 };
        let room = kernel.saturating_sub(height.min(width) + before);
        let (stride, padding) = if kernel == 1 { (1, (0, 0)) } else { (stride, (before, after.max(room))) };
        let layer = Layer { kernel, stride, padding, groups, channels_in, channels_out, activated };
        Case { layer, batch, height, width, threads, instructions, seed }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn depthwise_is_a_convolution_of_each_channel(case in case(&[3, 5], true)) {
        let check = || {
            let (weight, bias) = case.weights()?;
            let layer = Depthwise::new(case.workers()?, (&weight, &bias), case.window(), case.layer.activated)?;
            case.check(&from_blocks(&to_blocks(&case.input()?)?.apply_op1_no_bwd(&layer)?, case.layer.channels_out)?)
        };
        check().expect("every shape is valid");
    }

    #[test]
    fn pointwise_is_a_convolution_of_each_pixel(case in case(&[1], false)) {
        let check = || {
            let (weight, bias) = case.weights()?;
            let layer = Pointwise::new(case.workers()?, (&weight, &bias), case.layer.activated)?;
            let input = to_blocks(&case.input()?)?;
            let products = input.apply_op1_no_bwd(&layer)?;
            case.check(&from_blocks(&products, case.layer.channels_out)?)?;
            let residual = to_blocks(&tensor(
                &[case.batch, case.layer.channels_out, case.height, case.width],
                case.seed ^ 3,
            )?)?;
            let plain = Pointwise::new(case.workers()?, (&weight, &bias), false)?;
            let mut expected = (input.apply_op1_no_bwd(&plain)? + &residual)?;
            if case.layer.activated {
                expected = expected.clamp(0f32, 6f32)?;
            }
            let sum = input.apply_op2_no_bwd(&residual, &layer)?;
            assert_eq!(sum.flatten_all()?.to_vec1::<f32>()?, expected.flatten_all()?.to_vec1::<f32>()?);
            Result::Ok(())
        };
        check().expect("every shape is valid");
    }

    #[test]
    fn a_stem_is_a_convolution(case in case(&[1, 2, 3, 5], false)) {
        let mut case = case;
        case.layer.channels_in = case.layer.channels_in % 4 + 1;
        let check = || {
            let (weight, bias) = case.weights()?;
            let layer = Stem::new(case.workers()?, (&weight, &bias), case.window(), case.layer.activated)?;
            case.check(&from_blocks(&case.input()?.apply_op1_no_bwd(&layer)?, case.layer.channels_out)?)
        };
        check().expect("every shape is valid");
    }

    #[test]
    fn pooled_products_are_means_and_a_matrix_is_pointwise(case in case(&[1], false)) {
        let mut case = case;
        case.layer.activated = true;
        let check = || {
            let (weight, bias) = case.weights()?;
            let (input, workers, outputs) = (to_blocks(&case.input()?)?, case.workers()?, case.layer.channels_out);
            let products = Pointwise::new(workers.clone(), (&weight, &bias), true)?;
            let expected = from_blocks(&input.apply_op1_no_bwd(&products)?, outputs)?.mean((2, 3))?;
            let means = input.apply_op1_no_bwd(&PooledPointwise::new(workers.clone(), (&weight, &bias))?)?;
            let difference = (means - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(difference < 1e-5, "{difference}");

            let rows = input.narrow(2, 0, 1)?.narrow(3, 0, 1)?.contiguous()?;
            let matrix = Linear::new(workers.clone(), (&weight.squeeze(3)?.squeeze(2)?, &bias))?;
            let linear = from_blocks(&rows, case.layer.channels_in)?.squeeze(3)?.squeeze(2)?.apply_op1_no_bwd(&matrix)?;
            let plain = Pointwise::new(workers, (&weight, &bias), false)?;
            let expected = from_blocks(&rows.apply_op1_no_bwd(&plain)?, outputs)?.squeeze(3)?.squeeze(2)?;
            assert_eq!(linear.to_vec2::<f32>()?, expected.to_vec2::<f32>()?);
            Result::Ok(())
        };
        check().expect("every shape is valid");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() -> Result<()> {
    let workers = Arc::new(Workers::new(1)?);
    let bias = tensor(&[20], 1)?;
    let window = Window { kernel: 3, stride: 1, padding: (1, 1) };
    let good = tensor(&[20, 1, 3, 3], 1)?;
    let depthwise = Depthwise::new(workers.clone(), (&good, &bias), window, true)?;
    for (shape, window) in [
        ([20, 2, 3, 3], window),
        ([19, 1, 3, 3], window),
        ([20, 1, 3, 5], window),
        ([20, 1, 5, 5], window),
        ([20, 1, 3, 3], Window { stride: 3, ..window }),
        ([20, 1, 3, 3], Window { stride: 0, ..window }),
    ] {
        assert!(Depthwise::new(workers.clone(), (&tensor(&shape, 1)?, &bias), window, true).is_err(), "{shape:?}");
    }
    let spoilt = (good * f64::NAN)?;
    assert!(Depthwise::new(workers.clone(), (&spoilt, &bias), window, true).is_err());
    assert!(Pointwise::new(workers.clone(), (&tensor(&[20, 8, 2, 2], 1)?, &bias), true).is_err());

    let other = tensor(&[1, 1, 8, 8, 16], 1)?;
    assert!(other.apply_op1_no_bwd(&depthwise).is_err(), "one block, not two");
    let strided = tensor(&[1, 2, 8, 8, 16], 1)?.transpose(2, 3)?;
    assert!(strided.apply_op1_no_bwd(&depthwise).is_err());
    let narrow = Depthwise::new(
        workers.clone(),
        (&tensor(&[20, 1, 3, 3], 1)?, &bias),
        Window { padding: (0, 0), ..window },
        true,
    )?;
    assert!(tensor(&[1, 2, 2, 8, 16], 1)?.apply_op1_no_bwd(&narrow).is_err(), "smaller than the window");

    let layer = |outputs: usize, inputs: usize| {
        let (weight, bias) = (tensor(&[outputs, inputs, 1, 1], 1)?, tensor(&[outputs], 1)?);
        Pointwise::new(workers.clone(), (&weight, &bias), true)
    };
    let block = |expand, project, residual| {
        InvertedResidual::new(workers.clone(), expand, depthwise.clone(), project, residual)
    };
    assert!(block(Some(layer(20, 8)?), layer(8, 20)?, true).is_ok());
    assert!(block(Some(layer(40, 8)?), layer(8, 20)?, true).is_err());
    assert!(block(None, layer(8, 40)?, false).is_err());
    assert!(block(Some(layer(20, 8)?), layer(24, 20)?, true).is_err());
    Ok(())
}

#[test]
fn every_instruction_set_gives_the_same_bits() -> Result<()> {
    let (inputs, wide, outputs) = (24, 144, 24);
    let input = to_blocks(&tensor(&[2, inputs, 15, 17], 1)?)?;
    let window = Window { kernel: 5, stride: 1, padding: (2, 2) };
    let mut results = Vec::new();
    for instructions in Instructions::every() {
        for threads in [1, 2, 5] {
            let workers = Arc::new(Workers::with(threads, instructions)?);
            let pointwise = |outputs: usize, inputs: usize, activated| {
                let (weight, bias) = (tensor(&[outputs, inputs, 1, 1], 2)?, tensor(&[outputs], 3)?);
                Pointwise::new(workers.clone(), (&weight, &bias), activated)
            };
            let kernels = (&tensor(&[wide, 1, 5, 5], 4)?, &tensor(&[wide], 5)?);
            let depthwise = Depthwise::new(workers.clone(), kernels, window, true)?;
            let (expand, project) = (pointwise(wide, inputs, true)?, pointwise(outputs, wide, false)?);
            let block = InvertedResidual::new(workers.clone(), Some(expand), depthwise, project, true)?;
            results.push(input.apply_op1_no_bwd(&block)?.flatten_all()?.to_vec1::<f32>()?);
        }
    }
    assert!(results[0].iter().any(|value| value.abs() > 1.0));
    assert!(results.iter().all(|result| *result == results[0]));
    Ok(())
}
