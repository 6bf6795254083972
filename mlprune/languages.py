"""Language tags: FLORES-200 codes, scripts, resource classes, and the file names of a language."""

import re

ENGLISH = "en"
"""Tag of English, the pivot of interventions and tasks."""
_SIDE = r"[A-Za-z]{2,3}([-_]([A-Za-z]{4}|[A-Z]{2}))?"
_PAIR = re.compile(f"(?P<source>{_SIDE})-(?P<target>{_SIDE})")
ISO_639_3 = {
    "eng": "en",
    "fra": "fr",
    "spa": "es",
    "zho": "zh",
    "hin": "hi",
    "swh": "sw",
    "rus": "ru",
    "arb": "ar",
    "deu": "de",
    "jpn": "ja",
    "ell": "el",
    "bul": "bg",
    "tur": "tr",
    "tha": "th",
    "vie": "vi",
    "urd": "ur",
    "por": "pt",
    "ita": "it",
    "kor": "ko",
    "ind": "id",
    "pol": "pl",
    "ukr": "uk",
    "nld": "nl",
    "fin": "fi",
    "est": "et",
    "cat": "ca",
    "eus": "eu",
    "hat": "ht",
    "quy": "qu",
    "tam": "ta",
    "tel": "te",
    "ben": "bn",
    "mya": "my",
    "pes": "fa",
    "heb": "he",
    "ces": "cs",
    "ron": "ro",
    "hun": "hu",
    "swe": "sv",
    "dan": "da",
    "nob": "nb",
    "lit": "lt",
    "lvs": "lv",
    "slk": "sk",
    "slv": "sl",
    "hrv": "hr",
    "srp": "sr",
    "mar": "mr",
    "guj": "gu",
    "kan": "kn",
    "mal": "ml",
    "pan": "pa",
    "npi": "ne",
    "sin": "si",
    "khm": "km",
    "lao": "lo",
    "kat": "ka",
    "hye": "hy",
    "azj": "az",
    "kaz": "kk",
    "uzn": "uz",
    "amh": "am",
    "som": "so",
    "hau": "ha",
    "yor": "yo",
    "ibo": "ig",
    "zul": "zu",
    "xho": "xh",
    "afr": "af",
    "glg": "gl",
    "isl": "is",
    "gle": "ga",
    "cym": "cy",
    "mlt": "mt",
    "als": "sq",
    "mkd": "mk",
    "bel": "be",
    "zsm": "ms",
    "tgl": "tl",
    "jav": "jv",
}
"""FLORES-200's codes to ISO 639-1, where there is one; other languages keep their three letters."""
DEFAULT_SCRIPTS = {
    "zh": "Hans",
    "ar": "Arab",
    "ru": "Cyrl",
    "hi": "Deva",
    "el": "Grek",
    "bg": "Cyrl",
    "th": "Thai",
    "ur": "Arab",
    "ja": "Jpan",
    "ko": "Hang",
    "uk": "Cyrl",
    "ta": "Taml",
    "te": "Telu",
    "bn": "Beng",
    "my": "Mymr",
    "fa": "Arab",
    "he": "Hebr",
    "mr": "Deva",
    "gu": "Gujr",
    "kn": "Knda",
    "ml": "Mlym",
    "pa": "Guru",
    "ne": "Deva",
    "si": "Sinh",
    "km": "Khmr",
    "lo": "Laoo",
    "ka": "Geor",
    "hy": "Armn",
    "kk": "Cyrl",
    "am": "Ethi",
    "sr": "Cyrl",
    "mk": "Cyrl",
    "be": "Cyrl",
}
"""Script a language is usually written in, where that is not Latin."""
RESOURCE_CLASSES: dict[int, str] = {
    5: "en es de ja fr ar zh zh-Hant",
    4: "ru hu vi nl ko tr it fa pl pt cs hi fi sv hr sr ca eu",
    3: "id uk af he el ro da sk sl lv lt et bn th ur ms ta kk uz ka be bg tl gl",
    2: "sw zu xh yo ha am ga mt lo is mr pa ht",
    1: "sq az my ig jv km nb te cy mk kn ml ne gu hy so qu",
    0: "si",
}
"""Class, from 0 (fewest) to 5 (winners) -> languages, by the taxonomy of Joshi et al. 2020, arXiv:2004.09095. The
catalog's view `language_resources` is made of this table."""

