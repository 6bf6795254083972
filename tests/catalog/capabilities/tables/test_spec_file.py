"""Specifications in YAML: the built-in one, a user's own, and one-line errors."""

from pathlib import Path
from typing import Any

import pytest

from catalog.capabilities.tables.spec_file import LIKE, SpecError, built_in_spec, read_spec
from tests.catalog.capabilities.tables.table_specs import write_spec

GOOD: dict[str, Any] = {
    "name": "own",
    "task": "facts",
    "metric": "accuracy",
    "rows": [{"label": "dense", "dense": True}, {"label": "{score}", "score": ["wanda", "ria"], "sparsity": 0.3}],
}


def test_the_paper_has_four_tables() -> None:
    tables = built_in_spec("paper")
    assert [(table.task, table.metric) for table in tables] == [
        ("translation", "bleu"),
        ("xnli", "accuracy"),
        ("marc", "accuracy"),
        ("xnli", "rank_consistency"),
    ]
    assert tables[1].columns == ("en", "fr", "es", "zh", "hi", "sw")
    assert all(table.choose_on == "dev" and table.split == "test" for table in tables)
    assert LIKE == ("paper",)


def test_a_specification_of_a_user(tmp_path: Path) -> None:
    options = {
        "columns": ["fr", "en"],
        "macro": "none",
        "where": {"propagation": "dense"},
        "alpha": 0.01,
        "marks": False,
    }
    (table,) = read_spec(write_spec(tmp_path, {**GOOD, **options, "choose_on": None}))
    assert (table.name, table.title, table.columns, table.macro) == ("own", "facts", ("fr", "en"), "none")
    assert (table.choose_on, table.alpha, table.marks) == (None, 0.01, False)
    assert table.where == {"propagation": ("dense",)}
    assert table.rows[1].where == {"score": ("wanda", "ria"), "sparsity": (0.3,)}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"metrik": "x"}, ["unknown key", "metrik", "nearest='metric'", "tables.0"]),
        ({"metric": "acuracy"}, ["unknown metric", "nearest='accuracy'", "tables.0.metric"]),
        ({"name": "a/b"}, ["not a file name", "a/b"]),
        ({"name": 5}, ["not a text", "tables.0.name"]),
        ({"columns": "en"}, ["not a list", "tables.0.columns"]),
        ({"columns": ["en", "en"]}, ["twice"]),
        ({"columns": [False]}, ["not a text", "got=False"]),
        ({"macro": "outside"}, ["unknown macro", "nearest='outside_english'"]),
        ({"choose_on": "test"}, ["for reporting"]),
        ({"choose_by": "rank_consistency"}, ["not chosen by rank consistency"]),
        ({"alpha": 5}, ["between 0 and 1"]),
        ({"alpha": True}, ["between 0 and 1"]),
        ({"marks": "no"}, ["true or false"]),
        ({"where": ["dense"]}, ["not a mapping", "tables.0.where"]),
        ({"where": {"scor": "wanda"}}, ["unknown column of variants", "nearest='score'"]),
        ({"where": {"score": [["wanda"]]}}, ["tables.0.where.score"]),
        ({"where": {"score": []}}, ["tables.0.where.score"]),
        ({"rows": []}, ["tables.0.rows"]),
        ({"rows": [{"score": "wanda"}]}, ["with a label", "tables.0.rows.0"]),
        (
            {"rows": [{"label": "{sprsity}"}]},
            ["unknown column in a label", "nearest='sparsity'", "tables.0.rows.0.label"],
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_its_place(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write_spec(tmp_path, {**GOOD, **changes}))
    message = str(caught.value)
    assert all(part in message for part in [*parts, "tables.yaml"]), message
    assert "\n" not in message


def test_a_missing_key_and_a_repeated_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"tables\.0\.task"):
        read_spec(write_spec(tmp_path, {key: value for key, value in GOOD.items() if key != "task"}))
    with pytest.raises(SpecError, match="same name"):
        read_spec(write_spec(tmp_path, GOOD, GOOD))


@pytest.mark.parametrize("text", ["", "tables: 3", "[1", "tables: [3]", "tables: []\nmore: 1", "a: \0"])
def test_a_file_of_another_shape(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_and_an_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_spec(tmp_path / "nothing.yaml")
    with pytest.raises(SpecError, match="nearest='paper'"):
        built_in_spec("papr")
