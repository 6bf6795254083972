"""Models that a recipe asks to import: where they go, who may import them, and that it happens once."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlprune import capabilities
from mlprune.atomic import UNFINISHED
from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import BadInputError, HubError, ModelError, RecipeError
from mlprune.models.import_record import ImportRecord, Origin
from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe, parse_recipe
from mlprune.recipe.models import Recipe
from ray_jobs import run as submitted
from ray_jobs.driver import model_imports
from ray_jobs.driver.model_imports import (
    CACHE_FOLDER,
    RequestedImport,
    model_cache,
    newest_import,
    pending_imports,
    requested_imports,
    with_imported_models,
)
from tests.command_line import Done
from tests.hub import Hub, folder_files, serving, use_hub, use_hub_in_processes
from tests.published_models import publish, published_tensors
from tests.refusals import refused
from tests.tiny_recipes import copied_inputs, small_recipe, write_recipe

HUB_ID = "facebook/tiny-xglm"
ASKING = {"path": HUB_ID, "import": True}


def list_pending_imports(recipe: Recipe, *, store_uri: str) -> list[RequestedImport]:
    return pending_imports(requested_imports(recipe, store_uri=store_uri, address="local"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.delenv(MODEL_CACHE_VARIABLE, raising=False)
    with serving() as one:
        use_hub_in_processes(monkeypatch, one.url, tmp_path / "cache")
        yield one


@pytest.fixture
def commit(hub: Hub, tiny_inputs: Path, tmp_path: Path) -> str:
    """The commit of a repository with pickled weights of the tiny model."""
    model = tiny_inputs / "model"
    folder = publish(tmp_path / "published", model, published_tensors(model, "xglm", has_buffers=True))
    return hub.push(HUB_ID, {**folder_files(folder), "tf_model.h5": b"tf"})


@pytest.fixture
def imports(tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Source and revision of every import; an import copies the tiny model."""
    done: list[tuple[str, str]] = []

    def copy_model(source: str, target: Path, *, revision: str) -> None:
        done.append((source, revision))
        shutil.copytree(tiny_inputs / "model", target)
        origin = Origin(source, revision, target.name.rpartition("-")[2])
        ImportRecord("0", "0", "pytorch", source, origin, None, {}, (), {}, {}).write(target)

    monkeypatch.setattr(model_imports, "run_import_command", copy_model)
    return done


def asking(inputs: Path, tmp_path: Path, **changes: Any) -> Path:
    """The file of a recipe that asks to import its model from the hub."""
    folder = copied_inputs(inputs, tmp_path / "inputs")
    return write_recipe(folder, {**small_recipe(), "model": ASKING, **changes}, name="asking.yaml")


def test_a_model_is_imported_once_at_its_commit_and_ids_do_not_depend_on_it(
    tiny_inputs: Path, tmp_path: Path, commit: str, imports: list[tuple[str, str]]
) -> None:
    path = asking(tiny_inputs, tmp_path)
    store = str(tmp_path / "store")
    first, second = (
        with_imported_models(load_recipe(path), store_uri=store, address="none", is_allowed=is_allowed)
        for is_allowed in (True, False)
    )
    assert imports == [(HUB_ID, "main")]
    assert first == second
    assert Path(first.model.path) == tmp_path / "store" / CACHE_FOLDER / f"facebook--tiny-xglm-{commit[:12]}"
    plan = build_plan(first)
    named = write_recipe(path.parent, {**small_recipe(), "model": {"path": "model"}}, name="named.yaml")
    assert [job.makes for job in plan.jobs] == [job.makes for job in build_plan(load_recipe(named)).jobs]
    (name,) = [row["name"] for row in plan.record.rows["names"] if row["kind"] == "base_model"]
    assert name == HUB_ID


