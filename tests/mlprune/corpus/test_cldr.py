"""CLDR's names: complete in every language, and what they are about is true."""

from collections.abc import Callable

import pytest

from mlprune.corpus import cldr

TABLES: tuple[Callable[[], dict[str, dict[str, str]]], ...] = (
    cldr.territories,
    cldr.continents,
    cldr.language_names,
    cldr.currencies,
    cldr.cities,
    cldr.months,
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_name_exists_in_every_language(table: Callable[[], dict[str, dict[str, str]]]) -> None:
    for code, names in table().items():
        assert tuple(names) == cldr.LANGUAGES
        assert all(isinstance(name, str) and name.strip() == name and name for name in names.values())
        if table is not cldr.months:
            assert code not in names.values()


def test_the_tables_are_large_enough_for_a_corpus() -> None:
    sizes = {table.__name__: len(table()) for table in TABLES}
    assert sizes["continents"] == 5
    assert sizes["months"] == 12
    assert min(sizes["territories"], sizes["cities"]) > 200
    assert min(sizes["language_names"], sizes["currencies"]) > 100


def test_some_names_are_what_they_are() -> None:
    japan = cldr.territories()["JP"]
    assert [japan[language] for language in ("en", "fr", "es", "zh")] == ["Japan", "Japon", "Japón", "日本"]
    assert [japan[language] for language in ("hi", "sw", "ru", "ar")] == ["जापान", "Japani", "Япония", "اليابان"]
    assert cldr.language_names()["sw"]["fr"] == "swahili"
    assert cldr.months()["3"]["es"] == "marzo"


def test_some_facts_are_what_they_are() -> None:
    assert cldr.current_currencies()["JP"] == "JPY"
    assert cldr.current_currencies()["FR"] == "EUR"
    assert cldr.official_languages()["BR"] == ("pt",)
    assert set(cldr.official_languages()["CH"]) >= {"de", "fr", "it"}
    assert cldr.zones()["KE"] == "Africa/Nairobi"
    assert cldr.cities()["Africa/Nairobi"]["fr"] == "Nairobi"


def test_only_places_people_would_ask_about_are_territories() -> None:
    assert not cldr.PSEUDO_TERRITORIES & set(cldr.territories())
    assert all(len(code) == 2 and code.isupper() for code in cldr.territories())


def test_a_territory_with_several_time_zones_has_none_here() -> None:
    assert not {"US", "RU", "BR", "AU"} & set(cldr.zones())
