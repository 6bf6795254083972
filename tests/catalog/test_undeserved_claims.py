"""Routes to a claim that is not deserved, from recipes to the verdicts; made-up p-values would support it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.check import declaration_notes
from catalog.store import Catalog
from mlprune.planning import Plan
from mlprune.steps.questions.declarations import awaited_variants, declarations
from mlprune.store.garbage import find_garbage
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.mlprune.steps.questions.test_asked import FACTS, QUESTION, plan_of
from tests.mlprune.steps.questions.test_declarations import (
    RANDOM,
    against,
    copied_inputs,
    finish,
    finish_only,
    make_variants,
    record_in,
    start,
)

pytestmark = pytest.mark.thorough("fills and folds catalogs of its own")

SMALL = 0.03
"""A p-value that supports a claim as the only test of a recipe, and not as one of two."""
Verdict = tuple[str, int | None]
"""Verdict, and size of the family."""


def asking(
    folder: Path,
    *questions: dict[str, Any],
    seeds: Sequence[int] = (0,),
    sparsity: float = 0.5,
    facts: dict[str, Any] | None = None,
    **sections: Any,
) -> Plan:
    """A recipe with random variants and questions about them, which are about Swahili unless they say otherwise."""
    variants = [{**RANDOM, "sparsity": sparsity, "seed": list(seeds)}]
    asked = [{**QUESTION, "variants": "random", "languages": "sw", **question} for question in questions]
    return plan_of(folder, *asked, variants=variants, evaluations=[facts or FACTS], **sections)


def run(plan: Plan, store: Store, *, p_value: float = SMALL, mask: str | None = None) -> None:
    """Do what a run does, with made-up results: declare, make masks, declare what waited, evaluate, answer.

    Args:
        mask: hash of the masks of all variants; by default each variant has masks of its own.
    """
    start(plan, store)
    if awaited_variants(plan.questions, declarations(plan.questions, store)):
        make_variants(plan, store, mask=mask)
        start(plan, store)
    finish(plan, store, mask=mask)
    for question in (question for question in plan.questions if question.config):
        pairs = question.pairs if question.criterion.over == "each" else question.pairs[:1]
        rows = [
            {
                "question_id": question.id,
                "comparison_id": comparison.identity.id if question.criterion.over == "each" else "",
                "variant_id": pair[0],
                "baseline_id": pair[1],
                "difference": 0.2,
                "p_value": p_value,
                "p_margin": p_value,
            }
            for pair, comparison in zip(pairs, question.comparisons, strict=False)
        ]
        store.write_record(question.identity.record(rows={"answers": rows}))


def verdicts(store: Store) -> list[Verdict]:
    """Verdicts of the declared questions, as the query states them."""
    with Catalog.in_memory(store) as catalog:
        rows = answers(catalog, "answers_to_questions", "all_answers=true")
        decided = {(row["question_id"], row["variant_id"]): row["verdict"] for row in catalog.query("FROM answers")}
    assert all(decided[row["question_id"], row["variant_id"]] == row["verdict"] for row in rows)
    return sorted((row["verdict"], row["n_family"]) for row in rows)


@pytest.fixture
def looked_at(tiny_inputs: Path, tmp_path: Path) -> Store:
    """A store with results that no question was declared about."""
    store = Store(tmp_path / "store")
    finish(asking(tiny_inputs, {}), store, mask="m")
    return store


def test_a_question_that_is_declared_in_time_has_the_verdict_yes(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run(asking(tiny_inputs, {}), store)
    assert verdicts(store) == [("yes", 1)]


@pytest.mark.parametrize(("mask", "expected"), [("m", "exploratory"), ("n", "yes")])
def test_another_sparsity_with_the_same_masks_supports_no_claim(
    tiny_inputs: Path, looked_at: Store, mask: str, expected: str
) -> None:
    run(asking(tiny_inputs, {}, sparsity=0.5001), looked_at, mask=mask)
    assert [verdict for verdict, _ in verdicts(looked_at)] == [expected]


def own_task(inputs: Path, folder: Path) -> dict[str, Any]:
    """Write the Swahili facts to a file of another task, with other names of items; return sections of a recipe."""
    folder.mkdir()
    facts = [json.loads(line) for line in (inputs / "facts" / "sw.test.jsonl").read_text().splitlines()]
    rows = [
        {"id": f"x{row['id']}", "text": row["prompt"].removesuffix(" <mask>"), "options": row["candidates"]}
        | {"right": row["candidates"][row["answer"]]}
        for row in facts
    ]
    (folder / "sw.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"name": "mine", "template": "{text} {candidate}", "answer": "right", "candidates": "options"}
    return {"tasks": [task], "facts": {"task": "mine", "path": str(folder), "languages": ["sw"]}}


def test_the_same_items_under_another_task_file_and_name_support_no_claim(
    tiny_inputs: Path, looked_at: Store, tmp_path: Path
) -> None:
    run(asking(tiny_inputs, {"task": "mine"}, **own_task(tiny_inputs, tmp_path / "own")), looked_at)
    assert [verdict for verdict, _ in verdicts(looked_at)] == ["exploratory"]


def test_seeds_that_are_added_until_the_answer_is_yes_support_no_claim(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run(asking(tiny_inputs, {"over": "mean"}, seeds=(0, 1)), store, p_value=0.2)
    assert verdicts(store) == [("not shown", 1)]
    for seeds in ((0, 1, 2), (0, 1, 2, 3)):
        run(asking(tiny_inputs, {"over": "mean"}, seeds=seeds), store)
    assert [verdict for verdict, _ in verdicts(store)] == ["exploratory", "exploratory", "not shown"]


@pytest.mark.parametrize(
    ("asked", "over", "expected"),
    [
        ([0], "each", [("not shown", 4)]),
        ([9], "each", [("yes", 1)]),
        ([0, 1], "mean", [("not shown", 6)]),
        ([0, 1, 2, 3], "mean", [("yes", 1)]),
        ([0, 1, 2, 3], "each", [("not shown", 4)] * 4),
    ],
    ids=["one of four", "a new one", "two of four", "the mean over all", "each of all"],
)
def test_a_baseline_that_is_chosen_among_known_ones_costs_a_claim(
    tiny_inputs: Path, tmp_path: Path, asked: list[int], over: str, expected: list[Verdict]
) -> None:
    store = Store(tmp_path / "store")
    finish_only(against(tiny_inputs, [0], looked_at=[1, 2, 3]), store, "random", "others")
    run(against(tiny_inputs, asked, looked_at=[], over=over), store)
    assert verdicts(store) == expected


@pytest.mark.parametrize("change", ["one more key in the config", "another dtype"])
def test_a_copy_of_the_model_or_another_dtype_supports_no_claim(
    tiny_inputs: Path, looked_at: Store, tmp_path: Path, change: str
) -> None:
    if change == "another dtype":
        plan = asking(tiny_inputs, {}, model={"path": "model", "dtype": "bfloat16"})
    else:
        plan = asking(copied_inputs(tiny_inputs, tmp_path / "inputs"), {})
    run(plan, looked_at)
    assert [verdict for verdict, _ in verdicts(looked_at)] == ["exploratory"]


def test_rows_that_were_edited_together_with_the_checksum_support_no_claim(
    tiny_inputs: Path, looked_at: Store, tmp_path: Path
) -> None:
    plan = asking(tiny_inputs, {})
    run(plan, looked_at)
    late, in_time = record_in(plan, looked_at), record_in(plan, Store(tmp_path / "other"))
    assert verdicts(looked_at) == [("exploratory", None)]
    edited = replace(late, rows=in_time.rows)
    looked_at.write_record(edited)
    assert verdicts(looked_at) == []
    assert any(edited.path in note for note in declaration_notes(looked_at))
    run(plan, looked_at)
    assert verdicts(looked_at) == [("exploratory", None)]


def edit(store: Store, record: Record) -> Path:
    """Change a record in its file, and nothing else."""
    path = Path(store.uri) / record.path
    text = path.read_text()
    assert '"is_primary":true' in text
    path.write_text(text.replace('"is_primary":true', '"is_primary":false'))
    return path


@pytest.fixture
def of_two(tiny_inputs: Path, tmp_path: Path) -> tuple[Store, Record]:
    """A recipe that declared two questions and then only one of them; and the record of the two."""
    store = Store(tmp_path / "store")
    both = asking(tiny_inputs, {}, {"name": "second", "languages": "fr"})
    run(both, store)
    start(asking(tiny_inputs, {}), store)
    return store, record_in(both, store)


def test_a_declaration_that_is_edited_or_quarantined_stays_in_its_family(of_two: tuple[Store, Record]) -> None:
    store, record = of_two
    assert verdicts(store) == [("not shown", 2)] * 2
    with Catalog.open(store) as catalog:
        catalog.fold()
        edit(store, record)
        assert verdicts(store) == [("not shown", 2)]
        assert Store(store.uri, quarantine=True).read_record(record.kind, record.id) is None
        assert verdicts(store) == [("not shown", 2)]
        catalog.fold()
        (row,) = answers(catalog, "answers_to_questions", "all_answers=true")
        with Catalog.in_memory(store) as rebuilt:
            assert rebuilt.fingerprints() == catalog.fingerprints()
    assert (row["verdict"], row["n_family"], row["p_corrected"]) == ("not shown", 2, 2 * SMALL)
    assert any(record.path in note for note in declaration_notes(store))
    assert not any("quarantine" in file.path for file in find_garbage(store, min_age_s=0).files)


def test_a_question_whose_declaration_was_lost_is_exploratory_and_stays_in_the_family(
    tiny_inputs: Path, of_two: tuple[Store, Record]
) -> None:
    store, record = of_two
    edit(store, record)
    Store(store.uri, quarantine=True).read_record(record.kind, record.id)
    start(asking(tiny_inputs, {}, {"name": "second", "languages": "fr"}), store)
    assert verdicts(store) == [("exploratory", None), ("not shown", 2)]


def test_a_declaration_that_cannot_be_read_is_named_if_a_run_wrote_it(of_two: tuple[Store, Record]) -> None:
    store, record = of_two
    store.write_run_file("run-1", "run", {"run_id": "run-1", "recipe": "tiny", "recipe_id": record.id})
    (Path(store.uri) / record.path).unlink()
    assert any(record.path in note for note in declaration_notes(store))
