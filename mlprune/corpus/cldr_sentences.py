"""Generated parallel sentences from CLDR: dates, durations, quantities, amounts, lists and names.

One draw of a generator makes one sentence in every language of `cldr.LANGUAGES`. CLDR provides names and formats; the
sentence templates are our own.
"""

import datetime
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.lists import format_list
from babel.numbers import format_currency
from babel.units import format_unit

from mlprune.corpus import cldr_facts

Parallel = dict[str, str]
"""Language -> text, for each of `cldr.LANGUAGES`."""

MEETING: Mapping[str, str] = {
    "en": "The meeting in {city} is on {date}.",
    "fr": "La réunion à {city} aura lieu le {date}.",
    "es": "La reunión en {city} es el {date}.",
    "zh": "{city}的会议在{date}举行。",
    "hi": "{city} में बैठक {date} को है।",
    "sw": "Mkutano wa {city} ni {date}.",
    "ru": "Встреча в городе {city}: {date}",
    "ar": "الاجتماع في {city} يوم {date}.",
}
JOURNEY: Mapping[str, str] = {
    "en": "The trip from {start} to {end} takes {duration}.",
    "fr": "Le voyage de {start} à {end} dure {duration}.",
    "es": "El viaje de {start} a {end} dura {duration}.",
    "zh": "从{start}到{end}的旅行需要{duration}。",
    "hi": "{start} से {end} की यात्रा में {duration} लगते हैं।",
    "sw": "Safari kutoka {start} hadi {end} inachukua {duration}.",
    "ru": "Поездка {start} — {end} занимает {duration}.",
    "ar": "تستغرق الرحلة من {start} إلى {end} {duration}.",
}
PRICE: Mapping[str, str] = {
    "en": "The price is {amount}.",
    "fr": "Le prix est de {amount}.",
    "es": "El precio es de {amount}.",
    "zh": "价格是{amount}。",
    "hi": "कीमत {amount} है।",
    "sw": "Bei ni {amount}.",
    "ru": "Цена: {amount}.",
    "ar": "السعر هو {amount}.",
}
SPEAK: Mapping[str, str] = {
    "en": "They speak {names}.",
    "fr": "Ils parlent {names}.",
    "es": "Hablan {names}.",
    "zh": "他们说{names}。",
    "hi": "वे {names} बोलते हैं।",
    "sw": "Wanazungumza {names}.",
    "ru": "Их языки: {names}.",
    "ar": "يتحدثون {names}.",
}
VISIT: Mapping[str, str] = {
    "en": "We visited {names}.",
    "fr": "Nous avons visité : {names}.",
    "es": "Visitamos {names}.",
    "zh": "我们去过{names}。",
    "hi": "हमने {names} का दौरा किया।",
    "sw": "Tulitembelea {names}.",
    "ru": "Мы посетили: {names}.",
    "ar": "زرنا {names}.",
}

DURATIONS = ("duration-second", "duration-minute", "duration-hour", "duration-day", "duration-month")
QUANTITIES = (
    *("length-meter", "length-kilometer", "length-centimeter", "mass-kilogram", "mass-gram", "volume-liter"),
    *("area-square-kilometer", "duration-century", "temperature-celsius"),
)


def _fill(template: Mapping[str, str], **parts: Parallel) -> Parallel:
    """Fill the template of every language. Spaces of all widths become one plain space."""
    return {
        language: " ".join(text.format(**{key: part[language] for key, part in parts.items()}).split())
        for language, text in template.items()
    }


def _each(format_in: Callable[[str], str]) -> Parallel:
    """Format something in every language. No-break spaces of CLDR become plain ones."""
    return {language: " ".join(format_in(cldr_facts.LOCALES[language]).split()) for language in cldr_facts.LANGUAGES}


def full_date(rng: random.Random) -> Parallel:
    """ "Tuesday, November 24, 2026", any day of 1950 to 2049."""
    day = datetime.date(1950, 1, 1) + datetime.timedelta(days=rng.randrange(36_524))
    return _each(lambda tag: format_date(day, "full", locale=tag))


