//! Streams and graphs: the one module that speaks to C++ of our own.
#![expect(unsafe_code, reason = "foreign functions; what each needs is said where it is called")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{NonNull, null_mut};

use tch::Tensor;

use crate::Error;

unsafe extern "C" {
    fn dropbear_torch_free(message: *mut c_char);
    fn dropbear_torch_stream_new(device: c_int, result: *mut *mut c_void) -> *mut c_char;
    fn dropbear_torch_stream_enter(stream: *mut c_void) -> *mut c_char;
    fn dropbear_torch_stream_synchronize(stream: *mut c_void) -> *mut c_char;
    fn dropbear_torch_stream_renew(stream: *mut c_void) -> *mut c_char;
    fn dropbear_torch_allow_tf32(allow: bool) -> *mut c_char;
    fn dropbear_torch_pinned(tensor: *mut c_void, result: *mut *mut c_void) -> *mut c_char;
    fn dropbear_torch_stream_delete(stream: *mut c_void);
    fn dropbear_torch_copy(to: *mut c_void, from: *mut c_void) -> *mut c_char;
    fn dropbear_torch_graph_begin(stream: *mut c_void, result: *mut *mut c_void) -> *mut c_char;
    fn dropbear_torch_graph_end(graph: *mut c_void) -> *mut c_char;
    fn dropbear_torch_graph_replay(graph: *mut c_void) -> *mut c_char;
    fn dropbear_torch_graph_delete(graph: *mut c_void);
}

/// The message that a function of ours returned.
fn checked(message: *mut c_char) -> Result<(), Error> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is a C string on the heap that is ours to free.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: as above; `text` is a copy.
    unsafe { dropbear_torch_free(message) };
    Err(Error::Failed(text))
}

/// A queue of work on one GPU.
#[derive(Debug)]
pub(crate) struct Stream(NonNull<c_void>);

// SAFETY: a stream is a handle that any thread may use; `&mut` keeps it to one at a time.
unsafe impl Send for Stream {}

impl Stream {
    pub(crate) fn new(device: u32) -> Result<Self, Error> {
        let device = c_int::try_from(device).map_err(|_| Error::Device(format!("there is no GPU {device}")))?;
        let mut stream = null_mut();
        // SAFETY: `stream` outlives the call.
        checked(unsafe { dropbear_torch_stream_new(device, &raw mut stream) })?;
        NonNull::new(stream).map(Self).ok_or_else(|| Error::Failed("no stream".into()))
    }

    /// What this thread asks of the GPU is queued here from now on.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        // SAFETY: the stream lives as long as `self`.
        checked(unsafe { dropbear_torch_stream_enter(self.0.as_ptr()) })
    }

    /// Waits until all that is queued is done.
    pub(crate) fn synchronize(&mut self) -> Result<(), Error> {
        // SAFETY: as in `enter`.
        checked(unsafe { dropbear_torch_stream_synchronize(self.0.as_ptr()) })
    }

    /// Forgets the memory of graphs that are all gone.
    pub(crate) fn renew(&mut self) -> Result<(), Error> {
        // SAFETY: as in `enter`.
        checked(unsafe { dropbear_torch_stream_renew(self.0.as_ptr()) })
    }

    /// Records what `work` asks of the GPU instead of doing it. The stream must have been entered.
    pub(crate) fn record<T>(&mut self, work: impl FnOnce() -> Result<T, Error>) -> Result<(Graph, T), Error> {
        let mut graph = null_mut();
        // SAFETY: `graph` outlives the call, and the stream lives as long as `self`.
        checked(unsafe { dropbear_torch_graph_begin(self.0.as_ptr(), &raw mut graph) })?;
        let graph = Graph(NonNull::new(graph).ok_or_else(|| Error::Failed("no graph".into()))?);
        let done = work();
        // Recording ends whether or not the work went well.
        // SAFETY: the graph lives as long as `graph`.
        let ended = checked(unsafe { dropbear_torch_graph_end(graph.0.as_ptr()) });
        let done = done?;
        ended.map(|()| (graph, done))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle.
        unsafe { dropbear_torch_stream_delete(self.0.as_ptr()) };
    }
}

/// Recorded work.
#[derive(Debug)]
pub(crate) struct Graph(NonNull<c_void>);

// SAFETY: as for streams.
unsafe impl Send for Graph {}

impl Graph {
    /// Queues the work again on the stream that this thread has entered.
    pub(crate) fn replay(&mut self) -> Result<(), Error> {
        // SAFETY: the graph lives as long as `self`.
        checked(unsafe { dropbear_torch_graph_replay(self.0.as_ptr()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle.
        unsafe { dropbear_torch_graph_delete(self.0.as_ptr()) };
    }
}

/// FP32 is FP32: what cuDNN and cuBLAS would otherwise round to TF32 differs in the third digit.
pub(crate) fn forbid_tf32() -> Result<(), Error> {
    // SAFETY: sets two flags of libtorch's.
    checked(unsafe { dropbear_torch_allow_tf32(false) })
}

/// A copy in memory that a GPU copies from by itself.
pub(crate) fn pinned(tensor: &Tensor) -> Result<Tensor, Error> {
    let mut result = null_mut();
    // SAFETY: the tensor lives as long as the borrow, and `result` outlives the call.
    checked(unsafe { dropbear_torch_pinned(tensor.as_ptr().cast_mut().cast(), &raw mut result) })?;
    // SAFETY: made by `new`, as all of tch's tensors are, and nobody else has it.
    Ok(unsafe { Tensor::from_ptr(result.cast()) })
}

/// Queues a copy between tensors of equal shape.
pub(crate) fn copy(to: &mut Tensor, from: &Tensor) -> Result<(), Error> {
    // SAFETY: both point to tensors of libtorch that live as long as the borrows.
    checked(unsafe { dropbear_torch_copy(to.as_mut_ptr().cast(), from.as_ptr().cast_mut().cast()) })
}

/// The bytes of a contiguous tensor in host memory.
pub(crate) fn bytes_mut(tensor: &mut Tensor) -> &mut [u8] {
    let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
    assert!(tensor.device() == tch::Device::Cpu && tensor.is_contiguous(), "a contiguous tensor in host memory");
    // SAFETY: a contiguous tensor has so many bytes from there on, which live as long as the borrow.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), bytes) }
}
