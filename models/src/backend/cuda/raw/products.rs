//! Matrix products, by cuBLASLt.

use std::ffi::c_void;
use std::mem::size_of;
use std::ptr::from_ref;

use cudarc::cublaslt::result as blas;
use cudarc::cublaslt::sys as lt;
use cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut};
use half::f16;

use super::{Buffer, Number, Stream};

/// What cuBLASLt may use besides its matrices; what NVIDIA advises for Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;

/// Numbers that are multiplied; sums are FP32.
pub trait Factor: Number {
    #[doc(hidden)]
    const KIND: lt::cudaDataType;
}

impl Factor for f32 {
    const KIND: lt::cudaDataType = lt::cudaDataType_t::CUDA_R_32F;
}

impl Factor for f16 {
    const KIND: lt::cudaDataType = lt::cudaDataType_t::CUDA_R_16F;
}

/// cuBLASLt on one stream.
#[derive(Debug)]
pub(in crate::backend::cuda) struct Products {
    handle: lt::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
}

// SAFETY: the library's handles may be used from any thread.
unsafe impl Send for Products {}

impl Drop for Products {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and destroyed here alone. What is under way holds nothing of the handle.
        let _ = unsafe { blas::destroy_handle(self.handle) };
    }
}

/// `[rows, inputs]` times the transpose of `[outputs, inputs]`, plus `[outputs]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda) struct Shape {
    pub(in crate::backend::cuda) rows: usize,
    pub(in crate::backend::cuda) inputs: usize,
    pub(in crate::backend::cuda) outputs: usize,
}

pub(in crate::backend::cuda) fn has_products() -> bool {
    // SAFETY: loads the library and unloads it again; it does nothing by being loaded.
    unsafe { lt::is_culib_present() }
}

impl Products {
    pub(in crate::backend::cuda) fn new(stream: &Stream) -> Result<Self, String> {
        stream.context().bind_to_thread().map_err(|error| error.to_string())?;
        let handle = blas::create_handle().map_err(|error| error.to_string())?;
        match stream.stream.alloc_zeros(WORKSPACE_BYTES) {
            Ok(workspace) => Ok(Self { handle, workspace }),
            Err(error) => {
                // SAFETY: made above, and nobody else has it.
                let _ = unsafe { blas::destroy_handle(handle) };
                Err(error.to_string())
            }
        }
    }

    /// Adds to what is in `output` if `accumulates`, else replaces it.
    pub(in crate::backend::cuda) fn multiply<T: Factor>(
        &self,
        stream: &Stream,
        shape: Shape,
        (input, weight, bias): (&Buffer<T>, &Buffer<T>, &Buffer<T>),
        output: &mut Buffer<T>,
        accumulates: bool,
    ) -> Result<(), String> {
        let Shape { rows, inputs, outputs } = shape;
        let room = rows * inputs <= input.len()
            && outputs * inputs <= weight.len()
            && outputs <= bias.len()
            && rows * outputs <= output.len();
        if !room {
            return Err(format!("a product of {shape:?} goes beyond its matrices"));
        }
        for buffer in [input, weight, bias, &*output] {
            stream.owns(buffer);
        }
        self.enqueue(stream, shape, (input, weight, bias), output, accumulates).map_err(|error| error.to_string())
    }

    /// The library counts columns first: what is row-major here is the transpose there. So `weight` comes first, transposed,
    /// and the result has `outputs` rows there, along which it adds the bias.
    fn enqueue<T: Factor>(
        &self,
        stream: &Stream,
        Shape { rows, inputs, outputs }: Shape,
        (input, weight, bias): (&Buffer<T>, &Buffer<T>, &Buffer<T>),
        output: &mut Buffer<T>,
        accumulates: bool,
    ) -> Result<(), blas::CublasError> {
        let stream = &stream.stream;
        let (weight, _weight_read) = weight.0.device_ptr(stream);
        let (input, _input_read) = input.0.device_ptr(stream);
        let (bias, _bias_read) = bias.0.device_ptr(stream);
        let (output, _output_written) = output.0.device_ptr_mut(stream);
        let (workspace, _workspace_used) = self.workspace.device_ptr(stream);
        let weights = Layout::new::<T>(inputs, outputs)?;
        let features = Layout::new::<T>(inputs, rows)?;
        let result = Layout::new::<T>(outputs, rows)?;
        let product = Product::new()?;
        product.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, &1i32)?;
        let epilogue = lt::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
        product.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        product.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        let preference = Preference::new()?;
        let (alpha, beta) = (1f32, if accumulates { 1f32 } else { 0f32 });
        // SAFETY: the handles live until the end of this function, the lengths of the matrices were checked, they are this
        // stream's, and the workspace is used by this stream alone.
        unsafe {
            let chosen = blas::get_matmul_algo_heuristic(
                self.handle,
                product.0,
                weights.0,
                features.0,
                result.0,
                result.0,
                preference.0,
            )?;
            blas::matmul(
                self.handle,
                product.0,
                from_ref(&alpha).cast(),
                from_ref(&beta).cast(),
                weight as *const c_void,
                weights.0,
                input as *const c_void,
                features.0,
                output as *const c_void,
                result.0,
                output as *mut c_void,
                result.0,
                &raw const chosen.algo,
                workspace as *mut c_void,
                WORKSPACE_BYTES,
                stream.cu_stream().cast(),
            )
        }
    }
}

/// A matrix without gaps, columns first.
struct Layout(lt::cublasLtMatrixLayout_t);

impl Layout {
    fn new<T: Factor>(rows: usize, columns: usize) -> Result<Self, blas::CublasError> {
        // Lengths in memory are below 2⁶³.
        blas::create_matrix_layout(T::KIND, rows as u64, columns as u64, rows as i64).map(Self)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and destroyed here alone.
        let _ = unsafe { blas::destroy_matrix_layout(self.0) };
    }
}

/// What is to be done with the matrices.
struct Product(lt::cublasLtMatmulDesc_t);

impl Product {
    fn new() -> Result<Self, blas::CublasError> {
        let sums = lt::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        blas::create_matmul_desc(sums, lt::cudaDataType_t::CUDA_R_32F).map(Self)
    }

    fn set<V>(&self, attribute: lt::cublasLtMatmulDescAttributes_t, value: &V) -> Result<(), blas::CublasError> {
        // SAFETY: the library copies so many bytes; callers give the type that the attribute has.
        unsafe { blas::set_matmul_desc_attribute(self.0, attribute, from_ref(value).cast(), size_of::<V>()) }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and destroyed here alone.
        let _ = unsafe { blas::destroy_matmul_desc(self.0) };
    }
}

/// By what the library chooses its algorithm.
struct Preference(lt::cublasLtMatmulPreference_t);

impl Preference {
    fn new() -> Result<Self, blas::CublasError> {
        let preference = blas::create_matmul_pref().map(Self)?;
        let attribute = lt::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let bytes = from_ref(&WORKSPACE_BYTES).cast();
        // SAFETY: the library copies so many bytes, and the attribute is a size.
        unsafe { blas::set_matmul_pref_attribute(preference.0, attribute, bytes, size_of::<usize>()) }?;
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and destroyed here alone.
        let _ = unsafe { blas::destroy_matmul_pref(self.0) };
    }
}
