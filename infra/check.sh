#!/usr/bin/env bash
# Run the checks of this project: style, types, import contracts and tests.
#
#     infra/check.sh                  what `make test` promises: all checks, and at least one test of every behaviour
#     infra/check.sh --rest           the thorough tests, which `make test` leaves out
#     infra/check.sh --static         the checks without tests
#     infra/check.sh -k holm -x       all checks, and pytest with these arguments
set -euo pipefail
cd "$(dirname "$0")/.."

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

# One process per core; tests/groups.py says which tests a process runs together, and in which order.
tests() {
    step pytest -n auto --maxprocesses 6 --dist loadfile --no-loadscope-reorder --thorough "$1"
}

# Annotations are those of the newest libraries; with the lowest versions only the tests and contracts say something.
types_and_contracts() {
    [[ "${PIP_CONSTRAINT:-}" == *lowest.txt ]] || step mypy
    step lint-imports --no-logo
}

style() {
    step ruff check .
    step ruff format --check .
}

# The checks of types take long on one core: run them next to the tests, and print their result when it is complete.
fast_tests() {
    local log status=0 checks
    log=$(mktemp)
    types_and_contracts >"$log" 2>&1 &
    checks=$!
    tests no || status=$?
    wait "$checks" || status=$?
    cat "$log"
    rm "$log"
    return "$status"
}

case "${1:-}" in
"")
    style
    fast_tests
    ;;
--rest)
    tests only
    ;;
--static)
    style
    types_and_contracts
    ;;
*)
    style
    types_and_contracts
    step pytest "$@"
    ;;
esac
printf '\nAll checks passed.\n'