def test_without_permission_one_line_says_what_the_option_allows(
    tiny_inputs: Path, tmp_path: Path, hub: Hub, commit: str, imports: list[tuple[str, str]], here: Callable[..., Done]
) -> None:
    path = asking(tiny_inputs, tmp_path)
    done = here("run", path, "--store", tmp_path / "store", "--address", "none")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--allow-import" in done.err
    assert HUB_ID in done.err
    assert (imports, hub.fetched(), (tmp_path / "store").exists()) == ([], [], False)


def test_plan_says_what_an_import_would_fetch_and_write_and_downloads_nothing(
    tiny_inputs: Path, tmp_path: Path, hub: Hub, commit: str, here: Callable[..., Done]
) -> None:
    done = here("plan", asking(tiny_inputs, tmp_path), "--store", tmp_path / "store")
    assert (done.code, done.err) == (0, "")
    for text in (
        f"fetch {HUB_ID}",
        commit[:12],
        "(pytorch)",
        "MB to download",
        str(tmp_path / "store"),
        "--allow-import",
    ):
        assert text in done.out
    assert hub.fetched() == []
    assert not (tmp_path / "store").exists()


def test_a_baseline_can_be_imported_and_the_same_model_is_imported_once(
    tiny_inputs: Path, tmp_path: Path, commit: str, imports: list[tuple[str, str]]
) -> None:
    baseline = {"kind": "model", "name": "same", "path": HUB_ID, "revision": commit, "import": True}
    recipe = load_recipe(asking(tiny_inputs, tmp_path, baselines=[baseline]))
    assert len(list_pending_imports(recipe, store_uri=str(tmp_path / "store"))) == 1
    imported = with_imported_models(recipe, store_uri=str(tmp_path / "store"), address="none", is_allowed=True)
    assert len(imports) == 1
    assert imported.baselines[0].path == imported.model.path


def test_without_a_hub_an_earlier_import_of_the_revision_is_used(
    tiny_inputs: Path, tmp_path: Path, commit: str, imports: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = load_recipe(asking(tiny_inputs, tmp_path)), str(tmp_path / "store")
    online = with_imported_models(recipe, store_uri=store, address="none", is_allowed=True)
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "other-cache")
    assert with_imported_models(recipe, store_uri=store, address="none", is_allowed=False) == online
    with pytest.raises(HubError, match="cannot be reached"):
        with_imported_models(recipe, store_uri=str(tmp_path / "other"), address="none", is_allowed=True)


def test_without_the_capability_the_key_is_refused_with_its_name(
    tiny_inputs: Path, tmp_path: Path, imports: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    present = tuple(name for name in capabilities.NAMES if name != "importing")
    monkeypatch.setattr(capabilities, "NAMES", present)
    recipe = load_recipe(asking(tiny_inputs, tmp_path))
    with refused(RecipeError, key="model.import", got="importing"):
        with_imported_models(recipe, store_uri=str(tmp_path / "store"), address="none", is_allowed=True)
    assert imports == []


def test_the_model_cache_is_a_folder_that_all_nodes_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(MODEL_CACHE_VARIABLE, raising=False)
    assert model_cache("/shared/runs", address="auto") == Path("/shared/runs") / CACHE_FOLDER
    assert model_cache("s3://bucket/runs", address="none").name == CACHE_FOLDER
    with pytest.raises(BadInputError, match="all nodes see") as caught:
        model_cache("s3://bucket/runs", address="auto")
    assert MODEL_CACHE_VARIABLE in str(caught.value)
    monkeypatch.setenv(MODEL_CACHE_VARIABLE, str(tmp_path))
    assert model_cache("s3://bucket/runs", address="ray://head:10001") == tmp_path


def test_a_changed_folder_is_imported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_CACHE_VARIABLE, str(tmp_path / "imported"))
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "pytorch_model.bin").write_bytes(b"one")
    value = {**small_recipe(), "model": {"path": "published", "import": True}}
    recipe = parse_recipe(value, folder=tmp_path)
    (first,) = list_pending_imports(recipe, store_uri="store")
    assert first.source == str(tmp_path / "published")
    (tmp_path / "published" / "pytorch_model.bin").write_bytes(b"other")
    (second,) = list_pending_imports(recipe, store_uri="store")
    assert first.target != second.target


