"""The project's words as types: names of scores, structures, tasks, steps, and language tags.

What each word means is in `docs/words.md`. Nothing here computes.
"""

from typing import Literal

ScoreName = Literal["wanda", "contrast", "magnitude", "random", "ria", "sparsegpt"]
RemovesName = Literal["lowest", "highest"]
PropagationName = Literal["dense", "sequential"]
ProfileName = Literal["corrected", "paper"]
RoundingName = Literal["decimal", "binary"]
TokenScope = Literal["all", "source", "target", "last_shot"]
AggregationName = Literal["mean", "max", "variance", "pooled"]
CombinationName = Literal["intersection", "union", "difference", "symmetric_difference"]
InterventionName = Literal["lrp2", "self_translate"]
DemonstrationKind = Literal["translation", "monolingual", "code", "mixed", "text", "task"]
TaskName = Literal[
    "facts",
    "translation",
    "perplexity",
    "xnli",
    "marc",
    "marc_five",
    "xcopa",
    "paws_x",
    "xstory_cloze",
    "xwinograd",
    "belebele",
]
RuleName = Literal["mean", "candidate_mean", "candidate_sum", "pmi"]
PromptName = Literal["en", "native"]
SplitName = Literal["dev", "test"]
DtypeName = Literal["float32", "bfloat16", "float16"]

HUB = "hub:"
"""What the path of a data set of a hub begins with: `hub:facebook/xnli`, or `hub:facebook/xnli@revision`."""

SCORES_THAT_READ_STATISTICS: tuple[ScoreName, ...] = ("wanda", "contrast", "ria", "sparsegpt")

STEP_VERSIONS = {
    "base_models": 1,
    "demonstration_sets": 2,
    "statistics": 2,
    "statistics_parts": 1,
    "activations": 1,
    "neuron_activity": 1,
    "neuron_removals": 1,
    "outliers": 1,
    "hidden_means": 1,
    "lrp2_trials": 1,
    "lrp2_choices": 1,
    "self_translations": 1,
    "mask_blocks": 2,
    "masks": 2,
    "variants": 2,
    "evaluations": 3,
    "comparisons": 1,
    "rank_consistency": 2,
    "mask_overlaps": 1,
    "feature_overlaps": 1,
    "harness_evaluations": 2,
    "recipes": 1,
}
"""Kind of record -> version of the step that makes it; raised when a step's result changes, and part of every id."""

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


def language_tag(name: str) -> str:
    """The stored tag of a language: ISO 639-1, with a script only where it is not the usual one.

    `zho_Hans` and `zh` are `zh`, `zho_Hant` is `zh-Hant`, `swh_Latn` is `sw`.
    """
    code, _, script = name.replace("-", "_").partition("_")
    code = ISO_639_3.get(code.lower(), code.lower())
    script = script.capitalize() if len(script) == 4 else script
    usual = DEFAULT_SCRIPTS.get(code, "Latn")
    return f"{code}-{script}" if script and script != usual else code


def language_file_stems(tag: str) -> tuple[str, ...]:
    """Names under which a language's file is looked up, in order: `fr`, then `fra_Latn`."""
    code, _, script = tag.partition("-")
    long_codes = [long for long, short in ISO_639_3.items() if short == code] or [code]
    return (tag, *(f"{long}_{script or DEFAULT_SCRIPTS.get(code, 'Latn')}" for long in long_codes))
