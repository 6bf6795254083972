"""Stores of earlier versions are opened, extended and reported, with the ids that they have."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlprune
from catalog.store import Catalog
from infra.pages.frozen import FOLDER, thaw
from infra.pages.versions import FIRST_READ, RECIPE, ROOT, VERSIONS, install_commit, write_recipe, write_store
from mlprune.planning import pending_jobs
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import identity
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from tests.tiny_recipes import plan_of, results

MOST_BYTES = 25 * 10**6
"""Limit of all frozen stores together."""
STATISTICS = {"answers", "comparisons", "rank_consistency", "seed_components"}
"""Kinds that are computed from predictions; a later version may compute them again under other ids."""
FROZEN = sorted(path.name.removesuffix(".tar.xz") for path in VERSIONS.glob("*.tar.xz"))


def command(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_all_frozen_stores_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.tar.xz")) <= MOST_BYTES


def test_each_version_from_0_3_on_has_a_frozen_store() -> None:
    versions = re.findall(r"^## \[([\w.]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert set(versions[: versions.index("0.3.0") + 1]) == set(FROZEN)


@pytest.mark.parametrize("version", FROZEN)
def test_a_store_of_each_version_is_read_with_its_ids(version: str, tmp_path: Path) -> None:
    store = thaw(VERSIONS / f"{version}.tar.xz", tmp_path / "store")
    records = [record for kind in RECORD_KINDS for record in store.records(kind)]
    for record in records:
        inputs = {"parameters": record.parameters, "parents": record.parents, "contents": record.contents}
        assert identity(record.kind, step_version=record.step_version, **inputs) == record.id  # type: ignore[arg-type]
    made = {key for job in plan_of(write_recipe(tmp_path)).jobs for key in job.makes}
    kept = {(record.kind, record.id) for record in records if record.kind not in STATISTICS | {"recipes"}}
    assert len(kept) > 20
    assert kept - made == set()
    with Catalog.in_memory(store) as catalog:
        counts = catalog.query("SELECT count(DISTINCT variant_id) AS n, count(DISTINCT metric) AS m FROM measured")
        assert [tuple(row.values()) for row in counts] == [(3, 3)]


def has_commit(commit: str) -> bool:
    try:
        words = ["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.thorough("builds the wheel of an older commit, and runs its code and ours")
@pytest.mark.skipif(not has_commit(FIRST_READ), reason="git and the whole history are needed")
@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is needed, which the extra dev installs")
def test_a_store_that_version_0_3_wrote_is_opened_extended_and_reported(tmp_path: Path) -> None:
    store_folder = write_store(install_commit(FIRST_READ, tmp_path / "old"), tmp_path)
    old = results(store_folder)
    with mlprune.open(store_folder) as opened:
        before = {(row["evaluation_id"], row["metric"]): row["value"] for row in opened.metrics()}
    assert before
    pending = pending_jobs(plan_of(tmp_path / "recipe.yaml").jobs, Store(store_folder))
    known = {path.split("/")[1] for path in old if path.startswith("records/")}
    assert {kind for job in pending for kind, _ in job.makes} & known <= STATISTICS

    recipe = write_recipe(tmp_path, RECIPE.replace("sparsity: [0.5]", "sparsity: [0.25, 0.5]"))
    command("run", recipe, "--store", store_folder, "--address", "none")
    new = results(store_folder)
    assert {path: data for path, data in new.items() if path in old} == old
    assert sum(path.startswith("records/variants/") for path in new.keys() - old.keys()) == 1
    with mlprune.open(store_folder) as opened:
        after = {(row["evaluation_id"], row["metric"]): row["value"] for row in opened.metrics()}
        assert len(opened.query("answers_to_questions")) > 0
    assert {key: after[key] for key in before} == before
    command("report", "--store", store_folder, "--out", tmp_path / "report.html")
    assert "wanda sw-en 0.25" in (tmp_path / "report.html").read_text("utf-8")
    assert command("check", "store", "--store", store_folder, "--deep").splitlines()[-1] == "sound"
