"""The wheel, installed alone in a fresh environment, is enough to run the demo."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def run(*command: object, cwd: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=seconds
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, ROOT, cwd=folder, seconds=300)
    return next(folder.glob("mlprune-*.whl"))


@pytest.mark.slow
def test_sql_model_and_recipe_travel_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(TRAVELLING) <= names


@pytest.mark.slow
def test_the_wheel_alone_runs_the_demo_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path, seconds=120)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path, seconds=900)
    (tmp_path / "elsewhere").mkdir()
    done = run(python.parent / "mlprune", "demo", "--store", "store", cwd=tmp_path / "elsewhere", seconds=900)
    assert "Best variant per language" in done.stdout
    assert (tmp_path / "elsewhere" / "store" / "report.html").exists()
