#!/bin/sh
# Installs the package into a fresh environment and runs every check: ./check.sh DIR [mutations.jsonl]
set -eu

if [ $# -lt 1 ]; then
    echo "usage: $0 DIR [mutations.jsonl]   (the environment is made in DIR/env)" >&2
    exit 2
fi
mkdir -p "$1"
env=$(cd "$1" && pwd)/env
if [ $# -gt 1 ]; then
    DROPBEAR_MUTATIONS=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
    export DROPBEAR_MUTATIONS
fi
cd "$(dirname "$0")"

"${PYTHON:-python3}" -m venv --clear "$env"
"$env/bin/python" -m pip install --quiet --upgrade pip
extras=test,lint
if "$env/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then extras=$extras,receipts; fi
"$env/bin/python" -m pip install --quiet ".[$extras]"

"$env/bin/ruff" check .
"$env/bin/ruff" format --check .
"$env/bin/mypy"
"$env/bin/python" -m pytest