def short_date(rng: random.Random) -> Parallel:
    """A month and year, a day and month, or a long date."""
    day = datetime.date(1950, 1, 1) + datetime.timedelta(days=rng.randrange(36_524))
    skeleton = rng.choice(("yMMMM", "MMMMd", ""))
    if not skeleton:
        return _each(lambda tag: format_date(day, "long", locale=tag))
    return _each(lambda tag: format_skeleton(skeleton, day, locale=tag))


@cache
def _unit_length(unit: str, tag: str) -> Literal["long", "short"]:
    """Length of a unit's name. Chinese and Swahili inherit most long names from the short ones; babel does not."""
    return "long" if "long" in Locale.parse(tag)._data["unit_patterns"][unit] else "short"


def quantity(rng: random.Random, units: tuple[str, ...] = QUANTITIES) -> Parallel:
    """ "25 kilometers"."""
    unit, value = rng.choice(units), rng.randrange(1, 100)
    return _each(lambda tag: format_unit(value, unit, length=_unit_length(unit, tag), locale=tag))


def amount(rng: random.Random) -> Parallel:
    """ "25 Japanese yen"."""
    code, value = rng.choice(sorted(cldr_facts.currencies())), rng.randrange(1, 1000)
    return _each(
        lambda tag: format_currency(value, code, "#,##0", locale=tag, format_type="name", currency_digits=False)
    )


@cache
def _name_tables() -> tuple[tuple[Parallel, ...], ...]:
    """Names of territories, languages, cities, currencies and months in every language."""
    tables = (
        cldr_facts.territories(),
        cldr_facts.language_names(),
        cldr_facts.cities(),
        cldr_facts.currencies(),
        cldr_facts.months(),
    )
    return tuple(tuple(table[code] for code in sorted(table)) for table in tables)


def name(rng: random.Random, kind: int | None = None) -> Parallel:
    """The name of a territory, language, city, currency or month."""
    tables = _name_tables()
    if kind is None:
        kind = rng.choices(range(len(tables)), weights=[len(table) for table in tables])[0]
    return rng.choice(tables[kind])


def _joined(names: list[Parallel]) -> Parallel:
    return {
        language: format_list([each[language] for each in names], "standard", locale=cldr_facts.LOCALES[language])
        for language in cldr_facts.LANGUAGES
    }


def meeting(rng: random.Random) -> Parallel:
    """A date in a sentence with a city."""
    return _fill(MEETING, city=name(rng, 2), date=full_date(rng))


def journey(rng: random.Random) -> Parallel:
    """Two cities and a duration."""
    return _fill(JOURNEY, start=name(rng, 2), end=name(rng, 2), duration=quantity(rng, DURATIONS))


def price(rng: random.Random) -> Parallel:
    """An amount of money in a sentence."""
    return _fill(PRICE, amount=amount(rng))


def speak(rng: random.Random) -> Parallel:
    """A list of two or three languages."""
    return _fill(SPEAK, names=_joined(rng.sample(_name_tables()[1], rng.randrange(2, 4))))


def visit(rng: random.Random) -> Parallel:
    """A list of two or three territories."""
    return _fill(VISIT, names=_joined(rng.sample(_name_tables()[0], rng.randrange(2, 4))))


SENTENCES: Mapping[str, Callable[[random.Random], Parallel]] = {
    "full_date": full_date,
    "short_date": short_date,
    "quantity": quantity,
    "meeting": meeting,
    "journey": journey,
    "price": price,
    "speak": speak,
    "visit": visit,
}


@cache
def corpus(n_lines: int = 1000, seed: int = 0) -> Mapping[str, tuple[str, ...]]:
    """The built-in parallel corpus: language -> lines. Line i has the same meaning in every language.

    Lines are distinct in every language. The training of the embedded model leaves all of them out.
    """
    rng = random.Random(f"cldr-corpus:{seed}")  # noqa: S311 - text, not secrets
    kinds = list(SENTENCES)
    lines: list[Parallel] = []
    seen: dict[str, set[str]] = {language: set() for language in cldr_facts.LANGUAGES}
    while len(lines) < n_lines:
        sentence = SENTENCES[kinds[len(lines) % len(kinds)]](rng)
        if any(sentence[language] in seen[language] for language in cldr_facts.LANGUAGES):
            continue
        lines.append(sentence)
        for language, text in sentence.items():
            seen[language].add(text)
    return {language: tuple(line[language] for line in lines) for language in cldr_facts.LANGUAGES}
