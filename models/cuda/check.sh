#!/usr/bin/env bash
# Compiles every CUDA kernel, as a model node would, on a machine that needs no GPU. NVRTC comes from PyPI.
# $1: a folder for what is downloaded; target/cuda if it is not given.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$root/target/cuda}
mkdir -p "$work"
test -x "$work/env/bin/python" || python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check 'nvidia-cuda-nvrtc==13.0.*'
library=$("$work/env/bin/python" - <<'EOF'
import pathlib, sysconfig
found = sorted(pathlib.Path(sysconfig.get_paths()["purelib"]).glob("nvidia/**/libnvrtc.so.13"))
print(found[0].parent)
EOF
)
cd "$root"
LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
    cargo test --quiet -p dropbear-models --lib backend::cuda:: -- --include-ignored --nocapture
