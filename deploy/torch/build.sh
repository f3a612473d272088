#!/usr/bin/env bash
# Builds dropbear with the torch backend. libtorch comes with PyTorch 2.11 from PyPI (CUDA 13; some 5 GB with NVIDIA's
# libraries), into target/torch; no GPU and no CUDA toolkit are needed to build.
#
#   deploy/torch/build.sh
#   deploy/torch/run.sh zoo check --backends torch
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${DROPBEAR_TORCH:-$root/target/torch}
python=$work/env/bin/python
mkdir -p "$work"
test -x "$python" || python3 -m venv "$work/env"
# The last has headers that those of the CUDA runtime include.
"$python" -m pip install --quiet --disable-pip-version-check 'torch==2.11.0' numpy 'nvidia-cuda-crt==13.0.*'
# torch-sys asks the Python of the environment where libtorch lies.
export VIRTUAL_ENV=$work/env PATH=$work/env/bin:$PATH LIBTORCH_USE_PYTORCH=1
cd "$root"
cargo build --release --features torch
