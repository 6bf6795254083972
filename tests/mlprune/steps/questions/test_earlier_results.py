"""Items that are the same although their names differ."""

from collections.abc import Callable

import pytest

from mlprune.steps.questions.earlier_results import item_keys

CITIES = {"France": "Paris", "Kenya": "Nairobi", "Peru": "Lima", "Japan": "Tokyo", "Chad": "Ndjamena"}


def keys(text: Callable[[str, str], str], *, prefix: str = "", cities: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    rows = enumerate((cities or CITIES).items())
    return item_keys((f"{prefix}{number}", city, text(land, city)) for number, (land, city) in rows)


def plain(land: str, city: str) -> str:
    return f"The capital of {land} is {city}."


@pytest.mark.parametrize(
    "text", [plain, lambda land, city: f"{land}: its main city?  {city}"], ids=["the same text", "another template"]
)
def test_other_names_and_templates_leave_an_item_the_same(text: Callable[[str, str], str]) -> None:
    assert keys(text, prefix="x").shares_texts_with(keys(plain))


def test_other_questions_or_right_answers_are_other_items() -> None:
    wrong = dict(zip(CITIES, [*list(CITIES.values())[1:], "Paris"], strict=True))
    assert not keys(plain, cities=wrong).shares_texts_with(keys(plain))
    assert not keys(plain, cities={"Mali": "Bamako", "Cuba": "Havana"}).shares_texts_with(keys(plain))


def test_one_repeated_sentence_among_many_makes_no_other_items_the_same() -> None:
    others = {f"land {number}": f"city {number}" for number in range(30)}
    assert not keys(plain, cities={**others, "Peru": "Lima"}).shares_texts_with(keys(plain))
