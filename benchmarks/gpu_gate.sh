#!/usr/bin/env bash
# One command for a machine with a GPU: its tests, then every benchmark, then one table of all figures.
# Rows go to benchmarks/results/<date>-<host>.jsonl. No figure is taken from a tree whose tests fail.
# Works without a GPU too: the tests are skipped, each saying why, and the benchmarks that need none run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

if [[ -z "${PYTHON:-}" ]]; then
    PYTHON=python3
    if [[ -x .venv-dev/bin/python ]]; then PYTHON=.venv-dev/bin/python; fi
fi
# Set on some machines for old OpenBLAS builds; they slow a current one.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

"$PYTHON" -m pytest -m gpu
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
status=0
for file in benchmarks/peaks.py benchmarks/bench_*.py; do
    name=$(basename "$file" .py)
    echo "== $name"
    if "$PYTHON" -m "benchmarks.$name" | tee "$log"; then
        tail -n 1 "$log" >> "$rows"
    else
        echo "gpu_gate: benchmark $name failed" >&2
        status=1
    fi
done
cat "$rows" >> "$results"
echo "== all figures of this run, appended to $results"
nvidia-smi -L 2>/dev/null || echo "no NVIDIA GPU here: GPU tests were skipped, no figure below is a GPU's"
"$PYTHON" -m benchmarks.report "$rows"
exit $status
