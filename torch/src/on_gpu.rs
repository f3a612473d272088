//! A session's buffers, stream and recorded graphs on one GPU.

use std::collections::BTreeMap;

use tch::{CModule, Device, Kind, Tensor};

use crate::gpu::{Graph, Stream, bytes_mut, copy, forbid_tf32, pinned};
use crate::{Error, Input, Output, dimensions, forward, normalised};

/// Larger batches keep the GPU busy without being recorded.
const RECORDED_MAX: usize = 64;
/// Times that a batch size runs before it is recorded: libraries set themselves up in the first runs.
const RUNS_BEFORE_RECORDING: usize = 2;

#[derive(Debug)]
pub(crate) struct OnGpu {
    device: Device,
    kind: Kind,
    /// Before the stream, whose memory they use: fields are dropped in order.
    sizes: BTreeMap<usize, Size>,
    buffers: Option<Buffers>,
    stream: Stream,
}

/// One input's shape, and room for some of them here and there.
#[derive(Debug)]
struct Buffers {
    shape: Vec<usize>,
    capacity: usize,
    pinned: Tensor,
    device: Tensor,
}

/// What is known of one batch size.
#[derive(Debug, Default)]
struct Size {
    runs: usize,
    recorded: Option<Recorded>,
}

/// A run of the model, from the device's input buffer to an output there and its copy here.
#[derive(Debug)]
struct Recorded {
    graph: Graph,
    output: Tensor,
    pinned: Tensor,
}

impl OnGpu {
    pub(crate) fn new(number: u32, half: bool) -> Result<Self, Error> {
        forbid_tf32()?;
        let device = Device::Cuda(number as usize);
        let kind = if half { Kind::Half } else { Kind::Float };
        Ok(Self { device, kind, sizes: BTreeMap::new(), buffers: None, stream: Stream::new(number)? })
    }

    pub(crate) const fn device(&self) -> Device {
        self.device
    }

    pub(crate) fn run(&mut self, module: &CModule, input: Input<'_>) -> Result<Output, Error> {
        self.stream.enter()?;
        let batch = self.stage(input)?;
        let buffers = self.buffers.as_ref().ok_or_else(|| Error::Failed("no buffers".into()))?;
        let taken = |tensor: &Tensor| tensor.f_narrow(0, 0, i64::try_from(batch).unwrap_or(i64::MAX));
        let (pinned, device) = (taken(&buffers.pinned)?, taken(&buffers.device)?);
        copy(&mut device.shallow_clone(), &pinned)?;
        let size = self.sizes.entry(batch).or_default();
        let work = || compute(module, &device, input, self.kind);
        if size.recorded.is_none() && batch <= RECORDED_MAX && size.runs >= RUNS_BEFORE_RECORDING {
            // Nothing else may be under way while the work is recorded.
            self.stream.synchronize()?;
            let (graph, output) = self.stream.record(work)?;
            let pinned = host(&output)?;
            size.recorded = Some(Recorded { graph, output, pinned });
        }
        size.runs += 1;
        let mut eager;
        let pinned = match &mut size.recorded {
            Some(recorded) => {
                recorded.graph.replay()?;
                copy(&mut recorded.pinned, &recorded.output)?;
                &mut recorded.pinned
            }
            None => {
                let output = work()?;
                eager = host(&output)?;
                copy(&mut eager, &output)?;
                &mut eager
            }
        };
        self.stream.synchronize()?;
        let shape = pinned.size().iter().map(|&length| usize::try_from(length).unwrap_or(0)).collect();
        let (elements, _) = bytes_mut(pinned).as_chunks::<4>();
        Ok(Output { shape, elements: elements.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect() })
    }

    /// Puts a batch into pinned memory; how many inputs it has.
    fn stage(&mut self, input: Input<'_>) -> Result<usize, Error> {
        let (shape, kind): (&[usize], _) = match &input {
            Input::Numbers { shape, .. } => (shape, Kind::Float),
            Input::Pixels { shape, .. } => (shape, Kind::Uint8),
        };
        let (&batch, item) = shape.split_first().ok_or_else(|| Error::Failed("a batch without dimensions".into()))?;
        let room = self.buffers.as_ref().is_some_and(|buffers| buffers.shape == item && buffers.capacity >= batch);
        if !room {
            // What was recorded reads the buffers that go.
            self.sizes.clear();
            self.stream.renew()?;
            self.buffers = None;
            self.buffers = Some(Buffers::new(item, batch.next_power_of_two(), kind, self.device)?);
        }
        let buffers = self.buffers.as_mut().ok_or_else(|| Error::Failed("no buffers".into()))?;
        let pinned = bytes_mut(&mut buffers.pinned);
        match input {
            Input::Pixels { samples, .. } => pinned[..samples.len()].copy_from_slice(samples),
            Input::Numbers { elements, .. } => {
                let (places, _) = pinned.as_chunks_mut::<4>();
                for (place, element) in places.iter_mut().zip(elements) {
                    *place = element.to_ne_bytes();
                }
            }
        }
        Ok(batch)
    }
}

impl Buffers {
    fn new(item: &[usize], capacity: usize, kind: Kind, device: Device) -> Result<Self, Error> {
        let shape = dimensions(&[&[capacity], item].concat());
        let pinned = pinned(&Tensor::f_zeros(&shape, (kind, Device::Cpu))?)?;
        let device = Tensor::f_zeros(&shape, (kind, device))?;
        Ok(Self { shape: item.to_vec(), capacity, pinned, device })
    }
}

/// Runs the model on what lies in the device's buffer; the output is FP32.
fn compute(module: &CModule, input: &Tensor, form: Input<'_>, kind: Kind) -> Result<Tensor, Error> {
    let input = match form {
        Input::Pixels { mean, scale, .. } => normalised(input, kind, mean, scale)?,
        Input::Numbers { .. } => input.f_to_kind(kind)?,
    };
    Ok(forward(module, &input)?.f_to_kind(Kind::Float)?.f_contiguous()?)
}

/// Pinned memory for a copy of `output`.
fn host(output: &Tensor) -> Result<Tensor, Error> {
    pinned(&Tensor::f_zeros(output.size(), (Kind::Float, Device::Cpu))?)
}
