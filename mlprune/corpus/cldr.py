"""Names from Unicode CLDR, as the package `babel` has them: the raw material of the built-in corpus.

All of `LANGUAGES` have all of these names, so every text made from them exists in all languages.
"""

from functools import cache

from babel import Locale
from babel.core import get_global
from babel.dates import get_timezone_location

LANGUAGES: tuple[str, ...] = ("en", "fr", "es", "zh", "hi", "sw", "ru", "ar")
"""ISO 639-1 tags, in five scripts: Latin, Han, Devanagari, Cyrillic, Arabic."""

LOCALES = {language: language for language in LANGUAGES} | {"zh": "zh_Hans"}

CONTINENTS = {"Africa": "002", "America": "019", "Asia": "142", "Europe": "150", "Pacific": "009"}
"""First part of a time-zone name -> UN M.49 code of the region in CLDR."""

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
"""CLDR regions that are left out because they are not countries or inhabited dependencies."""


@cache
def locale(language: str) -> Locale:
    """The CLDR locale of one of `LANGUAGES`."""
    return Locale.parse(LOCALES[language])


def _in_all_languages(table: str, codes: list[str]) -> dict[str, dict[str, str]]:
    """Code -> language -> name, for the codes that have a name other than the code itself in every language."""
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
    """UN M.49 code -> language -> name of the five continents that occur in names of time zones."""
    return _in_all_languages("territories", sorted(CONTINENTS.values()))


@cache
def official_languages() -> dict[str, tuple[str, ...]]:
    """Territory -> its official languages, most spoken first, from the territory information of CLDR."""
    languages: dict[str, tuple[str, ...]] = {}
    for territory, spoken in sorted(get_global("territory_languages").items()):
        official = [
            (-entry["population_percent"], tag.split("_")[0])
            for tag, entry in spoken.items()
            if entry["official_status"] in ("official", "de_facto_official")
        ]
        if official and territory in territories():
            languages[territory] = tuple(dict.fromkeys(tag for _, tag in sorted(official)))
    return languages


@cache
def language_names() -> dict[str, dict[str, str]]:
    """Language tag -> language -> name, for all languages that are official in some territory."""
    codes = {tag for tags in official_languages().values() for tag in tags}
    return _in_all_languages("languages", sorted(codes))


@cache
def current_currencies() -> dict[str, str]:
    """Territory -> ISO 4217 code of the first currency that is legal tender there today."""
    currency_codes = {}
    for territory, history in sorted(get_global("territory_currencies").items()):
        tender = [code for code, _, until, is_tender in history if until is None and is_tender]
        if tender and territory in territories():
            currency_codes[territory] = tender[0]
    return currency_codes


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
