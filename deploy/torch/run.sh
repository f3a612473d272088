#!/usr/bin/env bash
# Runs the dropbear that build.sh made, with libtorch and NVIDIA's libraries where the loader finds them: those of
# target/torch, or of the Python that TORCH_PYTHON names.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${TORCH_PYTHON:-${DROPBEAR_TORCH:-$root/target/torch}/env/bin/python}
libraries=$("$python" - <<'END'
import pathlib
import torch

site = pathlib.Path(torch.__file__).parent.parent
print(":".join(map(str, [site / "torch/lib", *sorted(site.glob("nvidia/*/lib"))])))
END
)
LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "${DROPBEAR:-$root/target/release/dropbear}" "$@"
