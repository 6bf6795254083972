"""Names from Unicode CLDR, as the package `babel` carries them: the raw material of the built-in corpus.

Everything here exists in all of `LANGUAGES`, so whatever is built from it is multi-parallel. Sentences and facts made
of these names are in `cldr_sentences.py` and `cldr_facts.py`.
"""

from functools import cache

from babel import Locale
from babel.core import get_global
from babel.dates import get_timezone_location

LANGUAGES: tuple[str, ...] = ("en", "fr", "es", "zh", "hi", "sw", "ru", "ar")
"""ISO 639-1 tags; five scripts: Latin, Han, Devanagari, Cyrillic, Arabic."""

LOCALES = {language: language for language in LANGUAGES} | {"zh": "zh_Hans"}

CONTINENTS = {"Africa": "002", "America": "019", "Asia": "142", "Europe": "150", "Pacific": "009"}
"""First part of a time-zone name to the UN M.49 code under which CLDR names the region."""

PSEUDO_TERRITORIES = {
    "ZZ",
    "XA",
    "XB",
    "QO",
    "EZ",
    "UN",
    "EU",
    "AQ",
    "BV",
    "HM",
    "CP",
    "DG",
    "IC",
    "EA",
    "TA",
    "CQ",
    "AC",
}
"""CLDR regions that are no country or dependency people would ask about."""


@cache
def locale(language: str) -> Locale:
    """The CLDR locale of one of `LANGUAGES`."""
    return Locale.parse(LOCALES[language])


def _in_all_languages(table: str, codes: list[str]) -> dict[str, dict[str, str]]:
    """code -> language -> name, for the codes that every language names, each differently from the bare code."""
    tables = {language: getattr(locale(language), table) for language in LANGUAGES}
    named = {code: {language: tables[language].get(code) for language in LANGUAGES} for code in codes}
    return {code: names for code, names in named.items() if all(name and name != code for name in names.values())}


@cache
def territories() -> dict[str, dict[str, str]]:
    """ISO 3166 code -> language -> name."""
    codes = sorted(code for code in locale("en").territories if code.isalpha() and code not in PSEUDO_TERRITORIES)
    return _in_all_languages("territories", codes)


@cache
def continents() -> dict[str, dict[str, str]]:
    """UN M.49 code -> language -> name of the five continents time zones are named after."""
    return _in_all_languages("territories", sorted(CONTINENTS.values()))


@cache
def official_languages() -> dict[str, tuple[str, ...]]:
    """Territory -> its official languages, most spoken first, as CLDR's territory information has them."""
    found: dict[str, tuple[str, ...]] = {}
    for territory, spoken in sorted(get_global("territory_languages").items()):
        official = [
            (-entry["population_percent"], tag.split("_")[0])
            for tag, entry in spoken.items()
            if entry["official_status"] in ("official", "de_facto_official")
        ]
        if official and territory in territories():
            found[territory] = tuple(dict.fromkeys(tag for _, tag in sorted(official)))
    return found


@cache
def language_names() -> dict[str, dict[str, str]]:
    """Language tag -> language -> name, for all languages that are official somewhere."""
    codes = {tag for tags in official_languages().values() for tag in tags}
    return _in_all_languages("languages", sorted(codes))


@cache
def current_currencies() -> dict[str, str]:
    """Territory -> ISO 4217 code of the first currency that is legal tender there today."""
    found = {}
    for territory, history in sorted(get_global("territory_currencies").items()):
        tender = [code for code, _, until, is_tender in history if until is None and is_tender]
        if tender and territory in territories():
            found[territory] = tender[0]
    return found


@cache
def currencies() -> dict[str, dict[str, str]]:
    """ISO 4217 code -> language -> name of the currencies in use today."""
    return _in_all_languages("currencies", sorted(set(current_currencies().values())))


@cache
def zones() -> dict[str, str]:
    """Territory -> its time zone, for territories that have exactly one."""
    return {
        territory: names[0]
        for territory, names in sorted(get_global("territory_zones").items())
        if len(names) == 1 and territory in territories() and "/" in names[0]
    }


@cache
def cities() -> dict[str, dict[str, str]]:
    """Time zone -> language -> its exemplar city."""
    return {
        zone: {
            language: get_timezone_location(zone, locale=LOCALES[language], return_city=True) for language in LANGUAGES
        }
        for zone in sorted(set(zones().values()))
    }


@cache
def months() -> dict[str, dict[str, str]]:
    """Month number as text -> language -> stand-alone name."""
    return {
        str(number): {language: locale(language).months["stand-alone"]["wide"][number] for language in LANGUAGES}
        for number in range(1, 13)
    }
