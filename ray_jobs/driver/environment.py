"""What a process computes with: our own code, the libraries, the interpreter, the system, the processors.

A run writes it down, so that a number can be followed to the code and the libraries it came from. Nothing of it is a
result, and nothing of it is in an id. Equal environments have equal ids on all machines.
"""

import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from pathlib import Path
from typing import Any

import torch

from mlprune import __version__
from mlprune.hashing import digest
from mlprune.store.records import ID_LENGTH
from mlprune.store.store import sha256_of

PACKAGES = ("catalog", "mlprune", "ray_jobs")
"""The folders of our own code."""
SOURCES = (".py", ".sql", ".j2", ".js", ".yaml", ".json")
"""Endings of files whose content is code, or is read by it."""
CPUINFO = Path("/proc/cpuinfo")
GIT_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Environment:
    """What a process computes with; what cannot be told is None."""

    mlprune: str
    """Version of this package."""
    code_sha256: str
    """SHA-256 over our own code as it lies here: equal code, equal hash, installed or not."""
    git_commit: str | None
    """The commit it was checked out or installed from."""
    is_modified: bool | None
    """Whether our own code differs from that commit."""
    python: str
    system: str
    processor: str | None
    """Model of the CPU."""
    instructions: str
    """The widest vector instructions that torch uses on it."""
    accelerators: str
    """Those that this process sees, separated by commas; empty without any."""
    packages: Mapping[str, str]
    """Every installed package -> its version."""

    @property
    def id(self) -> str:
        """20 hex digits over all of it."""
        return digest(asdict(self))[:ID_LENGTH]


@cache
def this_environment() -> Environment:
    """The environment of this process."""
    root = Path(__file__).parents[2]
    commit, is_modified = _checked_out(root) or (_installed_commit(), None)
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Environment(
        mlprune=__version__,
        code_sha256=code_sha256(root),
        git_commit=commit,
        is_modified=is_modified,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=platform.platform(),
        processor=_processor(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        accelerators=", ".join(gpus),
        packages=_installed(),
    )


def environment_file(environment: Environment) -> tuple[str, dict[str, Any]]:
    """Name and content of the run file that tells of an environment."""
    environment_id = environment.id
    return f"environment-{environment_id}", {"environment_id": environment_id, **asdict(environment)}


def code_sha256(root: Path) -> str:
    """SHA-256 over the names and contents of our own source files below a folder."""
    found = {path.relative_to(root).as_posix(): path for package in PACKAGES for path in _sources(root / package)}
    return digest({name: sha256_of(path.read_bytes()) for name, path in found.items()})


def _sources(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in SOURCES and "__pycache__" not in path.parts)


def _checked_out(root: Path) -> tuple[str, bool] | None:
    """The commit of the working copy that our code lies in, and whether it was changed; None if it lies in none."""
    top = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *PACKAGES)
    if top is None or changes is None:
        return None
    folder, commit = top.splitlines()
    return (commit, bool(changes.strip())) if Path(folder).resolve() == root.resolve() else None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says about a folder; None if it is not there, or has nothing to say."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_PATIENCE_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _installed_commit() -> str | None:
    """The commit that pip installed us from (PEP 610); None if it was no repository."""
    try:
        text = Distribution.from_name("mlprune").read_text("direct_url.json")
        found = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(found) if found else None


def _processor() -> str | None:
    """The model of the CPU, as Linux has it, else as Python does."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor()) or None


def _installed() -> dict[str, str]:
    """Every installed package and its version; of two of one name the one that is imported, the first."""
    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), one.version)
    return dict(sorted(found.items()))
