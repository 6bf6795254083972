"""The words that templates put around an example, in English and in the example's own language.

English words are used in every language unless native ones are asked for. A new language is a new entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class XnliWords:
    """The words of `{premise} , {question}?  {label} , {hypothesis}`."""

    question: str
    """Asks whether it is so."""
    labels: tuple[str, str, str]
    """For entailment, neutral, contradiction."""


@dataclass(frozen=True)
class XcopaWords:
    """What joins a premise and a choice."""

    cause: str
    """Stands before what made the premise happen."""
    effect: str
    """Stands before what follows from the premise."""


XNLI_WORDS: Mapping[str, XnliWords] = {
    "en": XnliWords("right", ("Yes", "Also", "No")),
    "ar": XnliWords("صحيح", ("نعم", "لذا", "لا")),
    "bg": XnliWords("правилно", ("да", "така", "не")),
    "de": XnliWords("richtig", ("Ja", "Auch", "Nein")),
    "el": XnliWords("σωστό", ("Ναι", "Έτσι", "Όχι")),
    "es": XnliWords("correcto", ("Sí", "Así que", "No")),
    "fr": XnliWords("correct", ("Oui", "Aussi", "Non")),
    "hi": XnliWords("सही", ("हाँ", "इसलिए", "नहीं")),
    "ru": XnliWords("правильно", ("Да", "Так", "Нет")),
    "sw": XnliWords("sahihi", ("Ndiyo", "Hivyo", "Hapana")),
    "th": XnliWords("ถูกต้อง", ("ใช่", "ดังนั้น", "ไม่")),
    "tr": XnliWords("doğru", ("Evet", "Böylece", "Hayır")),
    "ur": XnliWords("صحیح", ("جی ہاں", "اس لئے", "نہیں")),
    "vi": XnliWords("đúng", ("Vâng", "Vì vậy", "Không")),
    "zh": XnliWords("正确", ("是的", "所以", "不是的")),
}
"""XNLI's fifteen languages.

The words are those that lm-evaluation-harness (Gao et al.) made for XGLM's prompt (Lin et al., arXiv:2112.10668), with
three slips put right: its Arabic "no" is the word for a number, its Greek words have wrong accents and gender, its
Spanish "así" lacks the accent.
"""

XCOPA_WORDS: Mapping[str, XcopaWords] = {
    "en": XcopaWords("because", "so"),
    "et": XcopaWords("sest", "seetõttu"),
    "id": XcopaWords("karena", "maka"),
    "it": XcopaWords("perché", "quindi"),
    "sw": XcopaWords("kwa sababu", "kwa hiyo"),
    "th": XcopaWords("เพราะ", "ดังนั้น"),
    "tr": XcopaWords("çünkü", "bu yüzden"),
    "vi": XcopaWords("bởi vì", "vì vậy"),
    "zh": XcopaWords("因为", "所以"),
}
"""XCOPA's languages (Ponti et al., arXiv:2005.00333) but Haitian Creole, Quechua and Tamil, and English."""
