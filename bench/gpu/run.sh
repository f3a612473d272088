#!/usr/bin/env bash
# What Dropbear makes of one NVIDIA GPU, beside PyTorch, in one run:
#
#   bench/gpu/run.sh check      every sample model on the GPU against the stored answers
#   bench/gpu/run.sh backends   images per second of each backend and batch size, beside PyTorch (pytorch.py)
#   bench/gpu/run.sh node       a model node beside sessions without one
#   bench/gpu/run.sh market     a certified market of four owners beside the same market without certificates
#
# DROPBEAR: the binary (target/release/dropbear). BACKENDS: candle,torch, and onnx with ONNXRUNTIME, the path of a
# libonnxruntime.so with the CUDA provider beside it. PYTHON: one with PyTorch 2.11, whose libraries are used. GPU: cuda:0.
# The sample models must have been fetched (dropbear zoo fetch).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export DROPBEAR=${DROPBEAR:-$root/target/release/dropbear} TORCH_PYTHON=${PYTHON:-python3}
gpu=${GPU:-cuda:0}
backends=${BACKENDS:-candle,torch}
dropbear() { "$root/deploy/torch/run.sh" "$@"; }
library=()
[ -n "${ONNXRUNTIME:-}" ] && library=(--onnxruntime "$ONNXRUNTIME")

# The share of time in which the GPU computed, while the rest of the arguments ran.
busy() {
    local log
    log=$(mktemp)
    nvidia-smi --id="${gpu#cuda:}" --query-gpu=utilization.gpu,power.draw --format=csv,noheader,nounits --loop-ms=200 >"$log" &
    local watcher=$!
    "$@" || { kill "$watcher"; return 1; }
    kill "$watcher"
    awk -F, '$1 > 0 { n++; busy += $1; power += $2 } END { if (n) printf "GPU busy %.0f %% and %.0f W, mean over %d samples in which it was used at all\n", busy / n, power / n, n }' "$log"
    rm -f "$log"
}

case "${1:-}" in
check)
    for precision in fp32 fp16; do
        echo "-- $precision"
        # An ONNX file's precision is what runs.
        these=$backends
        [ "$precision" = fp16 ] && these=$(echo "$backends" | sed -E 's/(^|,)onnx//; s/^,//')
        [ -n "$these" ] || continue
        dropbear zoo check --device "$gpu" --precision "$precision" --backends "$these" "${library[@]}"
    done
    ;;
backends)
    sizes=${SIZES:-1,8,32,64,128}
    for model in ${MODELS:-lite0 lite2}; do
        for round in $(seq "${ROUNDS:-2}"); do
            echo "-- $model, round $round"
            dropbear bench backend --models "$model" --device "$gpu" --backends "$backends" --sizes "$sizes" --rounds 1 --seconds 1 "${library[@]}"
            "$TORCH_PYTHON" "$here/pytorch.py" "$(dropbear zoo fetch)/models/$model.pt" --sizes "$sizes" --seconds 1 --ways "${WAYS:-eager,graph,compile}"
        done
    done
    ;;
node)
    for backend in ${backends//,/ }; do
        echo "-- a node on $backend"
        busy dropbear bench node --backend "$backend" --device "$gpu" --rounds "${ROUNDS:-2}" --seconds 5 --in-flight "${IN_FLIGHT:-6}"
    done
    ;;
market)
    for backend in ${backends//,/ }; do
        echo "-- a market of four owners on $backend"
        busy dropbear bench overhead --backend "$backend" --device "$gpu" --rounds "${ROUNDS:-2}" --seconds "${SECONDS_EACH:-3}" --clients "${CLIENTS:-64}"
    done
    ;;
*)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
    ;;
esac
