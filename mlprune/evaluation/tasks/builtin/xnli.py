"""XNLI: natural language inference (Conneau et al. 2018, arXiv:1809.05053)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlprune.descriptions import HubSet
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.builtin.african import AFRICAN_CODES
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, number_of, runs, text_of
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task

XNLI_LABELS = ("entailment", "neutral", "contradiction")
AFRICAN = HubSet(
    name="masakhane/afrixnli",
    files=("data/{config}/{split}.tsv",),
    splits=(("dev", "dev"), ("test", "test")),
    configs=AFRICAN_CODES,
    labels=tuple((number, number) for number in range(3)),
)
"""AfriXNLI: XNLI in African languages (Adelani et al. 2024, arXiv:2406.03368)."""


@dataclass(frozen=True)
class XnliWords:
    """The words of `{premise} , {question}?  {label} , {hypothesis}`."""

    question: str
    """The question tag."""
    labels: tuple[str, str, str]
    """Words for entailment, neutral and contradiction."""


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

The words are those of lm-evaluation-harness (Gao et al.) for XGLM's prompt (Lin et al., arXiv:2112.10668), with three
corrections: its Arabic "no" is the word for a number, its Greek words have wrong accents and gender, and its Spanish
"así" lacks the accent.
"""


def xnli() -> Task:
    """Natural language inference."""
    return Task(
        "xnli",
        LABEL_METRICS,
        ("premise", "hypothesis", "label"),
        xnli_item,
        prompt_language="en",
        texts=("premise", "hypothesis"),
        native=XNLI_WORDS,
        groups=xnli_groups,
        citation="Conneau et al. 2018, arXiv:1809.05053",
        dataset=HubSet(name="facebook/xnli", files=("{config}/{split}-*.parquet",)),
        copies=(AFRICAN,),
    )


def xnli_item(example_id: str, row: Row, *, words: XnliWords = XNLI_WORDS["en"]) -> ChoiceItem:
    """`{premise} , right?  {Yes|Also|No} , {hypothesis}`: two spaces before the label."""
    premise, hypothesis = text_of(row, "premise"), text_of(row, "hypothesis")
    got = row["label"]
    is_name = isinstance(got, str) and got in XNLI_LABELS
    if isinstance(got, str) and not is_name:
        raise TaskFileError("wrong label", key="label", expected=[*XNLI_LABELS, 0, 1, 2], got=got)
    gold = XNLI_LABELS.index(got) if is_name else number_of(row, "label", range(len(XNLI_LABELS)))
    parts = [f"{word} , {hypothesis}" for word in words.labels]
    names = XNLI_LABELS if is_name else ("0", "1", "2")
    return choice_item(example_id, names, context=f"{premise} , {words.question}?  ", parts=parts, gold=gold)


def xnli_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """Adjacent rows with one premise, usually its three hypotheses, are a cluster."""
    return [ItemGroup(cluster) for cluster in runs(rows, lambda row: " ".join(str(row["premise"]).split()))]
