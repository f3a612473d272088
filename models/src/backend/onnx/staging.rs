//! Pictures on their way into a session on a GPU: as pixels over the bus, normalised there, and read where they lie.

use ort::session::Session;

use super::bound::{self, Bound, Place};
use super::{BackendError, failed};
use crate::backend::cuda::{Buffer, Gpu, PICTURES_MAX, Pinned};
use crate::backend::{Normalisation, TensorSpec};
use crate::tensor::{DataType, Tensor};

/// Memory for the pictures of one session, which grows with the largest batch.
#[derive(Debug)]
pub(super) struct Staging {
    side: usize,
    by: Normalisation,
    /// So many pictures fit.
    room: usize,
    pinned: Pinned<u8>,
    pixels: Buffer<u8>,
    planes: Buffer<f32>,
    graphs: Option<Graphs>,
    /// Last, for what lies on it goes first.
    gpu: Gpu,
}

/// Where recorded runs write.
#[derive(Debug)]
struct Graphs {
    outputs: Vec<Output>,
    /// How often the places have moved: what was recorded before is never replayed.
    moves: u32,
}

#[derive(Debug)]
struct Output {
    name: String,
    /// Of one picture.
    shape: Vec<usize>,
    numbers: Buffer<f32>,
}

impl Output {
    fn values(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Staging {
    pub(super) fn new(
        gpu: Gpu,
        side: usize,
        by: Normalisation,
        outputs: &[TensorSpec],
        graph: bool,
    ) -> Result<Self, BackendError> {
        let graphs = match graph {
            false => None,
            true => Some(Graphs {
                outputs: outputs.iter().map(|spec| output(&gpu, spec)).collect::<Result<_, _>>()?,
                moves: 0,
            }),
        };
        let (pinned, pixels, planes) = (gpu.pinned(0)?, gpu.buffer(0)?, gpu.buffer(0)?);
        Ok(Self { side, by, room: 0, pinned, pixels, planes, graphs, gpu })
    }

    /// Runs the session on `count` pictures.
    pub(super) fn infer(
        &mut self,
        session: &mut Session,
        input: &str,
        outputs: &[TensorSpec],
        pixels: &[u8],
        count: usize,
    ) -> Result<Vec<Tensor>, BackendError> {
        self.make_room(count)?;
        let values = pixels.len();
        self.pinned.numbers()?[..values].copy_from_slice(pixels);
        self.gpu.upload(&self.pinned, values, &mut self.pixels)?;
        self.gpu.normalise(&self.pixels, count, self.side, self.by, &mut self.planes)?;
        // ONNX Runtime works on a stream of its own, which does not wait for ours.
        self.gpu.finish()?;
        let result = self.run(session, input, outputs, count);
        if result.is_err() {
            // Whatever it began with our memory ends before that memory can go.
            let _ = self.gpu.finish_device();
        }
        result
    }

    fn run(
        &mut self,
        session: &mut Session,
        input: &str,
        outputs: &[TensorSpec],
        count: usize,
    ) -> Result<Vec<Tensor>, BackendError> {
        let device = self.gpu.facts().device;
        let place = Place::on_device(&mut self.planes, device)?;
        let input = Bound { name: input, place, shape: vec![count, 3, self.side, self.side] };
        let Some(graphs) = &mut self.graphs else {
            let names: Vec<&str> = outputs.iter().map(|spec| spec.name.as_str()).collect();
            return bound::run(session, &input, &names);
        };
        let graph = graphs.moves << 16 | count as u32;
        let mut places = Vec::with_capacity(graphs.outputs.len());
        for Output { name, shape, numbers } in &mut graphs.outputs {
            let shape = [&[count], &shape[..]].concat();
            places.push(Bound { name, place: Place::on_device(numbers, device)?, shape });
        }
        bound::run_graph(session, &input, &places, graph)?;
        self.gpu.finish_device()?;
        (graphs.outputs.iter())
            .map(|output| {
                let numbers = self.gpu.download(&output.numbers, count * output.values())?;
                Tensor::fp32([&[count], &output.shape[..]].concat(), numbers).map_err(failed)
            })
            .collect()
    }

    fn make_room(&mut self, count: usize) -> Result<(), BackendError> {
        if count <= self.room {
            return Ok(());
        }
        if count > PICTURES_MAX {
            return Err(BackendError::Input {
                reason: format!("{count} pictures at once are more than {PICTURES_MAX}"),
            });
        }
        let room = count.next_power_of_two();
        let values = 3 * self.side * self.side;
        let too_large = || failed("the pictures are larger than memory");
        let values = room.checked_mul(values).ok_or_else(too_large)?;
        // Nothing fits until everything has been made larger.
        self.room = 0;
        self.gpu.finish()?;
        (self.pinned, self.pixels) = (self.gpu.pinned(values)?, self.gpu.buffer(values)?);
        self.planes = self.gpu.buffer(values)?;
        if let Some(graphs) = &mut self.graphs {
            for output in &mut graphs.outputs {
                let values = room.checked_mul(output.values()).ok_or_else(too_large)?;
                output.numbers = self.gpu.buffer(values)?;
            }
            graphs.moves += 1;
        }
        self.room = room;
        Ok(())
    }
}

fn output(gpu: &Gpu, spec: &TensorSpec) -> Result<Output, BackendError> {
    let rest = spec.shape.split_first().map(|(_, rest)| rest.iter().copied().collect::<Option<Vec<usize>>>());
    match (rest.flatten(), spec.data_type) {
        (Some(shape), DataType::Fp32) => Ok(Output { name: spec.name.clone(), shape, numbers: gpu.buffer(0)? }),
        _ => Err(BackendError::Unavailable {
            reason: format!("`cuda_graph` needs outputs of a known shape, which `{}` has not", spec.name),
        }),
    }
}
