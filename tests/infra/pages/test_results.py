"""The page of results: its table has the rows of the folder as they are, and what others write has no effect."""

import json
from pathlib import Path

import pytest

from infra.pages.frozen import thawed
from infra.pages.result_rows import FOLDER, ROWS, write_rows
from infra.pages.results import HOW_TO_ADD, escaped, methods_by_language
from mlprune.capabilities.results.row import read_rows
from mlprune.errors import BadInputError
from tests.mlprune.capabilities.results.test_row import language, row
from tests.refusals import refused


def test_every_row_of_the_repository_is_valid_and_those_of_frozen_stores_are_there() -> None:
    assert set(ROWS) <= {path.stem for path in FOLDER.glob("*.json")}
    rows = read_rows(FOLDER)
    assert len(rows) == len(list(FOLDER.glob("*.json")))
    assert all(row.code and row.code[0].commit and row.recipe_sha256 for row in rows)


def test_rows_with_equal_dense_values_share_a_table(tmp_path: Path) -> None:
    gain = language(value=0.875, difference=0.125, ci_low=0.0, ci_high=0.25, pays=False)
    other = language(value=0.5, dense=0.5, difference=0.0, ci_low=None, ci_high=None, pays=False)
    rows = {"a": row(), "b": row(method="ria", languages=[gain]), "c": row(languages=[other])}
    for name, value in rows.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    page = "\n".join(methods_by_language(tmp_path))
    assert page.count("### ") == 2
    assert "| ria | 50 % | 0.0 | 0.875 (+0.125, +0.000 to +0.250) | none | 1 | unknown |" in page
    assert "| wanda sw-en | 50 % | 0.0 | 0.500 (-0.250, -0.500 to -0.100) | sw | 1 | unknown |" in page


def test_markup_of_a_row_is_shown_as_text(tmp_path: Path) -> None:
    value = row(model="<img src=x>", method="[a](javascript:x) | `b` **c**")
    (tmp_path / "a.json").write_text(json.dumps(value))
    page = "\n".join(part for part in methods_by_language(tmp_path) if part != HOW_TO_ADD.strip())
    assert "<img" not in page
    assert r"\[a\](javascript:x) \| \`b\` \*\*c\*\*" in page
    assert escaped("a<b & c_d") == r"a&lt;b &amp; c\_d"


def test_a_wrong_file_stops_the_page_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with refused(BadInputError, path=str(tmp_path / "a.json")):
        list(methods_by_language(tmp_path))


def test_the_page_says_in_few_words_how_to_add_a_row() -> None:
    assert len(HOW_TO_ADD.split()) <= 120


@pytest.mark.thorough("fills several stores")
@pytest.mark.parametrize("store", sorted({source.store for source in ROWS.values()}))
def test_the_rows_of_frozen_stores_are_what_the_command_writes(store: str, tmp_path: Path) -> None:
    with thawed(store) as unpacked:
        write_rows(store, str(unpacked.local_root), tmp_path)
    written = {path.name: path.read_text("utf-8") for path in tmp_path.glob("*.json")}
    assert len(written) == sum(source.store == store for source in ROWS.values())
    for name, text in written.items():
        assert close(json.loads(text), json.loads((FOLDER / name).read_text("utf-8"))), name


def close(written: object, committed: object) -> bool:
    """Whether two rows are equal, except for last digits, which differ between machines."""
    if isinstance(written, dict) and isinstance(committed, dict):
        return written.keys() == committed.keys() and all(close(written[key], committed[key]) for key in written)
    if isinstance(written, list) and isinstance(committed, list):
        return len(written) == len(committed) and all(map(close, written, committed))
    return written == (pytest.approx(committed, rel=1e-6) if isinstance(committed, float) else committed)
