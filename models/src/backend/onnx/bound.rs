//! Runs of a session that reads its input, and may write its outputs, where they lie: on the device.
//!
//! `ort` copies whatever it binds and does not own. This binds the place itself, for one run.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;

use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{Shape, TensorRefMut};

use super::{BackendError, failed, owned};
use crate::backend::cuda::Buffer;
use crate::tensor::Tensor;

/// Where FP32 numbers lie.
pub(super) struct Place<'a> {
    memory: MemoryInfo<'static>,
    address: *mut c_void,
    count: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

/// A tensor of a session, and its place.
pub(super) struct Bound<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place<'a>,
    pub(super) shape: Vec<usize>,
}

impl<'a> Place<'a> {
    pub(super) fn on_device(buffer: &'a mut Buffer<f32>, device: u32) -> Result<Self, BackendError> {
        let (device, count) = (i32::try_from(device).map_err(failed)?, buffer.len());
        let memory = MemoryInfo::new(AllocationDevice::CUDA, device, AllocatorType::Device, MemoryType::Default)
            .map_err(failed)?;
        let address = usize::try_from(buffer.address()).map_err(failed)? as *mut c_void;
        Ok(Self { memory, address, count, lifetime: PhantomData })
    }

    #[cfg(test)]
    fn on_host(numbers: &'a mut [f32]) -> Self {
        let (address, count) = (numbers.as_mut_ptr().cast(), numbers.len());
        Self { memory: MemoryInfo::default(), address, count, lifetime: PhantomData }
    }
}

impl Bound<'_> {
    fn tensor(&self) -> Result<TensorRefMut<'_, f32>, BackendError> {
        let count = self.shape.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
        if count.is_none_or(|count| count > self.place.count) {
            return Err(failed(format!("`{}` has no room for {:?}", self.name, self.shape)));
        }
        // SAFETY: the place holds so many numbers for as long as `self` borrows it.
        unsafe {
            TensorRefMut::from_raw(self.place.memory.clone(), self.place.address, Shape::from(self.shape.clone()))
        }
        .map_err(failed)
    }
}

/// Runs the model, and returns the outputs of these names. Whoever wrote the input has to be done.
pub(super) fn run(session: &mut Session, input: &Bound<'_>, outputs: &[&str]) -> Result<Vec<Tensor>, BackendError> {
    let tensor = input.tensor()?;
    let mut binding = session.create_binding().map_err(failed)?;
    bind_input(&mut binding, input.name, &tensor)?;
    let host =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput).map_err(failed)?;
    for name in outputs {
        binding.bind_output_to_device(*name, &host).map_err(failed)?;
    }
    let results = session.run_binding(&binding).map_err(failed)?;
    (outputs.iter())
        .map(|name| results.get(name).map_or_else(|| Err(failed(format!("no output `{name}`"))), owned))
        .collect()
}

/// Runs the model into places, as the graph of this number: recorded at first, replayed when it comes again, in which case
/// every place has to be the same. The device may still be at work when this returns.
pub(super) fn run_graph(
    session: &mut Session,
    input: &Bound<'_>,
    outputs: &[Bound<'_>],
    graph: u32,
) -> Result<(), BackendError> {
    let tensor = input.tensor()?;
    let mut binding = session.create_binding().map_err(failed)?;
    bind_input(&mut binding, input.name, &tensor)?;
    for output in outputs {
        binding.bind_output(output.name, output.tensor()?).map_err(failed)?;
    }
    let mut options = RunOptions::new().map_err(failed)?;
    options.set("gpu_graph_id", graph.to_string()).map_err(failed)?;
    session.run_binding_with_options(&binding, &options).map(|_| ()).map_err(failed)
}

fn bind_input(binding: &mut IoBinding, name: &str, value: &TensorRefMut<'_, f32>) -> Result<(), BackendError> {
    let name = CString::new(name).map_err(failed)?;
    // SAFETY: all three live, and the callers drop the binding before the value.
    let status = unsafe { (ort::api().BindInput)(binding.ptr_mut(), name.as_ptr(), value.ptr()) };
    // SAFETY: the status comes from ONNX Runtime, and is looked at once.
    unsafe { ort::Error::<()>::result_from_status(status) }.map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::backend::onnx::{Runtime, provider};
    use crate::run::RunOptions;

    /// The same bindings, in the machine's memory. `DROPBEAR_TEST_ONNX_MODEL` names a model with input `input`
    /// `[N, 3, side, side]`, 224 pixels a side, and output `logits` `[N, 1000]`. Run alone: a process has one ONNX Runtime.
    #[test]
    #[ignore = "needs ONNX Runtime and a model: DROPBEAR_TEST_ONNXRUNTIME, DROPBEAR_TEST_ONNX_MODEL"]
    fn places_are_read_and_written_where_they_lie() -> Result<(), Box<dyn std::error::Error>> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
        let runtime = Runtime::load(&variable("DROPBEAR_TEST_ONNXRUNTIME")?)?;
        let artefact = std::fs::read(variable("DROPBEAR_TEST_ONNX_MODEL")?)?;
        let mut session = provider::open(&runtime, &artefact, &RunOptions::default())?.session;
        let mut planes = vec![0.0; 4 * 3 * 224 * 224];
        for batch in [1usize, 3, 2] {
            planes.iter_mut().enumerate().for_each(|(i, value)| *value = ((i * batch) % 255) as f32 / 128.0 - 1.0);
            let shape = vec![batch, 3, 224, 224];
            let values = planes[..batch * 3 * 224 * 224].to_vec();
            let expected = {
                let tensor = ort::value::Tensor::from_array((shape.clone(), values))?;
                let outputs = session.run(ort::inputs!["input" => tensor])?;
                outputs["logits"].try_extract_tensor::<f32>()?.1.to_vec()
            };
            let input = Bound { name: "input", place: Place::on_host(&mut planes), shape };
            let returned = run(&mut session, &input, &["logits"])?;
            assert_eq!((returned[0].shape(), returned[0].as_fp32()), (&[batch, 1000][..], Some(&expected[..])));
            let mut logits = vec![0.0; 4000];
            let output = Bound { name: "logits", place: Place::on_host(&mut logits), shape: vec![batch, 1000] };
            run_graph(&mut session, &input, &[output], 7)?;
            assert_eq!(logits[..batch * 1000], expected);
            let output = Bound { name: "logits", place: Place::on_host(&mut logits), shape: vec![5, 1000] };
            assert!(run_graph(&mut session, &input, &[output], 7).is_err());
        }
        Ok(())
    }
}
