"""Conditions under which figures are measured."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("mlprune", "numba", "numpy", "pyarrow", "safetensors", "torch", "transformers")


def machine() -> dict[str, Any]:
    """Describe the machine and the versions of the libraries."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{library: version(library) for library in LIBRARIES},
    }


def moment() -> dict[str, Any]:
    """The current time and the load of the machine over the last minute."""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "load_1min": round(os.getloadavg()[0], 2)}


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
