//! Compiles the C++ that `tch` does not wrap: streams, copies that do not wait, CUDA graphs.
//!
//! `torch-sys` finds libtorch; the CUDA headers lie beside the one of a Python environment, else under `CUDA_HOME`.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/streams.cpp");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    println!("cargo:rustc-check-cfg=cfg(torch_cuda)");
    let library = PathBuf::from(env::var_os("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies"));
    if !library.join("libtorch_cuda.so").exists() {
        println!("cargo:warning=this libtorch has no CUDA: the torch backend will run on CPUs alone");
        return;
    }
    let include = library.parent().expect("lib has a parent").join("include");
    let cuda = cuda_headers(&library);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include(&cuda)
        .file("src/streams.cpp")
        .compile("dropbear_torch_streams");
    println!("cargo:rustc-cfg=torch_cuda");
    println!("cargo:rustc-link-search=native={}", library.display());
    // After our own archive, which needs them; so they are not left out, as they are of a binary that tch alone needs.
    for name in ["torch_cuda", "c10_cuda", "torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={name}");
    }
    let (folder, runtime) = cuda_runtime(&cuda);
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=dylib:+verbatim={runtime}");
}

/// The CUDA runtime beside its headers: PyPI's packages have it under its full name alone.
fn cuda_runtime(include: &Path) -> (PathBuf, &'static str) {
    let home = include.parent().expect("headers lie in a folder");
    let names = ["libcudart.so.13", "libcudart.so"];
    let places = ["lib64", "lib"].map(|folder| home.join(folder));
    let all = places.iter().flat_map(|place| names.map(|name| (place.clone(), name)));
    match all.into_iter().find(|(place, name)| place.join(name).exists()) {
        Some(found) => found,
        None => panic!("none of {names:?} in {places:?}: install nvidia-cuda-runtime beside torch"),
    }
}

/// The directory of cuda_runtime_api.h.
fn cuda_headers(library: &Path) -> PathBuf {
    let packages = library.join("../..");
    let home = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("include"));
    let mut places: Vec<PathBuf> = home.into_iter().collect();
    places.extend([packages.join("nvidia/cu13/include"), "/usr/local/cuda/include".into()]);
    match places.iter().find(|place| place.join("cuda_runtime_api.h").exists()) {
        Some(place) => place.clone(),
        None => {
            panic!("no cuda_runtime_api.h in {places:?}: set CUDA_HOME, or install nvidia-cuda-runtime beside torch")
        }
    }
}
