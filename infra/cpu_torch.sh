#!/usr/bin/env bash
# Install the CPU build of torch with the pip of an environment, where a plain install would take a CUDA build of 3 GB:
# on Linux without an NVIDIA driver. Does nothing if torch is installed, if pip is told where to look for packages, or if
# the index of the CPU builds does not answer within 4 seconds. Then pip takes torch from where it takes all packages.
#
#     infra/cpu_torch.sh .venv/bin/pip
set -euo pipefail
cd "$(dirname "$0")/.."
pip=$1
index=${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}

has_nvidia_driver() {
    [ -e /dev/nvidiactl ] || [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null
}

# From a file of settings or from the environment, such as PIP_INDEX_URL.
pip_is_told_where_to_look() {
    local settings
    settings=$("$pip" config list)  # not in a pipe: grep stops reading at the first match
    grep -qE '(index-url|no-index|find-links)=' <<<"$settings"
}

index_answers() {
    timeout 4 "$(dirname "$pip")/python" -c \
        'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)' "$index/torch/" 2>/dev/null
}

if [ "$(uname -s)" != Linux ] || has_nvidia_driver || pip_is_told_where_to_look; then
    exit 0
fi
if "$pip" show --quiet torch 2>/dev/null; then
    exit 0
fi
if ! index_answers; then
    echo "No answer from $index: pip may install torch with CUDA, a download of 3 GB." >&2
    exit 0
fi
requirement=$(sed -n 's/^    "\(torch[^"]*\)",$/\1/p' pyproject.toml)
echo "No NVIDIA driver here: installing the CPU build of torch ..." >&2
"$pip" install --quiet --disable-pip-version-check --no-input --no-compile --extra-index-url "$index" "$requirement" \
    || echo "The CPU build of torch was not installed: pip may install torch with CUDA, a download of 3 GB." >&2
