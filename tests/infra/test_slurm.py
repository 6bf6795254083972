"""The Slurm script, with a simulated Slurm of two nodes on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_recipes import FinishedRun, contents

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "infra" / "slurm" / "run.sh"
PATIENCE_S = 900
PLAYED = {
    "scontrol": 'tr , "\\n" <<<"$3"',  # scontrol show hostnames LIST
    "srun": 'while [[ "$1" == --* ]]; do shift; done; exec "$@"',
}
SLURM_JOB_ID = str(10_000 + os.getpid())


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script on the first of two nodes of one CPU."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in PLAYED.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "VIRTUAL_ENV"))},
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "MLPRUNE_ENV": str(Path(sys.executable).parent.parent),
        "MLPRUNE_HEAD_IP": "127.0.0.1",
        "MLPRUNE_PRIVATE": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": SLURM_JOB_ID,
        "SLURM_JOB_NODELIST": "here,there",
        "SLURM_CPUS_PER_TASK": "1",
    }


def run_script(*arguments: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_bash_reads_the_script() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0


def test_without_recipe_and_store_it_prints_its_usage_and_exits_with_2(slurm: dict[str, str]) -> None:
    done = run_script("recipe.yaml", environment=slurm)
    assert (done.returncode, done.stderr.splitlines()) == (2, ["usage: sbatch infra/slurm/run.sh RECIPE STORE"])


def test_without_mlprune_it_explains_how_to_set_an_environment_and_exits_with_2(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    for name in ("bash", "env"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    bare = {**slurm, "PATH": str(tmp_path / "bin"), "MLPRUNE_ENV": str(tmp_path)}
    done = run_script("recipe.yaml", "store", environment=bare)
    assert done.returncode == 2
    assert "MLPRUNE_ENV" in done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_a_recipe_runs_on_both_nodes_and_writes_the_records_of_one_process_and_no_secret(
    slurm: dict[str, str], small_run: FinishedRun, tmp_path: Path
) -> None:
    from mlprune.store.store import Store  # noqa: PLC0415

    def results(store: Store) -> dict[str, bytes]:
        return {
            path: data for path, data in contents(store).items() if not path.startswith(("runs/", "catalog.duckdb"))
        }

    done = run_script(small_run.recipe_path, tmp_path / "store", environment=slurm)
    shutil.rmtree(f"/tmp/mlprune-{SLURM_JOB_ID}", ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 nodes, 1 CPUs each" in done.stdout
    assert results(Store(str(tmp_path / "store"))) == results(small_run.store)
    assert not list(tmp_path.glob(".mlprune-job-*"))


@pytest.mark.ray
@pytest.mark.slow
def test_the_exit_code_of_a_run_is_the_jobs(slurm: dict[str, str], tmp_path: Path) -> None:
    done = run_script(tmp_path / "nothing.yaml", tmp_path / "store", environment=slurm)
    shutil.rmtree(f"/tmp/mlprune-{SLURM_JOB_ID}", ignore_errors=True)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "nothing.yaml" in done.stderr
