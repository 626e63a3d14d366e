#!/usr/bin/env bash
# One command for a machine with a GPU: its tests, then every benchmark, then one table of all figures.
# Rows go to benchmarks/results/<date>-<host>.jsonl. No figure is taken from a tree whose tests fail.
# Works without a GPU too: the tests are skipped, each saying why, and the benchmarks that need none run.
# With one, those that do not use it are left out, so that the gate takes 8 minutes at most; GATE=all runs them, too.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

if [[ -z "${PYTHON:-}" ]]; then
    PYTHON=python3
    if [[ -x .venv-dev/bin/python ]]; then PYTHON=.venv-dev/bin/python; fi
fi
# Set on some machines for old OpenBLAS builds; they slow a current one.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

# Most of their time is compiling kernels: 35 s on 10 cores of an H100's machine, minutes on one.
workers=()
if "$PYTHON" -c "import xdist" 2>/dev/null; then workers=(-n auto --maxprocesses 10); fi
"$PYTHON" -m pytest -m gpu "${workers[@]}"
tests=$?
# 5: not one test carries the mark.
if [[ $tests -ne 0 && $tests -ne 5 ]]; then
    echo "gpu_gate: tests failed (pytest ended with $tests); no benchmark was run" >&2
    exit 1
fi

mkdir -p benchmarks/results
results="benchmarks/results/$(date -u +%F)-$(hostname).jsonl"
rows=$(mktemp)
log=$(mktemp)
trap 'rm -f "$rows" "$log"' EXIT
gpus=$(nvidia-smi -L 2>/dev/null) || gpus=""
names=(peaks bench_kernels)
without_gpu=" bench_fill bench_memory bench_quality bench_remove bench_start "
for file in benchmarks/bench_*.py; do
    name=$(basename "$file" .py)
    if [[ $name == bench_kernels ]]; then continue; fi
    if [[ -n $gpus && ${GATE:-} != all && $without_gpu == *" $name "* ]]; then continue; fi
    names+=("$name")
done
status=0
for name in "${names[@]}"; do
    options=()
    if [[ -n $gpus && $name == bench_model ]]; then options=(--engine cuda); fi
    echo "== $name"
    SECONDS=0
    if "$PYTHON" -m "benchmarks.$name" "${options[@]}" | tee "$log"; then
        tail -n 1 "$log" >> "$rows"
    else
        echo "gpu_gate: benchmark $name failed" >&2
        status=1
    fi
    echo "== $name took $SECONDS s"
done
cat "$rows" >> "$results"
echo "== all figures of this run, appended to $results"
echo "${gpus:-no NVIDIA GPU here: GPU tests were skipped, none of the figures below is of a GPU}"
"$PYTHON" -m benchmarks.report "$rows"
exit $status