def test_a_gguf_file_is_a_model_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_CACHE_VARIABLE, str(tmp_path / "imported"))
    recipe = parse_recipe({**small_recipe(), "model": {"path": "m.gguf", "import": True}}, folder=tmp_path)
    targets = []
    for content in (b"GGUF", b"GGUF again"):
        (tmp_path / "m.gguf").write_bytes(content)
        (request,) = list_pending_imports(recipe, store_uri="store")
        assert request.source == str(tmp_path / "m.gguf")
        targets.append(request.target)
    assert targets[0] != targets[1]


def test_without_a_hub_an_import_that_was_killed_is_not_used(tmp_path: Path) -> None:
    record = ImportRecord("0", "0", "pytorch", HUB_ID, Origin(HUB_ID, "main", "c" * 40), None, {}, (), {}, {})
    for name in (f"model{UNFINISHED}0", "model"):
        (tmp_path / name).mkdir()
        record.write(tmp_path / name)
        os.utime(tmp_path / name, (len(name), len(name)))
    assert newest_import(tmp_path, HUB_ID, "main") == tmp_path / "model"


def test_the_key_takes_true_or_false_only_and_belongs_to_models(tmp_path: Path) -> None:
    def parsed(**changes: Any) -> Recipe:
        return parse_recipe({**small_recipe(), **changes}, folder=tmp_path)

    with pytest.raises(RecipeError, match="true or false"):
        parsed(model={"path": "x", "import": "maybe"})
    with pytest.raises(RecipeError, match="import does not apply to kind self_translate"):
        parsed(baselines=[{"kind": "self_translate", "import": True}])
    assert parsed(model={"path": "x", "import": False}) == parsed(model={"path": "x"})


def test_a_submitted_job_passes_the_option_on() -> None:
    arguments = ["r.yaml", "--store", "/s", "--allow-import"]
    assert submitted.command(arguments) == ["mlprune", "run", *arguments, "--address", "auto"]


@pytest.mark.slow
def test_a_recipe_imports_plans_and_runs_a_pickled_model_of_a_hub(
    tiny_inputs: Path, tmp_path: Path, hub: Hub, commit: str, here: Callable[..., Done]
) -> None:
    arguments = (asking(tiny_inputs, tmp_path), "--store", tmp_path / "store")
    planned = here("plan", *arguments, "--allow-import")
    assert planned.code == 0, planned.err
    assert "recipe tiny: " in planned.out
    assert "tf_model.h5" not in hub.fetched()
    n_fetched = len(hub.fetched())
    assert here("run", *arguments, "--address", "none").code == 0
    assert len(hub.fetched()) == n_fetched
    (record,) = (tmp_path / "store" / CACHE_FOLDER).glob("*/mlprune_import.json")
    assert json.loads(record.read_text())["origin"] == {"hub_id": HUB_ID, "revision": "main", "commit": commit}
    rows = json.loads(here("query", "values_by_variant", "--store", tmp_path / "store", "--format", "json").out)
    assert rows


@pytest.mark.slow
def test_a_failed_import_is_one_line_with_the_reason(
    tiny_inputs: Path, tmp_path: Path, hub: Hub, here: Callable[..., Done]
) -> None:
    hub.push(HUB_ID, {"config.json": b"{}", "pytorch_model.bin": b"not a checkpoint"})
    recipe = load_recipe(asking(tiny_inputs, tmp_path))
    with refused(ModelError):
        with_imported_models(recipe, store_uri=str(tmp_path / "store"), address="none", is_allowed=True)
    assert list_pending_imports(recipe, store_uri=str(tmp_path / "store"))
