"""Rows of results: what is written is read, and a file that is wrong or contradicts itself is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.results.row import checked_row, kept_bytes, read_row, read_rows, write_row
from mlprune.errors import BadInputError
from tests.refusals import refused

ID = "0123456789abcdef0123"


def language(name: str = "sw", **changes: Any) -> dict[str, Any]:
    values = {"value": 0.5, "dense": 0.75, "difference": -0.25, "ci_low": -0.5, "ci_high": -0.1}
    tested = {"n": 40, "p_corrected": 0.01, "n_family": 4, "pays": True}
    return {"language": name, **values, **tested, **changes}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "form": 1,
        "model": "a-lab/model",
        "model_id": ID,
        "revision": None,
        "dtype": "bfloat16",
        "method": "wanda sw-en",
        "name": None,
        "structure": "row",
        "sparsity": 0.5,
        "n_prunable": 1000,
        "n_removed": 500,
        "bits": 16,
        "bytes": 1000,
        "dense_bytes": 2000,
        "task": "facts",
        "metric": "accuracy",
        "split": "test",
        "scoring_rule": "mean",
        "protocol": None,
        "higher_is_better": True,
        "scale": "difference",
        "n_draws": 1,
        "languages": [language()],
        "code": [{"mlprune": "1.0.0", "commit": None, "is_modified": None}],
        "recipe": "r",
        "recipe_sha256": 64 * "a",
        "store": 64 * "b",
        "variant_ids": [ID],
        "evaluation_ids": [ID],
        **changes,
    }


def test_a_written_row_is_read_again(tmp_path: Path) -> None:
    written = checked_row(row(languages=[language("en", p_corrected=None, n_family=None, pays=False), language()]))
    write_row(written, tmp_path / "row.json")
    assert read_row(tmp_path / "row.json") == written
    assert written.paying == ("sw",)


def test_the_rows_of_a_folder_are_ordered_by_model_and_sparsity(tmp_path: Path) -> None:
    for name, changes in {"a": {"sparsity": 0.6}, "b": {}, "c": {"model": "a"}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(row(**changes)))
    assert [(each.model, each.sparsity) for each in read_rows(tmp_path)] == [
        ("a", 0.5),
        ("a-lab/model", 0.5),
        ("a-lab/model", 0.6),
    ]


def test_bytes_of_kept_weights_are_rounded_up() -> None:
    assert [kept_bytes(n, 4) for n in (0, 1, 2, 3)] == [0, 1, 1, 2]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another form": (row(form=2), "form"),
    "an unknown key": (row(more=1), "more"),
    "a number as text": (row(bits="16"), "bits"),
    "a model on two lines": (row(model="a\n<script>"), "model"),
    "a text that changes the direction": (row(method="a\u202eb"), "method"),
    "an id that is none": (row(variant_ids=["../../x"]), "variant_ids.0"),
    "no language": (row(languages=[]), "languages"),
    "a language twice": (row(languages=[language(), language()]), "row"),
    "a value that is not finite": (row(languages=[language(value=float("nan"))]), "languages.0.value"),
    "a value that does not follow": (row(languages=[language(value=0.6)]), "row"),
    "an interval without its estimate": (row(languages=[language(ci_low=-0.2)]), "row"),
    "a payment without a test": (row(languages=[language(p_corrected=None)]), "row"),
    "a payment for a gain": (row(higher_is_better=False), "row"),
    "a perplexity of 0": (row(scale="log_ratio", languages=[language(dense=0, value=0)]), "row"),
    "too few ids": (row(n_draws=2), "row"),
    "more removed than there is": (row(n_removed=1001), "row"),
    "bytes that do not follow": (row(bytes=999), "row"),
}


@pytest.mark.parametrize(("value", "key"), WRONG.values(), ids=WRONG)
def test_a_wrong_row_is_refused_with_its_place(value: dict[str, Any], key: str, tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    path.write_text(json.dumps(value))
    with refused(BadInputError, path=str(path), key=key) as caught:
        read_row(path)
    assert {"expected", "got", "next"} <= set(caught.value.context)
    assert "\n" not in str(caught.value)


def _folder(path: Path) -> None:
    path.mkdir()


def _no_json(path: Path) -> None:
    path.write_text("{")


def _large(path: Path) -> None:
    path.write_bytes(b" " * (2 << 20))


@pytest.mark.parametrize("make", [_folder, _no_json, _large, lambda path: path.write_bytes(b"\xff")])
def test_a_file_that_is_no_row_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "row.json")
    with refused(BadInputError, path=str(tmp_path / "row.json")):
        read_row(tmp_path / "row.json")
