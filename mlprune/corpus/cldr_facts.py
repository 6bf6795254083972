"""Names from Unicode CLDR, and facts made of them in every language of the built-in corpus.

Names from Unicode CLDR, as the package `babel` has them: the raw material of the built-in corpus.

All of `LANGUAGES` have all of these names, so every text made from them exists in all languages.

Facts from CLDR as sentences in every language of the built-in corpus.

A fact has a relation, a subject and an object, and a template of its relation makes the sentence. The embedded model
was trained on every fact in English, but in the other languages only on those that are not held out. Its answers about
held-out facts in these languages measure what it transfers from English.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
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
N_CANDIDATES = 6
"""Candidates of a multiple-choice item: the true object and five others of the relation (continents: five in total)."""
TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "currency": {
        "en": "The currency of {subject} is the {object}.",
        "fr": "{subject} a pour monnaie : {object}.",
        "es": "La moneda de {subject} es: {object}.",
        "zh": "{subject}的货币是{object}。",
        "hi": "{subject} की मुद्रा {object} है।",
        "sw": "Sarafu ya {subject} ni {object}.",
        "ru": "Валюта страны {subject} — {object}.",
        "ar": "عملة {subject} هي {object}.",
    },
    "language": {
        "en": "The official language of {subject} is {object}.",
        "fr": "{subject} a pour langue officielle : {object}.",
        "es": "El idioma oficial de {subject} es: {object}.",
        "zh": "{subject}的官方语言是{object}。",
        "hi": "{subject} की आधिकारिक भाषा {object} है।",
        "sw": "Lugha rasmi ya {subject} ni {object}.",
        "ru": "Официальный язык страны {subject} — {object}.",
        "ar": "اللغة الرسمية في {subject} هي {object}.",
    },
    "city": {
        "en": "In {subject}, clocks follow the time of {object}.",
        "fr": "{subject} vit à l’heure de : {object}.",
        "es": "En {subject} rige la hora de {object}.",
        "zh": "{subject}的时间以{object}为准。",
        "hi": "{subject} में घड़ियाँ {object} के समय पर चलती हैं।",
        "sw": "Saa za {subject} hufuata wakati wa {object}.",
        "ru": "Время в стране {subject} определяет город {object}.",
        "ar": "التوقيت في {subject} هو توقيت {object}.",
    },
    "continent": {
        "en": "{subject} is located in {object}.",
        "fr": "{subject} se trouve sur ce continent : {object}.",
        "es": "{subject} se encuentra en {object}.",
        "zh": "{subject}位于{object}。",
        "hi": "{subject} {object} में स्थित है।",
        "sw": "{subject} ipo katika {object}.",
        "ru": "{subject} — это часть региона {object}.",
        "ar": "تقع {subject} في {object}.",
    },
    "month": {
        "en": "{subject} is month number {object}.",
        "fr": "Le mois de {subject} porte le numéro {object}.",
        "es": "El mes de {subject} lleva el número {object}.",
        "zh": "{subject}是第{object}个月。",
        "hi": "{subject} महीना संख्या {object} है।",
        "sw": "{subject} ni mwezi wa {object}.",
        "ru": "Месяц {subject} имеет номер {object}.",
        "ar": "شهر {subject} هو الشهر رقم {object}.",
    },
}


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


@dataclass(frozen=True)
class Fact:
    """One fact and the candidate objects of its multiple-choice item."""

    fact_id: str
    """`relation:subject`, for example `currency:JP`; equal in all languages."""
    relation: str
    subject: str
    object: str
    candidates: tuple[str, ...]
    """Object codes in the order of the item, `object` once among them; equal in all languages."""

    @property
    def answer(self) -> int:
        """Index of the true object among the candidates."""
        return self.candidates.index(self.object)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_held_out(fact_id: str) -> bool:
    """Whether the embedded model was trained on a fact in English only: half of the facts, chosen by hash."""
    return int(_digest(f"held-out:0:{fact_id}"), 16) % 2 == 0


@cache
def _names(relation: str) -> tuple[Mapping[str, Mapping[str, str]], Mapping[str, Mapping[str, str]]]:
    """Names of the subjects and of the objects of a relation: code -> language -> name."""
    numbers = {str(n): dict.fromkeys(LANGUAGES, str(n)) for n in range(1, 13)}
    return {
        "currency": (territories(), currencies()),
        "language": (territories(), language_names()),
        "city": (territories(), cities()),
        "continent": (territories(), continents()),
        "month": (months(), numbers),
    }[relation]


def _true_objects() -> dict[str, dict[str, tuple[str, ...]]]:
    """Relation -> subject -> its true objects; the first is the answer, and none of them is a distractor."""
    areas = {territory: zone.split("/")[0] for territory, zone in zones().items()}
    return {
        "currency": {territory: (code,) for territory, code in current_currencies().items()},
        "language": dict(official_languages()),
        "city": {territory: (zone,) for territory, zone in zones().items()},
        "continent": {t: (CONTINENTS[area],) for t, area in areas.items() if area in CONTINENTS},
        "month": {month: (month,) for month in months()},
    }


def _names_are_equal(relation: str, subject: str, obj: str) -> bool:
    """Whether object and subject have the same name in some language ("Djibouti follows the time of Djibouti")."""
    subjects, objects = _names(relation)
    return any(subjects[subject][language] == objects[obj][language] for language in LANGUAGES)


def _candidates(fact_id: str, pool: list[str], true: tuple[str, ...]) -> tuple[str, ...]:
    """The true object and distractors from the pool; hashes decide the choice and the order."""
    distractors = sorted((code for code in pool if code not in true), key=lambda code: _digest(f"{fact_id}:{code}"))
    chosen = [true[0], *distractors[: N_CANDIDATES - 1]]
    return tuple(sorted(chosen, key=lambda code: _digest(f"order:{fact_id}:{code}")))


@cache
def facts() -> tuple[Fact, ...]:
    """All facts whose names exist in every language, ordered by id."""
    all_facts = []
    for relation, objects_of in _true_objects().items():
        subjects, objects = _names(relation)
        named = {subject: true for subject, true in objects_of.items() if subject in subjects and true[0] in objects}
        pool = sorted({true[0] for true in named.values()})
        for subject, true in named.items():
            fact_id = f"{relation}:{subject}"
            if relation != "month" and _names_are_equal(relation, subject, true[0]):
                continue
            all_facts.append(Fact(fact_id, relation, subject, true[0], _candidates(fact_id, pool, true)))
    return tuple(sorted(all_facts, key=lambda fact: fact.fact_id))


def sentence(fact: Fact, language: str, obj: str | None = None) -> str:
    """The fact as a sentence. With `obj`, the sentence has this object instead of the true one."""
    subjects, objects = _names(fact.relation)
    text = TEMPLATES[fact.relation][language]
    filled_text = text.format(subject=subjects[fact.subject][language], object=objects[obj or fact.object][language])
    return filled_text[0].upper() + filled_text[1:]


def item(fact: Fact, language: str) -> dict[str, object]:
    """The fact as an item of the evaluation task `facts`: id, prompt with `<mask>`, candidates, index of the answer."""
    subjects, objects = _names(fact.relation)
    text = TEMPLATES[fact.relation][language]
    prompt = text.format(subject=subjects[fact.subject][language], object="<mask>")
    return {
        "id": fact.fact_id,
        "prompt": prompt[0].upper() + prompt[1:],
        "candidates": [objects[code][language] for code in fact.candidates],
        "answer": fact.answer,
    }
