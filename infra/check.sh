#!/usr/bin/env bash
# The one check: style, types, import contracts, tests. Stops at the first that fails.
#
#     infra/check.sh                  everything
#     infra/check.sh -k holm -x       everything, these arguments going to pytest
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

step ruff check .
step ruff format --check .
step mypy
step lint-imports --no-logo
if [ "$static_only" = false ]; then
    if [ $# -eq 0 ]; then
        step pytest -n 2 --dist loadgroup # two files at a time; those that need the Ray cluster one after another
    else
        step pytest "$@"
    fi
fi
printf '\nAll checks passed.\n'
