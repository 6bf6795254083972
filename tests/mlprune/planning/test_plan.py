"""The plan: equal ids on every machine, jobs in order, and bad inputs found before anything is written."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BadInputError
from mlprune.planning import Plan, build_plan
from mlprune.planning.stages import STAGES, Name, Planning
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.overlaps import FeatureOverlapJob
from mlprune.steps.demonstrate.writing import DemonstrateJob, MixJob
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import Job
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.store.store import Store
from tests.tiny_recipes import (
    FinishedRun,
    contents,
    copied_inputs,
    method_recipe,
    plan_of,
    run_here,
    small_recipe,
    tiny_recipe,
    write_recipe,
)

Change = Callable[[Path, dict[str, Any]], None]


def keys(plan: Plan) -> list[tuple[str, str]]:
    return [key for job in plan.jobs for key in job.makes]


def ids_of(plan: Plan, *kinds: str) -> set[str]:
    return {record_id for kind, record_id in keys(plan) if kind in kinds}


def planned(folder: Path, recipe: dict[str, Any]) -> Plan:
    return build_plan(parse_recipe(recipe, folder=folder))


def test_a_further_stage_is_one_entry(tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(tiny_inputs, small_recipe())

    def name_it(planning: Planning) -> list[Job]:
        planning.names.append(Name("variant", "further", "0" * 20))
        return planning.jobs[:2]

    monkeypatch.setattr("mlprune.planning.plan.STAGES", (*STAGES, name_it))
    after = planned(tiny_inputs, small_recipe())
    assert after.names == (*before.names, Name("variant", "further", "0" * 20))
    assert keys(after) == keys(before), "a job that is planned twice is kept once"


@pytest.fixture(params=["tiny_run", "method_run"])
def any_run(request: pytest.FixtureRequest) -> FinishedRun:
    run: FinishedRun = request.getfixturevalue(request.param)
    return run


def test_every_job_comes_after_those_it_needs(any_run: FinishedRun) -> None:
    made: set[tuple[str, str]] = set()
    for job in any_run.plan.jobs:
        assert set(job.needs) <= made
        made |= set(job.makes)
    assert len(made) == len(keys(any_run.plan))


def test_a_plan_lists_every_record_that_its_run_makes(any_run: FinishedRun) -> None:
    record = any_run.plan.record
    found = set(any_run.store.record_names())
    assert {*keys(any_run.plan), (record.kind, record.id)} <= found
    assert {kind for kind, _ in found - set(keys(any_run.plan))} == {"recipes", "mask_blocks"}


def test_every_artefact_in_the_store_belongs_to_a_record(any_run: FinishedRun) -> None:
    named = {artefact.path for record in any_run.store.records() for artefact in record.artefacts}
    files = {path for path in any_run.store.list("") if not path.startswith(("records/", "catalog.duckdb"))}
    assert files == named
    assert all(any_run.store.is_intact(record) for record in any_run.store.records())


def test_a_record_repeats_what_its_id_is_made_of(any_run: FinishedRun) -> None:
    from mlprune.store.records import identity  # noqa: PLC0415 - the one test that recomputes ids

    for record in any_run.store.records():
        parts = {"parameters": record.parameters, "parents": record.parents, "contents": record.contents}
        assert identity(record.kind, step_version=record.step_version, **parts) == record.id


def test_records_contain_no_path_host_or_time(any_run: FinishedRun) -> None:
    for path, data in contents(any_run.store).items():
        if path.startswith("records/"):
            assert str(any_run.folder).encode() not in data
            assert b"elapsed" not in data


def test_evaluations_of_the_base_model_come_before_those_of_other_models(baseline_run: FinishedRun) -> None:
    plan = baseline_run.plan
    is_other = [job.chain_model != plan.model for job in plan.jobs if isinstance(job, EvaluateJob)]
    assert set(is_other) == {False, True}
    assert is_other == sorted(is_other)


def test_names_lead_to_ids(tiny_run: FinishedRun) -> None:
    rows = tiny_run.rows("names")
    assert {row["recipe"] for row in rows} == {"tiny"}
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}
    assert [row["id"] for row in by_kind["recipe"]] == [tiny_run.plan.record.id]
    assert [row["name"] for row in by_kind["base_model"]] == ["model"]
    assert len([row for row in by_kind["demonstration_set"] if row["name"] == "mt"]) == 2
    variants = {row["name"]: row["id"] for row in by_kind["variant"]}
    named = {one.id for one in tiny_run.plan.variants.values() if one.is_dense or any(e.name for e in one.entries)}
    assert {row["id"] for row in by_kind["variant"]} == named
    assert len([row for row in by_kind["variant"] if row["name"] == "wanda-mt"]) == 8
    assert variants["dense"] == next(iter(tiny_run.plan.variants))


def test_the_same_recipe_over_copied_files_in_another_folder_has_the_same_ids(
    tiny_run: FinishedRun, own_inputs: Path
) -> None:
    other = plan_of(write_recipe(own_inputs, tiny_recipe(), name="another.yaml"))
    assert keys(other) == keys(tiny_run.plan)
    assert other.record.id == tiny_run.plan.record.id


def test_a_changed_corpus_line_changes_the_sets_of_its_language_and_all_that_reads_them(
    small_run: FinishedRun, own_inputs: Path
) -> None:
    file = own_inputs / "corpus" / "fr.txt"
    file.write_text(file.read_text().replace("39 chats", "39 chiens"))
    other = planned(own_inputs, small_recipe())
    for kind in ("demonstration_sets", "statistics", "mask_blocks", "masks", "comparisons"):
        assert not ids_of(small_run.plan, kind) & ids_of(other, kind)
    common = ids_of(small_run.plan, "variants") & ids_of(other, "variants")
    assert common == {next(iter(other.variants))}


def test_a_changed_line_of_another_language_changes_nothing(small_run: FinishedRun, own_inputs: Path) -> None:
    file = own_inputs / "corpus" / "sw.txt"
    file.write_text(file.read_text().replace("paka 3", "mbwa 3"))
    assert keys(planned(own_inputs, small_recipe())) == keys(small_run.plan)


def test_renaming_changes_no_id_but_the_recipes_own(small_run: FinishedRun) -> None:
    recipe = small_recipe()
    recipe["name"] = "renamed"
    recipe["demonstrations"][0]["name"] = "other"
    for number, entry in enumerate(recipe["variants"]):
        entry.update(name=f"variant{number}", demonstrations="other")
    other = planned(small_run.folder, recipe)
    assert keys(other) == keys(small_run.plan)
    assert other.record.id != small_run.plan.record.id


@pytest.mark.parametrize("compute", [{"replicas": 4}, {"shards": 2}, {"memory_gib_per_actor": 0.5}])
def test_the_division_of_the_work_changes_no_id(small_run: FinishedRun, compute: dict[str, Any]) -> None:
    recipe = small_recipe()
    recipe["compute"].update(compute)
    assert keys(planned(small_run.folder, recipe)) == keys(small_run.plan)


@pytest.mark.parametrize(
    "section", [{"compute": {"batch_tokens": 129}}, {"model": {"path": "model", "dtype": "bfloat16"}}]
)
def test_batch_tokens_and_dtype_change_the_ids_of_computed_results(
    small_run: FinishedRun, section: dict[str, Any]
) -> None:
    other = planned(small_run.folder, {**small_recipe(), **section})
    for kind in ("statistics", "mask_blocks", "evaluations", "comparisons"):
        assert not ids_of(small_run.plan, kind) & ids_of(other, kind)
    assert ids_of(small_run.plan, "demonstration_sets") == ids_of(other, "demonstration_sets")


@pytest.mark.thorough("computes many cases")
def test_two_runs_of_one_recipe_give_the_same_bytes(method_run: FinishedRun, tmp_path: Path) -> None:
    """The second one makes every second variant, in another folder; only its own record is another one."""
    recipe = method_recipe()
    recipe["variants"] = [entry for entry in recipe["variants"][::2] if "of" not in entry]
    recipe["evaluations"] = []
    store = Store(tmp_path / "store")
    run_here(write_recipe(copied_inputs(method_run.folder, tmp_path / "elsewhere"), recipe), store)
    first, second = contents(method_run.store), contents(store)
    other = {path.split("/")[1] for path in second.keys() - first.keys()}
    assert other == {"recipes"}
    assert [path for path in second.keys() & first.keys() if second[path] != first[path]] == []


def test_a_recipe_without_variants_and_evaluations_has_a_plan(tiny_inputs: Path) -> None:
    recipe = {key: small_recipe()[key] for key in ("name", "model", "corpus")}
    plan = planned(tiny_inputs, recipe)
    assert [key[0] for key in keys(plan)] == ["base_models", "variants"]


def paper_recipe(**reads: Any) -> dict[str, Any]:
    """A corrected variant of a set that the published code has no counterpart of, and one of profile paper."""
    recipe = small_recipe()
    sizes = {"shots": 2, "max_tokens": 48}
    recipe["demonstrations"] += [
        {"name": "budget", "kind": "monolingual", "language": "fr", "token_budget": 60, **sizes},
        {"name": "mono", "kind": "monolingual", "language": "fr", "samples": 4, **sizes},
        {"name": "mixed", "kind": "mixed", "parts": ["mono", "mt"]},
    ]
    wanda = {"score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    recipe["corpus"] = {"kind": "parallel_text", "path": "corpus"}
    recipe["variants"] = [{**wanda, "demonstrations": "budget"}, {**wanda, "profile": "paper", **reads}]
    return recipe


@pytest.mark.parametrize(
    ("reads", "n_paper"),
    [
        ({"demonstrations": "mono"}, 1),
        ({"demonstrations": "mixed"}, 3),
        ({"over": ["mono", "mt"], "aggregate": "max"}, 2),
    ],
)
def test_only_the_sets_that_profile_paper_reads_are_made_a_second_time(
    tiny_inputs: Path, reads: dict[str, Any], n_paper: int
) -> None:
    plan = planned(tiny_inputs, paper_recipe(**reads))
    specs = [job.spec for job in plan.jobs if isinstance(job, (DemonstrateJob, MixJob))]
    assert [spec.profile for spec in specs] == ["corrected"] * 4 + ["paper"] * n_paper
    observed = [job.demonstration_set_id for job in plan.jobs if isinstance(job, ObserveJob)]
    assert len(observed) == len(set(observed)) == 4 + (2 if "over" in reads else 1)
    assert len([job for job in plan.jobs if isinstance(job, FeatureOverlapJob)]) == 6


def test_sets_that_the_published_code_cannot_make_are_refused_for_profile_paper(tiny_inputs: Path) -> None:
    with pytest.raises(BadInputError, match="the published code has no such demonstrations"):
        planned(tiny_inputs, paper_recipe(demonstrations="budget"))


def test_the_plan_of_every_method_is_the_same_whatever_its_entries_are_called(method_run: FinishedRun) -> None:
    recipe = method_recipe()
    names = {entry["name"]: f"entry{number}" for number, entry in enumerate(recipe["variants"])}
    for entry in (*recipe["variants"], *recipe["evaluations"]):
        for key in ("of", "variants"):
            if key in entry:
                entry[key] = [names[name] for name in entry[key]]
        if "name" in entry:
            entry["name"] = names[entry["name"]]
    assert keys(planned(method_run.folder, recipe)) == keys(method_run.plan)


# Bad inputs


def edit(place: str, value: Any) -> Change:
    """Sets a value of the recipe."""

    def change(_: Path, recipe: dict[str, Any]) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
        entry: Any = recipe
        for step in way:
            entry = entry[step]
        entry[last] = value

    return change


def write(path: str, text: str) -> Change:
    """Writes a file of the inputs."""
    return lambda folder, _: (folder / path).write_text(text) and None


def lines_with(number: int, text: str) -> str:
    lines = [f"{index} chats" for index in range(40)]
    lines[number - 1] = text
    return "".join(f"{line}\n" for line in lines)


LABEL = '{"id": 1, "prompt": "a <mask>", "candidates": ["b"], "answer": "c"}\n'

BAD: dict[str, tuple[Change, list[str]]] = {
    "no model": (edit("model.path", "./none"), ["not a folder", "none"]),
    "no corpus": (edit("corpus.path", "none"), ["not parallel text", "none"]),
    "no such language": (edit("demonstrations.0.source", "es"), ["no such language", "es.txt"]),
    "misaligned files": (write("corpus/en.txt", "one\n"), ["not aligned", "40 lines", "1 lines"]),
    "an empty sentence": (write("corpus/fr.txt", lines_with(7, " ")), ["empty sentence", "line=7"]),
    "too few sentences": (edit("demonstrations.0.samples", 30), ["too short", "60 sentences", "got=40"]),
    "too long": (edit("demonstrations.0.max_tokens", 65), ["positions", "at most 64", "got=65"]),
    "a structure that does not fit": (
        edit("variants.0", {"score": "magnitude", "structure": "3:5"}),
        ["divide", "got=5"],
    ),
    "no task folder": (edit("evaluations.0.path", "none"), ["no task file", "none"]),
    "no task file": (edit("evaluations.0.split", "dev"), ["no task file", "en.dev.jsonl"]),
    "a wrong answer": (write("facts/fr.test.jsonl", LABEL), ["answer is not a candidate", "line=1", "fr.test.jsonl"]),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_input_is_one_line_and_nothing_is_written(own_inputs: Path, tmp_path: Path, what: str) -> None:
    change, parts = BAD[what]
    recipe = copy.deepcopy(small_recipe())
    change(own_inputs, recipe)
    path = write_recipe(own_inputs, recipe)
    store = Store(tmp_path / "store")
    before = sorted(file for file in tmp_path.rglob("*"))
    with pytest.raises(BadInputError) as caught:
        run_here(path, store)
    text = str(caught.value)
    for part in parts:
        assert part in text
    assert sorted(file for file in tmp_path.rglob("*")) == before
