"""Answers in generated texts: extraction by a rule, normalisation by language, exact match and F1 of tokens.

Exact match and F1 are those of SQuAD (Rajpurkar et al., arXiv:1606.05250), made multilingual as in MLQA (Lewis et al.,
arXiv:1910.07475): lower case, no punctuation, no articles in the languages for which MLQA lists them, and one token per
character where words have no spaces between them. Deviations from MLQA's script:

- Texts are in NFC, digits of all scripts are equal (१२ = ١٢ = 12), invisible format characters are dropped, and Turkish
  and Azerbaijani have their own lower case of I.
- Characters are tokens by their script, not by the language: Han, kana, Thai, Lao, Khmer, Burmese and Tibetan, each
  with the combining marks after it. MLQA does so for Han in Chinese.
- An accepted answer that is a number equals the same number in another notation: 1,234.50 and 1 234,5.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache

from mlprune.corpus.linear_regex import first_groups
from mlprune.descriptions import AnswerRule

ARTICLES: Mapping[str, re.Pattern[str]] = {
    "en": re.compile(r"\b(a|an|the)\b"),
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "ar": re.compile("ال"),
}
"""Articles of MLQA's script, which a space replaces."""
DOTLESS = ("tr", "az")
"""Languages whose I has the lower case ı."""
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Beginnings of the names of characters that are tokens of their own."""
GROUPING = "\u00a0\u2009\u202f'’٬"
"""Marks between groups of three digits that are never decimal marks."""
NUMBER = re.compile(
    rf"(?<![\w.,])[-−]?\d{{1,3}}(?:[ {GROUPING}]\d{{3}})+(?!\d)(?:[.,٫]\d+)?|(?:(?<!\w)[-−])?\d+(?:[.,{GROUPING}٫]\d+)*"
)
"""A number in a text with ASCII digits."""
BOXED = "boxed{"
"""Beginning of an answer in LaTeX."""


def extracted(outputs: Sequence[str], rule: AnswerRule) -> list[str]:
    """Return the answer in each output by a rule of `AnswerRule.extract`; empty where there is none."""
    if rule.extract == "regex":
        assert rule.pattern is not None, "the rule was checked"
        return [answer.strip() for answer in first_groups(rule.pattern, outputs)]
    return [_extracted(output, rule) for output in outputs]


def _extracted(output: str, rule: AnswerRule) -> str:
    if rule.extract == "number":
        return last_number(output)
    if rule.extract == "boxed":
        return last_boxed(output)
    if rule.extract == "letter":
        return choice_letter(output, rule.letters)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return ""
    return {"first_line": lines[0], "last_line": lines[-1], "all": output.strip()}[rule.extract]


def last_number(text: str) -> str:
    """Return the last number of a text with ASCII digits; empty if it has none. Words for numbers are not read."""
    numbers = NUMBER.findall(ascii_digits(text))
    return numbers[-1] if numbers else ""


def last_boxed(text: str) -> str:
    r"""Return the content of the last complete `\boxed{...}` of a text, which may contain braces; empty if none is."""
    start = text.rfind(BOXED)
    while start >= 0:
        depth, begin = 1, start + len(BOXED)
        for index in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[index], 0)
            if depth == 0:
                return text[begin:index].strip()
        start = text.rfind(BOXED, 0, start)
    return ""


def choice_letter(text: str, letters: str) -> str:
    """Return the letter that a text chooses; empty if there is none.

    It is the first of the letters alone in parentheses, or before one of `.):` or the end of a line. If there is none,
    it is the first of the letters that is a word.
    """
    plain = unicodedata.normalize("NFKC", text)
    letter = rf"(?<!\w)([{re.escape(letters)}])"
    match = re.search(rf"{letter}(?=\s*(?:[.):]|$))", plain, re.MULTILINE) or re.search(rf"{letter}(?!\w)", plain)
    return match[1] if match else ""


def ascii_digits(text: str) -> str:
    """Return a text in NFC with ASCII digits instead of the decimal digits of other scripts."""
    composed = unicodedata.normalize("NFC", text)
    if composed.isascii():
        return composed
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in composed)


def number_readings(text: str) -> frozenset[Decimal]:
    """Return what a text that is a number can mean; nothing if it is not one.

    A point or comma before exactly three digits is a decimal mark or a mark between thousands (1.234): both are
    readings. A space between digits may separate two numbers: the last one is a reading, too.
    """
    plain = ascii_digits(text).strip().strip("$€£¥₹%").strip().rstrip(".,")
    if not NUMBER.fullmatch(plain):
        return frozenset()
    sign = -1 if plain[0] in "-−" else 1
    body = re.sub(f"[{GROUPING}]", "", plain.lstrip("-−"))
    bodies = [body.replace(" ", ""), body.rpartition(" ")[2]]
    return frozenset(sign * reading for one in bodies for reading in _readings(one))


def _readings(body: str) -> list[Decimal]:
    whole, mark, decimals = body.partition("٫")
    if mark:
        return [Decimal(f"{re.sub('[.,]', '', whole)}.{re.sub('[.,٫]', '', decimals)}")]
    parts = re.split("[.,]", body)
    marks = re.sub(r"\d", "", body)
    readings = []
    if len(parts[0]) <= 3 and parts[0] != "0" and len(set(marks)) < 2 and all(len(part) == 3 for part in parts[1:]):
        readings.append("".join(parts))
    if len(parts) == 1:
        readings.append(parts[0])
    elif marks.count(marks[-1]) == 1:
        readings.append("".join(parts[:-1]) + "." + parts[-1])
    return [Decimal(reading) for reading in readings or parts[-1:]]


@lru_cache(maxsize=4096)
def tokens(text: str, language: str) -> tuple[str, ...]:
    """Return the tokens of an answer after normalisation; see the module."""
    main = language.partition("-")[0]
    lowered = ascii_digits(text)
    if main in DOTLESS:
        lowered = lowered.replace("İ", "i").replace("I", "ı")
    lowered = unicodedata.normalize("NFC", lowered.lower())
    kept = "".join(char for char in lowered if not _is_dropped(char))
    if main in ARTICLES:
        kept = ARTICLES[main].sub(" ", kept)
    found: list[str] = []
    is_open = False
    for char in kept:
        if char.isspace():
            is_open = False
        elif (is_open and not _is_unspaced(char)) or (found and unicodedata.category(char).startswith("M")):
            found[-1] += char
        else:
            found.append(char)
            is_open = not _is_unspaced(char)
    return tuple(found)


def _is_dropped(char: str) -> bool:
    """Whether a character is punctuation (as in MLQA: of Unicode or of ASCII) or an invisible format character."""
    return char in string.punctuation or unicodedata.category(char)[0] == "P" or unicodedata.category(char) == "Cf"


@lru_cache(maxsize=4096)
def _is_unspaced(char: str) -> bool:
    is_mark = unicodedata.category(char).startswith("M")
    return not is_mark and not char.isascii() and unicodedata.name(char, "").startswith(UNSPACED)


def is_match(answer: str, references: Sequence[str], language: str) -> bool:
    """Whether an answer equals one of the accepted answers: the same number, or else the same tokens."""
    return any(_equals(answer, reference, language) for reference in references)


def _equals(answer: str, reference: str, language: str) -> bool:
    expected = number_readings(reference)
    if expected:
        return not expected.isdisjoint(number_readings(answer))
    return bool(answer.strip()) and _unwrapped_tokens(answer, language) == _unwrapped_tokens(reference, language)


def _unwrapped_tokens(text: str, language: str) -> tuple[str, ...]:
    """Return the tokens of a text; the text itself if all of it is punctuation."""
    return tokens(text, language) or (text.strip(),)


def token_f1(answer: str, references: Sequence[str], language: str) -> float:
    """Return the largest F1 of the answer's tokens and those of an accepted answer; 1 for a match.

    F1 = 2 P R / (P + R), with P and R the shares of the answer's and of the accepted answer's tokens that are common to
    both, counted as multisets (SQuAD).
    """
    if is_match(answer, references, language):
        return 1.0
    ours = Counter(tokens(answer, language))
    return max((_f1(ours, Counter(tokens(reference, language))) for reference in references), default=0.0)


def _f1(ours: Counter[str], theirs: Counter[str]) -> float:
    n_common = (ours & theirs).total()
    return 2 * n_common / (ours.total() + theirs.total()) if n_common else 0.0
