"""Base models by their id: the folder of one is found and checked."""

import shutil
from pathlib import Path

import pytest

from mlprune.errors import BadInputError
from mlprune.models.loading import inspect_model
from mlprune.steps.base_model import base_model_identity, find_base_model, require_base_model
from mlprune.store.store import Store
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder, "gpt2")
    return folder


def id_of(folder: Path) -> str:
    return base_model_identity(inspect_model(folder)).id


def test_a_folder_with_other_weights_is_refused(model: Path, tmp_path: Path) -> None:
    base_model_id = id_of(model)
    assert require_base_model(model, base_model_id).family == "gpt2"
    save_tiny_model(tmp_path / "other", "gpt2", seed=5)
    with pytest.raises(BadInputError) as caught:
        require_base_model(tmp_path / "other", base_model_id)
    context = caught.value.context
    assert context == {
        "path": str(tmp_path / "other"),
        "expected": base_model_id,
        "got": id_of(tmp_path / "other"),
    }


def test_the_newest_folder_that_a_run_used_and_that_is_unchanged_is_found(model: Path, tmp_path: Path) -> None:
    base_model_id = id_of(model)
    copies = [tmp_path / name for name in ("first", "second", "third")]
    for copy in copies:
        shutil.copytree(model, copy)
    store = Store(tmp_path / "store")
    for number, copy in enumerate(copies):
        store.write_run_file(f"2026010{number}T000000-abc", "run", {"models": {base_model_id: str(copy)}})
    store.write_run_file("20260109T000000-abc", "run", {"models": {"another": str(tmp_path)}})
    (tmp_path / "store" / "runs" / "20260109T000000-abc" / "job-0.json").write_text("{}")
    (tmp_path / "store" / "runs" / "20260108").mkdir()
    (tmp_path / "store" / "runs" / "20260108" / "run.json").write_text("no JSON")
    assert find_base_model(store, base_model_id) == copies[2]
    shutil.rmtree(copies[2])
    assert find_base_model(store, base_model_id) == copies[1]
    save_tiny_model(copies[1], "gpt2", seed=5)
    assert find_base_model(store, base_model_id) == copies[0]


def test_a_base_model_that_no_run_used_asks_for_its_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--model PATH"):
        find_base_model(Store(tmp_path / "store"), "0" * 20)
