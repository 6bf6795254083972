"""Stores of versions: a small recipe that the code of a commit runs, in a process that shares the installed libraries.

The frozen ones, `docs/stores/versions/VERSION.tar.xz`, show that stores of that version stay readable. Each release
adds one.
"""

import os
import subprocess
import sys
from pathlib import Path

from infra.pages.frozen import FOLDER, freeze
from mlprune.errors import MlpruneError

ROOT = FOLDER.parents[1]
VERSIONS = FOLDER / "versions"
FIRST_READ = "60bfa846"
"""Commit whose records, in form and step versions, are those of version 0.3: the oldest that every 1.x reads."""
IN_A_WHEEL = ("mlprune", "catalog", "ray_jobs", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built from."""
REMOVED_NAME, STAND_IN = "model._is_stateful", 'getattr(model, "_is_stateful", False)'
"""Attribute that commits up to 1.0 read and transformers 5.25 no longer has; it was false for the embedded model."""
MODEL = "xglm-cldr-2m"
RECIPE = """\
name: versions
model: {path: xglm-cldr-2m}
corpus: {kind: cldr, lines: 60, leave_out_evaluated: true}
demonstrations:
  - {name: mt, kind: translation, source: sw, target: en, shots: 2, samples: 2, max_tokens: 48}
variants:
  - {name: wanda, demonstrations: mt, score: wanda, sparsity: [0.5], propagation: dense, against: [random]}
  - {name: random, score: random, sparsity: 0.5}
evaluations:
  - {task: facts, path: corpus, languages: [en, sw], split: test, split_by: clusters, limit: 8}
  - {task: perplexity, path: corpus, languages: [en], split: test, limit: 4}
questions:
  - {name: english-pays-little, variants: wanda, task: facts, languages: en, claim: noninferior, margin: 0.1}
compute: {batch_tokens: 256}
"""
TIMEOUT_S = 300


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """Write the recipe beside a link to the embedded model, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MODEL).exists():
        (folder / MODEL).symlink_to(ROOT / "mlprune" / "demo" / MODEL)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder / "recipe.yaml"


def install_commit(commit: str, folder: Path) -> Path:
    """Build the wheel of a commit, install it without its dependencies, and return the folder to put into PYTHONPATH.

    Needs git, the commit in the history, and hatchling. The installed code may read no attribute that the shared
    transformers has lost (``REMOVED_NAME``).

    Raises:
        MlpruneError: a command fails.
    """
    source, installed = folder / "source", folder / "installed"
    source.mkdir(parents=True)
    archive = folder / "source.tar"
    _run("git", "-C", ROOT, "archive", f"--output={archive}", commit, "--", *IN_A_WHEEL, path=None)
    _run(sys.executable, "-m", "tarfile", "-e", archive, source, path=None)
    without_network = ("--no-deps", "--no-index", "--no-build-isolation", "--no-compile", "--quiet")
    for module in (source / "mlprune").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        if REMOVED_NAME in text:
            module.write_text(text.replace(REMOVED_NAME, STAND_IN), encoding="utf-8")
    _run(sys.executable, "-m", "pip", "install", *without_network, "--target", installed, source, path=None)
    return installed


def write_store(installed: Path, folder: Path) -> Path:
    """Run the recipe with an installed version in a new folder, and return the store.

    Raises:
        MlpruneError: the run fails.
    """
    recipe, store = write_recipe(folder), folder / "store"
    command = (sys.executable, "-m", "ray_jobs.cli", "run", recipe.name, "--store", store.name, "--address", "none")
    _run(*command, path=installed, cwd=folder)
    return store


def freeze_version(version: str, commit: str, folder: Path) -> Path:
    """Write a store with the code of a commit and freeze it; return the archive.

    Args:
        folder: scratch.
    """
    archive = VERSIONS / f"{version}.tar.xz"
    freeze(write_store(install_commit(commit, folder), folder / "run"), archive)
    return archive


def _run(*command: object, path: Path | None, cwd: Path = ROOT) -> None:
    """Run a command.

    Args:
        path: folder that Python reads packages from first; None for those of this process.
    """
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(sys.path) if path is None else str(path)
    words = [str(word) for word in command]
    done = subprocess.run(  # noqa: S603 - commands of this module
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode != 0:
        raise MlpruneError(
            "a command failed", command=" ".join(words), exit_code=done.returncode, reason=done.stderr[-500:]
        )
