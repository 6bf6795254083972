"""The wheel and the sdist, installed alone in fresh environments, are enough to run the demo."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from infra.pages.frozen import archive_of, thaw

ROOT = Path(__file__).parents[2]
TRAVELLING = (
    "mlprune/demo/full.yaml",
    "mlprune/demo/recipe.yaml",
    "mlprune/demo/xglm-cldr-2m/model.safetensors",
    "mlprune/demo/xglm-cldr-2m/tokenizer.json",
    "catalog/sql/queries/best_by_language.sql",
    "catalog/sql/schema/metrics.sql",
    "catalog/report/page.html.j2",
    "catalog/report/page.css",
    "catalog/capabilities/live/live.js",
    "catalog/capabilities/neurons/schema/neuron_activity.sql",
)


PROMISED = [
    line.rpartition(" ")[2]
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    if line.startswith("Programming Language :: Python :: 3.")
]
"""Versions of Python."""
MOST_MIB = 600
"""Size of an environment with the reader, without compiled modules."""


def run(*command: object, cwd: Path, seconds: float, code: int = 0) -> subprocess.CompletedProcess[str]:
    # Without the source tree, whose modules would hide the installed ones.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == code, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of mlprune, and the wheel of the reader."""
    folder = tmp_path_factory.mktemp("distributions")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder, seconds=600)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT / "infra/reader", cwd=folder, seconds=600)
    return folder


@pytest.fixture(params=PROMISED)
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A Python in a fresh environment."""
    program = shutil.which(f"python{request.param}")
    if program is None or subprocess.run([program, "-c", "import ensurepip"], check=False).returncode:
        pytest.skip(f"no Python {request.param} with venv")
    run(program, "-m", "venv", tmp_path / "env", cwd=tmp_path, seconds=120)
    return tmp_path / "env" / "bin" / "python"


@pytest.mark.slow
def test_sql_model_and_recipe_travel_in_the_wheel_and_the_sdist(distributions: Path) -> None:
    (wheel,), (sdist,) = distributions.glob("mlprune-*.whl"), distributions.glob("mlprune-*.tar.gz")
    assert set(TRAVELLING) <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as packed:
        assert set(TRAVELLING) <= {name.partition("/")[2] for name in packed.getnames()}


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["mlprune-*.whl", "mlprune-*.tar.gz"])
def test_a_distribution_alone_runs_the_demo_from_any_folder(
    distributions: Path, python: Path, tmp_path: Path, pattern: str
) -> None:
    run(python, "-m", "pip", "install", "-q", next(distributions.glob(pattern)), cwd=tmp_path, seconds=1800)
    program, folder = python.parent / "mlprune", tmp_path / "elsewhere"
    folder.mkdir()
    run(program, "demo", "--store", "store", cwd=folder, seconds=900)
    assert "<svg" in (folder / "store" / "report.html").read_text("utf-8")
    answers = run(program, "query", "best_by_language", "--store", "store", "--format", "csv", cwd=folder, seconds=60)
    assert len(answers.stdout.splitlines()) > 1


@pytest.mark.slow
def test_the_reader_alone_queries_and_reports_a_committed_store(
    distributions: Path, python: Path, tmp_path: Path
) -> None:
    wheel = next(distributions.glob("mlprune_reader-*.whl"))
    run(python, "-m", "pip", "install", "-q", "--no-compile", wheel, cwd=tmp_path, seconds=900)
    size = sum(path.stat().st_size for path in python.parents[1].rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert size < MOST_MIB * 2**20
    libraries = {
        line.partition("==")[0] for line in run(python, "-m", "pip", "freeze", cwd=tmp_path, seconds=60).stdout.split()
    }
    assert libraries.isdisjoint({"torch", "ray", "transformers", "numba"})
    thaw(archive_of("demo"), tmp_path / "store")
    program = python.parent / "mlprune"
    run(program, "query", "best_by_language", "--store", "store", cwd=tmp_path, seconds=60)
    run(program, "report", "--store", "store", "--out", "report.html", cwd=tmp_path, seconds=120)
    assert "<svg" in (tmp_path / "report.html").read_text("utf-8")
    refused = run(program, "run", "recipe.yaml", "--store", "store", cwd=tmp_path, seconds=60, code=2)
    assert "pip install mlprune" in refused.stderr
