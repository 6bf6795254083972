"""Scores of stored translations that another program gave: files, values, comparisons, and what is refused."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.deep_check import deep_check
from catalog.store import Catalog
from catalog.stored_names import find_variant
from mlprune.capabilities.outside_scores.importing import ImportedScores, import_scores
from mlprune.capabilities.outside_scores.score_files import ScoreRange
from mlprune.errors import BadInputError
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, contents, copy_of

COMET, METRICX = ScoreRange(0.0, 1.0), ScoreRange(25.0, 0.0)
Rows = list[dict[str, Any]]


@pytest.fixture
def store(tiny_run: FinishedRun, tmp_path: Path) -> Store:
    """A copy of the store of the tiny recipe, which has translations."""
    return copy_of(tiny_run.store, tmp_path / "store")


def translated(store: Store) -> list[Record]:
    records = (one for one in store.records("evaluations") if one.parameters["task"] == "translation")
    return [one for one in records if "metrics" not in one.parameters]


def made_up(name: str) -> float:
    """A score from 0 to 1 that follows from a name."""
    return int(sha256(name.encode()).hexdigest()[:6], 16) / 0xFFFFFF


def score_rows(store: Store, score: Callable[[str, str], float]) -> Rows:
    """A row for each output; `score` gets the id of the evaluation and the id of the item."""
    return [
        {"evaluation_id": record.id, "item": item, "score": score(record.id, item)}
        for record in translated(store)
        for item in store.read_table(record.artefacts[0])["example_id"]
    ]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def imported(store: Store, path: Path, name: str = "comet-22", scores: ScoreRange = COMET) -> ImportedScores:
    return import_scores(store, path, name, scores=scores, find_variant=lambda variant: find_variant(store, variant))


def metric_rows(store: Store, done: ImportedScores) -> Iterator[tuple[Record, dict[str, Any]]]:
    for evaluation_id in done.evaluation_ids:
        record = store.require("evaluations", evaluation_id)
        (row,) = rows_of(record, "metrics")
        yield record, row


def rows_of(record: Record, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in record.rows[table]]


def test_a_value_is_the_mean_share_of_the_range_and_is_compared_as_chrf_is(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "scores.csv", score_rows(store, lambda run, item: 25 * made_up(run + item)))
    compared = [one for one in store.records("comparisons") if "chrf" in _metrics_of(one)]
    done = imported(store, file, "metricx-24", METRICX)
    assert (done.n_new, done.n_compared) == (len(translated(store)), len(compared))
    for record, row in metric_rows(store, done):
        source = _source(store, record)
        shares = [1 - made_up(source.id + item) for item in store.read_table(source.artefacts[0])["example_id"]]
        assert row["value"] == pytest.approx(np.mean(shares), rel=1e-12)
        assert (row["metric"], row["higher_is_better"], row["n"]) == ("metricx-24", True, len(shares))
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert "25 (worst) to 0 (best)" in row["signature"]
        table, of_source = (store.read_table(one.artefacts[0]) for one in (record, source))
        assert {name: table[name] for name in of_source} == of_source
    new = [row for one in store.records("comparisons") for row in rows_of(one, "comparison_results")]
    differences = [row for row in new if row["metric"] == "metricx-24"]
    assert len(differences) == sum(row["metric"] == "chrf" for row in new) > 0
    assert all(row["test"] == "randomization" and row["ci_low"] <= row["difference"] for row in differences)


def _metrics_of(record: Record) -> set[object]:
    return {row["metric"] for row in record.rows["comparison_results"]}


def _source(store: Store, record: Record) -> Record:
    """The evaluation whose outputs were scored."""
    own = {name: value for name, value in record.parameters.items() if name != "metrics"}
    return next(one for one in translated(store) if one.parents == record.parents and one.parameters == own)


def test_a_file_may_name_variants_and_its_scores_are_known_when_they_are_imported_again(
    store: Store, tmp_path: Path
) -> None:
    by_id = {record.id: record for record in translated(store)}
    rows = score_rows(store, lambda run, item: made_up(run + item))
    named = [
        {
            "item": row["item"],
            "variant": str(by_id[row["evaluation_id"]].parents["variant"]),
            "language": by_id[row["evaluation_id"]].parameters["language"],
            "score": row["score"],
        }
        for row in rows
    ]
    first = imported(store, write(tmp_path / "named.jsonl", named))
    after = contents(store)
    again = imported(store, write(tmp_path / "by_id.csv", rows[::-1]))
    assert (sorted(again.evaluation_ids), again.n_new, again.n_compared) == (sorted(first.evaluation_ids), 0, 0)
    assert contents(store) == after


def test_variants_that_are_scored_in_two_files_are_compared(store: Store, tmp_path: Path) -> None:
    rows = score_rows(store, lambda run, item: made_up(run + item))
    names = sorted({row["evaluation_id"] for row in rows})
    parts = [[row for row in rows if (row["evaluation_id"] == names[0]) is is_first] for is_first in (True, False)]
    n_compared = [imported(store, write(tmp_path / f"{n}.csv", part)).n_compared for n, part in enumerate(parts)]
    assert n_compared[0] == 0 < n_compared[1]


def test_the_catalog_has_the_metric_and_the_deep_check_computes_it_again(store: Store, tmp_path: Path) -> None:
    done = imported(store, write(tmp_path / "scores.csv", score_rows(store, lambda run, item: made_up(run + item))))
    with Catalog.in_memory(store) as catalog:
        catalog.fold()
        (values,) = catalog.query("SELECT count(*) AS n FROM metrics WHERE metric = 'comet-22'")
        assert values["n"] == len(done.evaluation_ids)
        sql = "SELECT count(*) AS n, count(p_value) AS n_tested FROM differences WHERE metric = 'comet-22'"
        (differences,) = catalog.query(sql)
        assert differences["n"] == differences["n_tested"] == done.n_compared > 0
        items = "SELECT DISTINCT evaluation_id, example_id FROM item_answers('translation')"
        (answers,) = catalog.query(
            f"SELECT (SELECT count(*) FROM ({items})) AS n_items, count(*) AS n FROM item_answers('translation')"
        )
        assert answers["n"] == answers["n_items"] == done.n_items
    assert not deep_check(store, kinds=("evaluations", "comparisons"))[0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: rows[:-1], "lack"),
        (lambda rows: [*rows, rows[0]], "two scores"),
        (lambda rows: [*rows, {**rows[0], "item": "absent"}], "does not have"),
        (lambda rows: [{**rows[0], "score": "1.01"}, *rows[1:]], "range"),
        (lambda rows: [{**rows[0], "score": "nan"}, *rows[1:]], "range"),
        (lambda rows: [{**rows[0], "score": ""}, *rows[1:]], "range"),
        (lambda rows: [{**rows[0], "evaluation_id": "0"}, *rows[1:]], "no stored evaluation"),
        (lambda rows: [{**rows[0], "evaluation_id": ""}, *rows[1:]], "no evaluation"),
        (lambda rows: [{"item": row["item"], "score": row["score"]} for row in rows], "lacks columns"),
    ],
)
def test_scores_that_do_not_fit_are_refused_before_anything_is_written(
    store: Store, tmp_path: Path, change: Callable[[Rows], Rows], what: str
) -> None:
    rows, before = score_rows(store, lambda run, item: made_up(run + item)), contents(store)
    with pytest.raises(BadInputError) as caught:
        imported(store, write(tmp_path / "scores.csv", change(rows)))
    assert what in caught.value.message
    assert contents(store) == before


def test_other_scores_of_the_same_items_need_another_name(store: Store, tmp_path: Path) -> None:
    first = imported(store, write(tmp_path / "first.csv", score_rows(store, lambda run, item: made_up(run + item))))
    other, after = (
        write(tmp_path / "other.csv", score_rows(store, lambda run, item: made_up(item + run))),
        contents(store),
    )
    with pytest.raises(BadInputError):
        imported(store, other)
    assert contents(store) == after
    assert not set(imported(store, other, "comet-23").evaluation_ids) & set(first.evaluation_ids)


@pytest.mark.parametrize("name", ["chrf", "accuracy", "", "Comet", "a b", "x@y", "x" * 41])
def test_a_metric_needs_a_name_of_its_own(store: Store, tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "scores.csv", score_rows(store, lambda run, item: 0.5))
    with pytest.raises(BadInputError):
        imported(store, file, name)


@pytest.mark.parametrize("text", ["", "1", "0:0", "0:inf", "nan:1", "a:b", "0:1:2"])
def test_a_range_is_two_different_numbers(text: str) -> None:
    with pytest.raises(BadInputError):
        ScoreRange.parse(text)


@pytest.mark.parametrize(("text", "score", "share"), [("0:1", 0.25, 0.25), ("25:0", 5.0, 0.8), ("-1:1", 0.0, 0.5)])
def test_a_score_is_a_share_of_its_range(text: str, score: float, share: float) -> None:
    scores = ScoreRange.parse(text)
    assert scores.share(score) == pytest.approx(share)
    assert (scores.share(scores.worst), scores.share(scores.best)) == (0, 1)
