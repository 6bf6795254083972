"""A recipe: wrong keys, missing inputs and plug-ins, models to import, and too little memory or disk."""

from pathlib import Path

import pytest
import yaml

from mlprune.errors import BadInputError
from ray_jobs.doctor import store as examined
from ray_jobs.doctor.findings import Finding, Level
from ray_jobs.doctor.store import examine_recipe
from tests.tiny_recipes import FinishedRun


def changed(small_run: FinishedRun, name: str, **changes: object) -> Path:
    recipe = {**yaml.safe_load(small_run.recipe_path.read_text()), **changes}
    path = small_run.recipe_path.with_name(f"doctor-{name}.yaml")
    path.write_text(yaml.safe_dump(recipe))
    return path


def findings(path: Path, store: Path) -> list[Finding]:
    return examine_recipe(path, store_uri=str(store), address="none")


def last(path: Path, store: Path) -> tuple[Level, str]:
    finding = findings(path, store)[-1]
    return finding.level, finding.text


def test_a_recipe_that_can_run_has_its_jobs_memory_and_disk(small_run: FinishedRun, tmp_path: Path) -> None:
    found = findings(small_run.recipe_path, tmp_path / "store")
    assert all(finding.level is Level.OK for finding in found)
    assert any(finding.text.startswith("memory: ") for finding in found)
    assert not (tmp_path / "store").exists()


def test_a_finished_recipe_needs_nothing(small_run: FinishedRun) -> None:
    assert "nothing to do" in findings(small_run.recipe_path, Path(small_run.store.uri))[-1].text


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("key", {"variantes": []}),
        ("model", {"model": {"path": "no-such-model"}}),
        ("corpus", {"corpus": {"kind": "parallel_text", "path": "no-such-corpus"}}),
        ("plugin", {"plugins": ["no-such-plugin.py"]}),
    ],
)
def test_what_a_recipe_lacks_is_named_with_the_help(
    small_run: FinishedRun, tmp_path: Path, name: str, changes: dict[str, object]
) -> None:
    finding = findings(changed(small_run, name, **changes), tmp_path / "store")[-1]
    assert finding.level is Level.MISSING
    assert finding.help


def test_a_model_to_import_is_a_warning_with_the_option(small_run: FinishedRun, tmp_path: Path) -> None:
    path = changed(small_run, "import", model={"path": "model", "import": True})
    level, text = last(path, tmp_path / "store")
    assert (level, "import" in text) == (Level.WARNING, True)


def test_too_little_memory_and_disk_are_missing(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BadInputError("not enough", expected="more")

    monkeypatch.setattr(examined, "require_room", refuse)
    path = changed(small_run, "memory", compute={"batch_tokens": 128, "memory_gib_per_actor": 0.01})
    found = [finding.level for finding in findings(path, tmp_path / "store")]
    assert found.count(Level.MISSING) == 2
