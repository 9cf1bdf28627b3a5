#!/usr/bin/env bash
# Runs every step of the GPU run, in 9 minutes at most; see docs/gpu.md.
#
#   benchmarks/gpu/run.sh OUT             on a machine with CUDA, PyTorch and the wheels of wheels.sh
#   benchmarks/gpu/run.sh OUT --small     short form on a CPU, in the project's own environment
#
# Environment: PYTHON, a Python with PyTorch (default: python3; with --small, that of .venv);
# WHEELS, the folder that wheels.sh filled (default: .whl). Other options: see
# `python -m benchmarks.gpu.run --help`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  "" | -*) usage >&2; exit 2 ;;
esac
out=$(realpath -m "$1")
shift
cd "$root"

if [[ " $* " == *" --small "* ]]; then
  [ -n "${PYTHON:-}" ] || make --quiet .venv/installed
  exec "${PYTHON:-.venv/bin/python}" -m benchmarks.gpu.run "$out" "$@"
fi

python=${PYTHON:-python3}
wheels=${WHEELS:-$root/.whl}
if ! compgen -G "$wheels/*.whl" > /dev/null; then
  echo "run.sh: $wheels: no wheels; run benchmarks/gpu/wheels.sh where there is a network" >&2
  exit 1
fi
# Loader processes hand their batches over in shared memory.
shared=$(df --output=avail --block-size=1M /dev/shm | tail -n 1)
if [ "$shared" -lt 8192 ]; then
  mount -o remount,size=32g /dev/shm ||
    echo "run.sh: /dev/shm: only $shared MiB; loader processes may end with a bus error" >&2
fi
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
  --no-cache-dir --target "$site" "$wheels"/*.whl
# The project itself is not installed: its packages are those of this folder.
export PYTHONPATH="$site:$root${PYTHONPATH:+:$PYTHONPATH}"
"$python" -m benchmarks.gpu.run "$out" "$@"
