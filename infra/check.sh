#!/usr/bin/env bash
# Run all checks: style, types, import contracts and tests.
#
#     infra/check.sh                  everything
#     infra/check.sh -k holm -x       everything, with arguments for pytest
#     infra/check.sh --static         without the tests
set -euo pipefail
cd "$(dirname "$0")/.."

static_only=false
if [ "${1:-}" = "--static" ]; then
    static_only=true
    shift
fi

if [ -x .venv/bin/ruff ]; then
    tools="$PWD/.venv/bin"
elif [ -n "${VIRTUAL_ENV:-}" ] && [ -x "$VIRTUAL_ENV/bin/ruff" ]; then
    tools="$VIRTUAL_ENV/bin"
else
    echo "infra/check.sh: no ruff in .venv or in the active environment; run 'make test', which installs it" >&2
    exit 2
fi
export PATH="$tools:$PATH"

# The tests start dozens of processes that import the same modules: keep what they compile.
unset PYTHONDONTWRITEBYTECODE
# The tests already use every core, and threads of a tiny product would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# Run the tests that share a Ray cluster in one process, and at the same time all other tests in one process per core, and
# the checks that take long. A further process would import and collect everything once more. Print each result when it
# is complete. tests/conftest.py chooses the order of the files: the longest ones first.
all_tests() {
    local cores workers
    cores=$(getconf _NPROCESSORS_ONLN)
    workers=$((cores < 2 ? 2 : cores > 6 ? 6 : cores))
    local on_cluster=(tests/ray_jobs/test_ray.py tests/ray_jobs/test_submit.py tests/ray_jobs/test_budget.py)
    local logs status=0 checks cluster
    logs=$(mktemp -d)
    slow_checks >"$logs/checks" 2>&1 &
    checks=$!
    step pytest "${on_cluster[@]}" >"$logs/cluster" 2>&1 &
    cluster=$!
    step pytest -n "$workers" --dist loadfile --no-loadscope-reorder "${on_cluster[@]/#/--ignore=}" || status=$?
    wait "$checks" || status=$?
    cat "$logs/checks"
    wait "$cluster" || status=$?
    cat "$logs/cluster"
    rm -r "$logs"
    return "$status"
}

slow_checks() {
    step mypy && step lint-imports --no-logo
}

step ruff check .
step ruff format --check .
if [ "$static_only" = true ]; then
    slow_checks
elif [ $# -eq 0 ]; then
    all_tests
else
    slow_checks
    step pytest "$@"
fi
printf '\nAll checks passed.\n'
