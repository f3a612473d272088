// What tch does not wrap: a stream of one's own, copies that do not wait, CUDA graphs.
//
// Every function returns null, or a message that dropbear_torch_free must be called with.

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace {

template <typename Action>
char* guarded(Action action) {
  try {
    action();
    return nullptr;
  } catch (const c10::Error& error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown C++ exception");
  }
}

struct Stream {
  c10::cuda::CUDAStream stream;
  // Graphs of one stream replay one after the other, so they share memory.
  at::cuda::MempoolId_t pool;
};

}  // namespace

extern "C" {

void dropbear_torch_free(char* message) { free(message); }

char* dropbear_torch_stream_new(int device, void** result) {
  return guarded([&] {
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    auto stream = c10::cuda::getStreamFromPool(false, static_cast<c10::DeviceIndex>(device));
    *result = new Stream{stream, at::cuda::graph_pool_handle()};
  });
}

// This thread's work goes to the stream from now on.
char* dropbear_torch_stream_enter(void* stream) {
  return guarded([&] {
    auto entered = static_cast<Stream*>(stream)->stream;
    c10::cuda::set_device(entered.device_index());
    c10::cuda::setCurrentCUDAStream(entered);
  });
}

char* dropbear_torch_stream_synchronize(void* stream) {
  return guarded([&] { static_cast<Stream*>(stream)->stream.synchronize(); });
}

// To be called when the last graph is gone: the memory that they shared goes with it.
char* dropbear_torch_stream_renew(void* stream) {
  return guarded([&] { static_cast<Stream*>(stream)->pool = at::cuda::graph_pool_handle(); });
}

// Whether libraries may round factors to TF32 where FP32 is asked for. One choice for the whole process.
char* dropbear_torch_allow_tf32(bool allow) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuDNN(allow);
    at::globalContext().setAllowTF32CuBLAS(allow);
  });
}

// A tensor in memory that a GPU copies from by itself.
char* dropbear_torch_pinned(void* tensor, void** result) {
  return guarded([&] { *result = new at::Tensor(static_cast<at::Tensor*>(tensor)->pin_memory()); });
}

void dropbear_torch_stream_delete(void* stream) { delete static_cast<Stream*>(stream); }

// Copies on the current stream without waiting.
char* dropbear_torch_copy(void* to, void* from) {
  return guarded([&] {
    static_cast<at::Tensor*>(to)->copy_(*static_cast<at::Tensor*>(from), true);
  });
}

char* dropbear_torch_graph_begin(void* stream, void** result) {
  return guarded([&] {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin(static_cast<Stream*>(stream)->pool, cudaStreamCaptureModeThreadLocal);
    *result = graph.release();
  });
}

char* dropbear_torch_graph_end(void* graph) {
  return guarded([&] { static_cast<at::cuda::CUDAGraph*>(graph)->capture_end(); });
}

char* dropbear_torch_graph_replay(void* graph) {
  return guarded([&] { static_cast<at::cuda::CUDAGraph*>(graph)->replay(); });
}

void dropbear_torch_graph_delete(void* graph) {
  // The destructor says on stderr what goes wrong in it.
  delete static_cast<at::cuda::CUDAGraph*>(graph);
}

}
