"""Tiny inputs of the paper's recipes, in the layouts in which the data sets are published."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

PAPER_RECIPES = Path(__file__).parents[1] / "infra" / "recipes" / "paper"
LANGUAGES = {
    "en": "eng_Latn",
    "fr": "fra_Latn",
    "es": "spa_Latn",
    "zh": "zho_Hans",
    "hi": "hin_Deva",
    "sw": "swh_Latn",
    "ru": "rus_Cyrl",
    "th": "tha_Thai",
    "ar": "arb_Arab",
    "bg": "bul_Cyrl",
    "de": "deu_Latn",
    "el": "ell_Grek",
    "tr": "tur_Latn",
    "ur": "urd_Arab",
    "vi": "vie_Latn",
}
"""The paper's languages, Russian and Thai, and XNLI's others -> code of FLORES-200."""
NUMBERS: dict[str, Callable[[int], str]] = {
    "en": lambda n: f"{n} cats sleep.",
    "fr": lambda n: f"{n} chats dorment.",
    "es": lambda n: f"{n} gatos duermen.",
    "zh": lambda n: f"{n}只猫睡觉。",
    "hi": lambda n: f"{n} बिल्लियाँ सोती हैं।",
    "sw": lambda n: f"paka {n} wanalala.",
    "ru": lambda n: f"{n} кошек спят.",
    "th": lambda n: f"แมว {n} ตัวนอนหลับ",
    "ar": lambda n: f"{n} قطط تنام.",
    "bg": lambda n: f"{n} котки спят.",
    "de": lambda n: f"{n} Katzen schlafen.",
    "el": lambda n: f"{n} γάτες κοιμούνται.",
    "tr": lambda n: f"{n} kedi uyuyor.",
    "ur": lambda n: f"{n} بلیاں سو رہی ہیں۔",
    "vi": lambda n: f"{n} con mèo đang ngủ.",
}
"""Language -> sentence number n, the same in every language."""
LABELS = ("entailment", "neutral", "contradiction")
N_LINES, N_PAIRS, N_REVIEWS, N_FILES = 20, 9, 8, 4


def write_paper_inputs(folder: Path) -> Path:
    """Copy the recipes to a folder and write their data next to them; return the folder."""
    shutil.copytree(PAPER_RECIPES, folder)
    data = folder / "data"
    for split, first in (("dev", 0), ("devtest", 1000)):
        for language, code in LANGUAGES.items():
            _write(data / f"flores200_dataset/{split}/{code}.{split}", _lines(language, first))
    for split, first in (("dev", 2000), ("test", 3000)):
        _write(data / f"XNLI-1.0/xnli.{split}.tsv", _xnli(first))
        for language in LANGUAGES.keys() - {"en"} if split == "test" else ():
            _write(data / f"xnli_mt/nllb-200-3.3B/xnli.{language}.test.tsv", _translated(first))
        for language in ("en", "fr", "es", "zh"):
            _write(data / f"marc/dataset_{language}_{split}.json", _reviews(language, first))
    rows = [LANGUAGES, *([NUMBERS[language](4000 + n) for language in LANGUAGES] for n in range(N_LINES))]
    _write(data / "XNLI-15way/xnli.15way.orig.tsv", _table(rows))
    for number in range(N_FILES):
        _write(data / f"code/module_{number}.py", f"def double_{number}(x):\n    return 2 * x + {number}\n")
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _lines(language: str, first: int) -> str:
    return "".join(f"{NUMBERS[language](first + n)}\n" for n in range(N_LINES))


def _table(rows: Sequence[Sequence[object] | dict[str, str]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def _xnli(first: int) -> str:
    """All languages in one table; three hypotheses share a premise."""
    rows: list[list[object]] = [["language", "gold_label", "sentence1", "sentence2", "promptID", "pairID"]]
    for language, sentence in NUMBERS.items():
        for n in range(N_PAIRS):
            texts = (sentence(first + n // 3), sentence(first + 500 + n))
            rows.append([language, LABELS[n % 3], *texts, first + n // 3, first + n])
    return _table(rows)


def _translated(first: int) -> str:
    """Return XNLI's rows in English without ids, as `xnli_mt` has them."""
    sentence = NUMBERS["en"]
    rows = [[sentence(first + n // 3), sentence(first + 500 + n), n % 3] for n in range(N_PAIRS)]
    return _table([["premise", "hypothesis", "label"], *rows])


def _reviews(language: str, first: int) -> str:
    rows = [
        {"review_id": f"{language}_{first + n}", "review_body": NUMBERS[language](first + n), "stars": str(1 + n % 5)}
        for n in range(N_REVIEWS)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
