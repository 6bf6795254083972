"""Items and clusters that the splits of a search share."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.steps.corpus_ref import CorpusRef
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.search.split_check import refuse_shared_items
from tests.tiny_recipes import fact


def specs(folder: Path, **splits: list[dict[str, Any]]) -> list[list[TaskSpec]]:
    """Write the items of each split in English and French; return the tasks of each split."""
    for split, rows in splits.items():
        for language in ("en", "fr"):
            lines = [json.dumps({**fact(language, row["number"]), **row}) + "\n" for row in rows]
            (folder / f"{language}.{split}.jsonl").write_text("".join(lines))
    return [[TaskSpec("facts", language, split, folder=str(folder)) for language in ("en", "fr")] for split in splits]


def test_splits_whose_row_numbers_agree_share_nothing(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": 0}, {"number": 1}], test=[{"number": 2, "id": 0}])
    refuse_shared_items("s", dev, reported_on=test)


def test_equal_texts_are_counted_in_every_language(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": 0}, {"number": 1}], test=[{"number": 1, "id": 7}, {"number": 3}])
    with pytest.raises(RecipeError) as caught:
        refuse_shared_items("s", dev, reported_on=test)
    context = caught.value.context
    assert (context["search"], context["task"], context["splits"]) == ("s", "facts", ["dev", "test"])
    assert (context["n_shared_items"], context["n_shared_clusters"]) == (2, 0)
    assert context["example"] == "en 7: 1 is red"


def test_clusters_of_equal_name_are_shared_across_languages(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": 0, "cluster": "a"}], test=[{"number": 1, "cluster": "a"}])
    with pytest.raises(RecipeError) as caught:
        refuse_shared_items("s", dev[:1], reported_on=test[1:])
    assert (caught.value.context["n_shared_items"], caught.value.context["n_shared_clusters"]) == (0, 1)
    assert caught.value.context["example"] == "cluster a"


def test_items_that_a_limit_leaves_out_do_not_count(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": n} for n in range(9)], test=[{"number": 8}, {"number": 9}])
    kept = [replace(spec, limit=1) for spec in dev]
    assert {item.example_id for spec in kept for item in task_data(spec).items} == {"7"}
    refuse_shared_items("s", kept, reported_on=test)
    with pytest.raises(RecipeError):
        refuse_shared_items("s", dev, reported_on=test)


def test_other_tasks_do_not_matter(tmp_path: Path) -> None:
    (dev,) = specs(tmp_path, dev=[{"number": 0}])
    refuse_shared_items("s", dev, reported_on=[])


def test_the_halves_of_the_built_in_facts_share_territories_unless_they_divide_clusters() -> None:
    spec = TaskSpec("facts", "en", "dev", corpus=CorpusRef("cldr", lines=10), is_corpus_half=True)
    with pytest.raises(RecipeError) as caught:
        refuse_shared_items("s", [spec], reported_on=[replace(spec, split="test")])
    assert caught.value.context["n_shared_items"] == 0
    assert "split_by: clusters" in caught.value.context["expected"]
    by_clusters = replace(spec, split_by="clusters")
    refuse_shared_items("s", [by_clusters], reported_on=[replace(by_clusters, split="test")])
