#!/usr/bin/env bash
# The first hour on a machine with a GPU: measure what was only computed or tried on pretended GPUs before.
#
#   infra/gpu/first_hour.sh [FOLDER]     about an hour; results in FOLDER (default: first-hour)
#
# It needs 20 GB below FOLDER and no network. A step that fails is written down, and the next one begins. Afterwards
# FOLDER has first-hour.json (eight measurements), steps.txt (what passed) and the output of each step.
set -uo pipefail

out=$(realpath -m "${1:-first-hour}")
cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$out/models"
: >"$out/steps.txt"
make --no-print-directory .venv/.installed-test || exit 1
export PATH="$PWD/.venv/bin:$PATH"

# step NAME COMMAND...: run a command, keep its output, and write down how it ended.
step() {
    local name=$1 started=$SECONDS status=0
    shift
    "$@" >"$out/$name.txt" 2>&1 || status=$?
    echo "$name: exit code $status after $((SECONDS - started)) s" | tee -a "$out/steps.txt"
}

demo() {
    mlprune demo --address none --store "$out/$1"
}

same_predictions() {
    diff <(mlprune query --store "$out/$1" "$2" --format csv) <(mlprune query --store "$out/$3" "$2" --format csv)
}

step driver nvidia-smi
step doctor mlprune doctor
step gpu-tests python -m pytest -m gpu tests/mlprune
step measurements python -m tests.benchmarks.first_hour --folder "$out/models" --out "$out/first-hour.json"
step demo demo gpu
step demo-again demo gpu-again
CUDA_VISIBLE_DEVICES='' step demo-cpu demo cpu
values="SELECT label, task, language, metric, value FROM metrics ORDER BY ALL"
step repeated same_predictions gpu "$values" gpu-again
step against-cpu same_predictions gpu "$values" cpu
cat "$out/measurements.txt"
