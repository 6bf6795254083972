"""The core runs without any one capability, and says so where a recipe needs it."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from catalog.check import check
from catalog.report.page import render_page
from catalog.store import Catalog
from mlprune import capabilities
from mlprune.capabilities.capability import Capability, all_capabilities
from mlprune.capabilities.experts.keys import SCORES_OF_EXPERTS
from mlprune.capabilities.harness.harness import import_results
from mlprune.errors import BadInputError, RecipeError
from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe, parse_recipe
from mlprune.steps.declared_job import DeclaredJob
from mlprune.store.garbage import find_garbage
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store
from ray_jobs.cli.command_line import load_command
from ray_jobs.cli.command_table import COMMANDS, Form, capability_of
from tests.lm_eval_output import write_output
from tests.mlprune.capabilities.search.played_search import play, search_plan
from tests.refusals import refused
from tests.search_recipes import search_recipe, sensitivity_recipe
from tests.tiny_recipes import FinishedRun, copied_inputs, copy_of, finished_run, run_here, small_recipe
from tests.uses import USES, Use

EXHAUSTIVE = {
    "name": "sparsities",
    "base": {"score": "magnitude"},
    "space": {"sparsity": [0.25, 0.5]},
    "maximise": "all",
    "method": "exhaustive",
}
"""A search of two points."""
IN_PLANS = [name for name, use in USES.items() if use.key]
"""Capabilities that add something to a plan."""


@pytest.fixture(params=IN_PLANS)
def left_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tiny_run: FinishedRun) -> str:
    """The name of a capability that adds something to plans, and is left out of the list."""
    name: str = request.param
    leave_out(name, monkeypatch)
    return name


@pytest.fixture
def run_with_imported_results(tiny_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    store = copy_of(tiny_run.store, tmp_path / "imported")
    assert list(import_results(store, [write_output(tmp_path / "output")], variant_id=None))
    return tiny_run._replace(store=store)


@pytest.fixture
def run_with_search(tiny_inputs: Path, tmp_path: Path) -> FinishedRun:
    plan = search_plan(copied_inputs(tiny_inputs, tmp_path / "inputs"), EXHAUSTIVE)
    store = Store(tmp_path / "played")
    store.write_record(plan.record)
    return FinishedRun(tmp_path / "inputs" / "searches.yaml", play(plan, store, lambda _, __: 0.5), store)


@pytest.fixture
def adopted_run(tiny_inputs: Path, tmp_path: Path) -> FinishedRun:
    pruned = shutil.copytree(tiny_inputs / "model", tmp_path / "pruned")
    tensors = load_file(pruned / "model.safetensors")
    tensors["model.layers.1.fc1.weight"][:, ::2] = 0
    save_file(tensors, pruned / "model.safetensors")
    return finished_run(tiny_inputs, {**small_recipe(), "variants": [{"adopt": str(pruned)}]}, name="adopted")


@pytest.fixture
def run_with_sensitivity(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, sensitivity_recipe(), name="sensitivity")


def leave_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "NAMES", tuple(one for one in capabilities.NAMES if one != name))


def files_of(store: Store, folders: Iterable[str] = ("records", "predictions", "masks")) -> dict[str, bytes]:
    root = Path(store.uri)
    paths = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def test_every_capability_has_its_name_and_a_use() -> None:
    assert [one.name for one in all_capabilities()] == list(capabilities.NAMES)
    assert set(USES) == set(capabilities.NAMES)
    assert all(use.key or use.commands for use in USES.values())
    assert {one.name for one in all_capabilities() if one != Capability(one.name)} <= set(IN_PLANS)


def test_every_job_that_a_kind_names_is_there_and_writes_this_kind() -> None:
    named = {kind: described.job for kind, described in RECORD_KINDS.items() if described.job}
    assert len(named) > 14
    for kind, path in named.items():
        makes = resolve_name(path)
        job_type = getattr(makes, "__self__", None)
        if isinstance(job_type, type) and issubclass(job_type, DeclaredJob):
            assert job_type.kind == kind


def test_a_plan_without_a_capability_has_the_same_jobs(tiny_run: FinishedRun, left_out: str) -> None:
    plan = build_plan(load_recipe(tiny_run.recipe_path))
    assert [job.makes for job in plan.jobs] == [job.makes for job in tiny_run.plan.jobs]


def test_a_recipe_with_keys_of_an_absent_capability_is_refused(tiny_inputs: Path, left_out: str) -> None:
    use = USES[left_out]
    recipe = parse_recipe({**small_recipe(), **use.sections}, folder=tiny_inputs)
    with refused(RecipeError, key=use.key, got=left_out):
        build_plan(recipe)


OF_TRIALS: dict[str, Any] = {"demonstrations": "mt", "propagation": "dense"}
VARIED: dict[str, dict[str, Any]] = {
    "searches.0.base.score": {
        "base": {**OF_TRIALS, "score": SCORES_OF_EXPERTS[0]},
        "space": {"sparsity": [0.25, 0.5]},
    },
    "searches.0.space.score": {"base": {**OF_TRIALS, "sparsity": 0.5}, "space": {"score": SCORES_OF_EXPERTS[:2]}},
}
"""Key of a search with a value of the experts -> its keys."""


@pytest.mark.parametrize("key", VARIED)
def test_what_the_trials_of_a_search_have_is_refused_without_its_capability(
    tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    recipe = parse_recipe(search_recipe(levels=None, **VARIED[key]), folder=tiny_inputs)
    leave_out("experts", monkeypatch)
    with refused(RecipeError, key=key, got="experts"):
        build_plan(recipe)


@pytest.mark.thorough("runs the tiny recipe once for each capability")
def test_a_run_without_a_capability_writes_the_same_bytes(tiny_run: FinishedRun, left_out: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run_here(tiny_run.recipe_path, store)
    assert files_of(store) == files_of(tiny_run.store)


@pytest.mark.thorough("checks and renders a store for each capability")
@pytest.mark.parametrize("name", [name for name, use in USES.items() if use.kinds])
def test_a_store_with_records_of_an_absent_capability_is_read_and_kept(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tiny_inputs: Path, name: str
) -> None:
    run = _finished(request, tiny_inputs, USES[name])
    leave_out(name, monkeypatch)
    assert USES[name].kinds <= {kind for kind, _ in run.store.record_names()}
    damages, _ = check(run.store)
    assert not damages
    with Catalog.in_memory(run.store) as catalog:
        assert catalog.query("FROM evaluations")
        assert "<main" in render_page(catalog)
    assert not find_garbage(run.store, min_age_s=0).files


def _finished(request: pytest.FixtureRequest, inputs: Path, use: Use) -> FinishedRun:
    if not use.run:
        return finished_run(inputs, {**small_recipe(), **use.sections}, name="use")
    run: FinishedRun = request.getfixturevalue(use.run)
    return run


def test_every_command_of_a_capability_has_a_use() -> None:
    listed: dict[str, list[str]] = {}
    for command, source in COMMANDS.items():
        for words, form in {"": Form(source.function), **source.forms}.items():
            listed.setdefault(capability_of(form), []).append(f"{command} {words}".rstrip())
    assert {name: tuple(words) for name, words in listed.items() if name} == {
        name: use.commands for name, use in USES.items() if use.commands
    }


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, use in USES.items() for words in use.commands], ids=str
)
def test_a_command_of_an_absent_capability_is_refused(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = max((one for one in COMMANDS if f"{words} ".startswith(f"{one} ")), key=len)
    form = words.removeprefix(command).strip()
    assert load_command(command, form).callback
    leave_out(name, monkeypatch)
    with refused(BadInputError, got=capabilities.NAMES):
        load_command(command, form)
