#!/usr/bin/env bash
# Build the distributions of this repository into dist/: wheel and sdist of mlprune, wheel of mlprune-reader. Called by
# the release workflow with a tag in GITHUB_REF_NAME, which must be v and the version.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m pip install --quiet 'build>=1.2'
version=$(python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
if [ "${GITHUB_REF_NAME:-v$version}" != "v$version" ]; then
    echo "infra/release.sh: expected the tag v$version, which pyproject.toml states, got $GITHUB_REF_NAME" >&2
    exit 2
fi
rm -rf dist
python -m build --outdir dist .
python -m build --wheel --outdir dist infra/reader
ls -l dist
