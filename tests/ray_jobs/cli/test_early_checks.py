"""The hub is asked before libraries are imported."""

from pathlib import Path

import pytest

from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import HubError
from ray_jobs.cli.early_checks import require_hub_for_import
from tests.hub import use_hub
from tests.tiny_recipes import small_recipe, write_recipe


def test_the_hub_has_to_answer_unless_the_model_may_be_imported_already(
    own_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(MODEL_CACHE_VARIABLE, raising=False)
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    recipe = write_recipe(own_inputs, {**small_recipe(), "model": {"path": "some/model", "import": True}})
    with pytest.raises(HubError, match="some/model"):
        require_hub_for_import(recipe, str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    require_hub_for_import(recipe, str(tmp_path / "store"))
    monkeypatch.setenv(MODEL_CACHE_VARIABLE, str(tmp_path / "imported"))
    require_hub_for_import(recipe, str(tmp_path / "another-store"))


def test_a_recipe_with_a_folder_needs_no_hub(own_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    require_hub_for_import(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"))