LANGUAGE_NAMES = {
    "en": "English",
    "es": "Spanish",
    "de": "German",
    "ja": "Japanese",
    "fr": "French",
    "ar": "Arabic",
    "zh": "Chinese",
    "zh-Hant": "traditional Chinese",
    "ru": "Russian",
    "hu": "Hungarian",
    "vi": "Vietnamese",
    "nl": "Dutch",
    "ko": "Korean",
    "tr": "Turkish",
    "it": "Italian",
    "fa": "Persian",
    "pl": "Polish",
    "pt": "Portuguese",
    "cs": "Czech",
    "hi": "Hindi",
    "fi": "Finnish",
    "sv": "Swedish",
    "hr": "Croatian",
    "sr": "Serbian",
    "ca": "Catalan",
    "eu": "Basque",
    "id": "Indonesian",
    "uk": "Ukrainian",
    "af": "Afrikaans",
    "el": "Greek",
    "he": "Hebrew",
    "ro": "Romanian",
    "da": "Danish",
    "sk": "Slovak",
    "sl": "Slovenian",
    "lv": "Latvian",
    "lt": "Lithuanian",
    "et": "Estonian",
    "bn": "Bengali",
    "th": "Thai",
    "ur": "Urdu",
    "ms": "Malay",
    "ta": "Tamil",
    "kk": "Kazakh",
    "uz": "Uzbek",
    "ka": "Georgian",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "tl": "Tagalog",
    "gl": "Galician",
    "sw": "Swahili",
    "zu": "Zulu",
    "xh": "Xhosa",
    "yo": "Yoruba",
    "ha": "Hausa",
    "am": "Amharic",
    "ga": "Irish",
    "mt": "Maltese",
    "lo": "Lao",
    "is": "Icelandic",
    "mr": "Marathi",
    "pa": "Punjabi",
    "ht": "Haitian Creole",
    "sq": "Albanian",
    "az": "Azerbaijani",
    "my": "Burmese",
    "ig": "Igbo",
    "jv": "Javanese",
    "km": "Khmer",
    "nb": "Norwegian Bokmål",
    "te": "Telugu",
    "cy": "Welsh",
    "mk": "Macedonian",
    "kn": "Kannada",
    "ml": "Malayalam",
    "gu": "Gujarati",
    "ne": "Nepali",
    "hy": "Armenian",
    "so": "Somali",
    "qu": "Quechua",
    "si": "Sinhala",
}
"""English names of the languages of `RESOURCE_CLASSES`."""


def language_tag(name: str) -> str:
    """The stored tag of a language: ISO 639-1, with a script only where it is not the usual one.

    `zho_Hans` and `zh` are `zh`, `zho_Hant` is `zh-Hant`, `swh_Latn` is `sw`.
    """
    code, _, script = name.replace("-", "_").partition("_")
    code = ISO_639_3.get(code.lower(), code.lower())
    script = script.capitalize() if len(script) == 4 else script
    usual = DEFAULT_SCRIPTS.get(code, "Latn")
    return f"{code}-{script}" if script and script != usual else code


def pair_languages(pair: str) -> tuple[str, str]:
    """Return `fr-en` as (fr, en), both as stored tags. `zh-Hant-en` and `zho_Hant-eng_Latn` give (zh-Hant, en).

    A region in capital letters belongs to its language: `pt-BR-en` is (pt-BR, en).

    Raises:
        ValueError: it is not a pair of two languages.
    """
    match = _PAIR.fullmatch(pair)
    if match is None:
        raise ValueError(f"expected a pair such as fr-en, got {pair!r}")
    source, target = language_tag(match["source"]), language_tag(match["target"])
    if source == target:
        raise ValueError(f"source and target of the pair {pair!r} are both {source}")
    return source, target


def language_file_stems(tag: str) -> tuple[str, ...]:
    """Names under which a language's file is looked up, in order: `fr`, then `fra_Latn`."""
    code, _, script = tag.partition("-")
    long_codes = [long for long, short in ISO_639_3.items() if short == code] or [code]
    return (tag, *(f"{long}_{script or DEFAULT_SCRIPTS.get(code, 'Latn')}" for long in long_codes))


def script_of(tag: str) -> str:
    """Return the ISO 15924 code of a language's script: that of the tag, or the usual one.

    The region of a tag such as `pt-BR` is returned in place of a script. Stored comparisons have groups by this value.
    """
    code, _, script = tag.partition("-")
    return script or DEFAULT_SCRIPTS.get(code, "Latn")


def resource_class_of(tag: str) -> int | None:
    """Return the resource class of a language; None if the taxonomy's list lacks it."""
    return next((number for number, tags in RESOURCE_CLASSES.items() if tag in tags.split()), None)


def languages_with_resource_class() -> list[tuple[str, str, int, str]]:
    """Return (language, script, resource class, English name) of the taxonomy's list, highest class first."""
    return [
        (tag, script_of(tag), number, LANGUAGE_NAMES[tag])
        for number, tags in RESOURCE_CLASSES.items()
        for tag in tags.split()
    ]
