"""Whether generated texts are in the language that their prompt names."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.generation.pass_rates import RatedTexts, rate_generated_texts
from mlprune.errors import BadInputError
from mlprune.evaluation import languages
from mlprune.evaluation.languages import pass_sums
from mlprune.evaluation.task_metrics import PASS_RATES
from mlprune.store.store import Store
from tests.tiny_recipes import copy_of


def test_the_language_of_generated_texts_is_rated_once(
    finished: tuple[Store, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tables = copy_of(finished[0], tmp_path / "copy"), finished[1]
    rated = rate_generated_texts(store, ())
    assert (rated.n_new, len(rated.record_ids)) == (2, 2)
    assert rate_generated_texts(store, ()) == RatedTexts(rated.record_ids, 0)
    rows = [row for one in store.records("text_pass_rates") for row in one.rows["text_pass_rates"]]
    assert {(row["language"], row["metric"]) for row in rows} == {
        (language, metric) for language in tables for metric in ("line_pass_rate", "judged_share")
    }
    for row in rows:
        sums = pass_sums(tables[row["language"]]["text"], row["language"], detector=row["detector"]).sum(axis=0)
        assert row["value"] == float(PASS_RATES[row["metric"]](sums))
        assert (row["n"], row["ci_low"] <= row["value"] <= row["ci_high"]) == (3, True)
    only = rate_generated_texts(store, ("line_pass_rate",), language="swh_Latn")
    assert (only.n_new, len(only.record_ids)) == (1, 1)
    monkeypatch.setattr(languages, "version", lambda package: "9.9")
    assert rate_generated_texts(store, ("line_pass_rate",), language="sw").n_new == 1


def test_texts_that_cannot_be_rated_are_refused(finished: tuple[Store, dict[str, Any]]) -> None:
    for metrics, language in ((("bleu",), None), ((), "zh"), (("word_pass_rate",), "fr")):
        with pytest.raises(BadInputError):
            rate_generated_texts(finished[0], metrics, language=language)
    assert not list(finished[0].records("text_pass_rates"))
