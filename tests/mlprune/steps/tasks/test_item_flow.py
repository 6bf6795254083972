"""How many items of a task were read, left out for each reason, and kept."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from mlprune.evaluation.tasks.items import published_examples
from mlprune.evaluation.tasks.task_files import ItemSelection, corpus_items, read_items
from mlprune.steps.tasks.item_flow import ItemFlowJob, item_flow
from tests.tiny_recipes import FinishedRun

ROWS = [{"id": n, "premise": f"p{n}", "hypothesis": f"h{n}", "label": n % 3} for n in range(6)]
PARTS = ("n_blank", "n_equal_candidates", "n_unusable", "n_without_item", "n_other_half", "n_beyond_limit", "n_items")


def present(flow: dict[str, object]) -> dict[str, object]:
    """The numbers above 0, after a check that the parts add up."""
    assert flow["n_read"] == sum(flow[name] for name in PARTS)  # type: ignore[misc]
    return {name: number for name, number in flow.items() if number}


def test_rows_of_a_file_are_blank_beyond_the_limit_or_items(tmp_path: Path) -> None:
    rows = [*ROWS[:3], {**ROWS[3], "premise": " "}, *ROWS[4:]]
    (tmp_path / "en.test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    data = read_items("xnli", tmp_path, ItemSelection("en", "test", 2))
    flow = {"n_read": 6, "n_blank": 1, "n_beyond_limit": 3, "n_items": 2}
    assert present(item_flow(data, is_half=False)) == flow
    whole = read_items("xnli", tmp_path, ItemSelection("en", "test"))
    kept = whole.keep(published_examples(whole.items, 4))
    assert present(item_flow(kept, is_half=False)) == {**flow, "n_beyond_limit": 1, "n_items": 4}


def test_items_of_the_other_half_of_a_corpus_are_left_out() -> None:
    halves = {
        split: corpus_items("facts", {}, ItemSelection("fr", split), split_by="clusters") for split in ("dev", "test")
    }
    dev, test = (present(item_flow(data, is_half=True)) for data in halves.values())
    assert (dev["n_other_half"], test["n_other_half"]) == (test["n_items"], dev["n_items"])
    limited = corpus_items("facts", {}, ItemSelection("fr", "test", 5), split_by="clusters")
    assert present(item_flow(limited, is_half=True)) == {
        "n_read": 431,
        "n_other_half": dev["n_items"],
        "n_beyond_limit": 431 - int(str(dev["n_items"])) - 5,
        "n_items": 5,
    }


def test_a_run_counts_the_items_of_every_evaluation(tiny_run: FinishedRun) -> None:
    flows = {row["items_id"]: row for row in tiny_run.rows("item_flows")}
    for row in tiny_run.rows("evaluations"):
        flow = flows[row["items_id"]]
        assert [row[name] for name in ("task", "language", "split", "n_examples")] == [
            flow[name] for name in ("task", "language", "split", "n_items")
        ]
        present({name: flow[name] for name in ("n_read", *PARTS)})
    jobs = [job for job in tiny_run.plan.jobs if isinstance(job, ItemFlowJob)]
    assert {job.items[1] for job in jobs} == set(flows)


def test_the_flow_of_a_run_is_that_of_its_files_and_of_the_hash_that_halves_a_corpus(tiny_run: FinishedRun) -> None:
    """A corpus item is in dev if the last byte of SHA-256 of "split:id" is even; its id is the line."""
    rows = tiny_run.rows("item_flows")
    assert {row["task"] for row in rows} == {"facts", "perplexity", "translation"}
    for row in rows:
        expected = dict.fromkeys(PARTS, 0)
        if row["task"] == "facts":
            lines = (tiny_run.folder / "facts" / f"{row['language']}.test.jsonl").read_text("utf-8").splitlines()
            expected["n_items"] = len(lines)
        else:
            language = row["language"].partition("-")[0]
            lines = (tiny_run.folder / "corpus" / f"{language}.txt").read_text("utf-8").splitlines()
            digests = [sha256(f"split:{number}".encode()).digest() for number in range(len(lines))]
            n_of_test = sum(digest[-1] % 2 for digest in digests)
            limit = {"perplexity": 4, "translation": 2}[row["task"]]
            expected |= {"n_items": limit, "n_beyond_limit": n_of_test - limit, "n_other_half": len(lines) - n_of_test}
        assert {name: row[name] for name in ("n_read", *PARTS)} == {"n_read": len(lines), **expected}


@pytest.mark.parametrize(
    ("reason", "column"), [("a single candidate", "n_unusable"), ("with equal candidates", "n_equal_candidates")]
)
def test_rows_that_a_layout_leaves_out_are_read_too(reason: str, column: str) -> None:
    data = corpus_items("facts", {}, ItemSelection("fr", "test"))
    skipping = type(data)(data.items, "", "", data.lines, skipped={reason: 7}, n_of_split=data.n_of_split)
    flow = present(item_flow(skipping, is_half=True))
    assert (flow["n_read"], flow[column]) == (438, 7)
