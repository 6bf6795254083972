"""The computing environment of a process: our own code, libraries, interpreter, operating system and processors.

A run records it, so that each number can be traced to the code and the libraries that computed it. It is not a result
and not part of any id. Equal environments have equal ids on all machines.
"""

import json
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from pathlib import Path

import torch

from mlprune import __version__
from mlprune.hashing import digest
from mlprune.json_values import JsonValue
from mlprune.store.artefacts import sha256_of
from mlprune.store.records import ID_LENGTH
from ray_jobs.process.gpus import visible_gpus

PACKAGES = ("catalog", "mlprune", "ray_jobs")
"""The folders of our own code."""
SOURCES = (".py", ".sql", ".j2", ".js", ".yaml", ".json")
"""Suffixes of code files and of the files that code reads."""
CPUINFO = Path("/proc/cpuinfo")
_HEADER_FIELD = re.compile(r"^(Name|Version): *(.*?) *$", re.MULTILINE)
GIT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Environment:
    """The computing environment of a process; unknown values are None."""

    mlprune: str
    """Version of this package."""
    code_sha256: str
    """SHA-256 over our own code; equal code has equal hashes, installed or not."""
    git_commit: str | None
    """The commit that the code was checked out or installed from."""
    is_modified: bool | None
    """Whether our own code differs from that commit."""
    python: str
    system: str
    processor: str | None
    """Model of the CPU."""
    instructions: str
    """The widest vector instructions that torch uses on it."""
    accelerators: str
    """Accelerators that this process sees, separated by commas; empty if there are none."""
    packages: Mapping[str, str]
    """Every installed package -> its version."""

    @property
    def id(self) -> str:
        """Hash of all fields, 20 hex digits."""
        return digest(asdict(self))[:ID_LENGTH]


@cache
def this_environment() -> Environment:
    """Return the environment of this process."""
    root = Path(__file__).parents[2]
    commit, is_modified = _checked_out(root) or (_installed_commit(), None)
    return Environment(
        mlprune=__version__,
        code_sha256=code_sha256(root),
        git_commit=commit,
        is_modified=is_modified,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=platform.platform(),
        processor=_processor(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        accelerators=", ".join(gpu.name for gpu in visible_gpus()),
        packages=_installed(),
    )


def this_processor() -> str:
    """Return the CPU model and the vector instructions that torch uses on it: what last bits can depend on."""
    environment = this_environment()
    return f"{environment.processor or platform.machine()} with {environment.instructions}"


def environment_file(environment: Environment) -> tuple[str, dict[str, JsonValue]]:
    """Return the name and the content of the run file that describes an environment."""
    environment_id = environment.id
    return f"environment-{environment_id}", {"environment_id": environment_id, **asdict(environment)}


def code_sha256(root: Path) -> str:
    """SHA-256 over the names and contents of our own source files below a folder."""
    paths = {path.relative_to(root).as_posix(): path for package in PACKAGES for path in _sources(root / package)}
    return digest({name: sha256_of(path.read_bytes()) for name, path in paths.items()})


def _sources(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in SOURCES and "__pycache__" not in path.parts)


def _checked_out(root: Path) -> tuple[str, bool] | None:
    """(commit, whether our code was changed) of the git working copy with our code; None if there is none."""
    top = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *PACKAGES)
    if top is None or changes is None:
        return None
    folder, commit = top.splitlines()
    return (commit, bool(changes.strip())) if Path(folder).resolve() == root.resolve() else None


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git in a folder and return its output; None if git is missing or fails."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_TIMEOUT_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout if completed.returncode == 0 else None


def _installed_commit() -> str | None:
    """The commit that pip installed this package from (PEP 610); None if it was not installed from a repository."""
    try:
        text = Distribution.from_name("mlprune").read_text("direct_url.json")
        commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(commit) if commit else None


def _processor() -> str | None:
    """The CPU model from Linux or, on other systems, from Python."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor()) or None


def _installed() -> dict[str, str]:
    """Every installed package and its version; if a package is found twice, the first, which is the imported one."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        header = dict(_HEADER_FIELD.findall(_metadata_text(distribution).partition("\n\n")[0]))
        if header.get("Name"):
            versions.setdefault(header["Name"].lower().replace("_", "-"), header.get("Version", ""))
    return dict(sorted(versions.items()))


def _metadata_text(distribution: Distribution) -> str:
    """Metadata of an installed package. Parsing all of it, as `Distribution.metadata` does, takes ten times as long."""
    return distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
