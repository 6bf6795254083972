#!/usr/bin/env bash
# Run all checks: style, types, import contracts and tests. Stop at the first that fails.
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

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# Run the tests that share a Ray cluster in one process, which mostly waits, and at the same time all other tests in two
# processes.
all_tests() {
    local on_cluster=(tests/ray_jobs/test_ray.py tests/ray_jobs/test_submit.py tests/ray_jobs/test_budget.py)
    local log status=0
    log=$(mktemp)
    pytest "${on_cluster[@]}" >"$log" 2>&1 &
    step pytest -n 2 --dist loadfile "${on_cluster[@]/#/--ignore=}" || status=$?
    wait $! || status=$?
    printf '\n== pytest %s\n' "${on_cluster[*]}"
    cat "$log"
    rm "$log"
    return "$status"
}

step ruff check .
step ruff format --check .
step mypy
step lint-imports --no-logo
if [ "$static_only" = false ]; then
    if [ $# -eq 0 ]; then
        all_tests
    else
        step pytest "$@"
    fi
fi
printf '\nAll checks passed.\n'
