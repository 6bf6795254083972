"""The tasks: how a row of a task file becomes an item, and what is measured on the items.

A choice item is a list of whole texts to score, one per candidate; the texts follow docs/method.md section 6.
Finding and checking files is done in `files.py`, scoring in `classify.py` and `translate.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlprune.errors import TaskFileError
from mlprune.terms import TaskName

Row = Mapping[str, Any]

MASK = "<mask>"
"""Where a fact's candidate goes."""

MARC_WORDS = 128
"""Whitespace words of a review that are kept."""

XNLI_LABELS = {"entailment": "Yes", "neutral": "Also", "contradiction": "No"}
PAWS_X_LABELS = ("No", "Yes")
XCOPA_CONNECTIVES = {"cause": "because", "effect": "so"}


@dataclass(frozen=True)
class ChoiceItem:
    """Whole texts of which one is right."""

    example_id: str
    candidates: tuple[str, ...]
    """The labels as the file writes them, or the texts that fill a gap."""
    texts: tuple[str, ...]
    """What is scored, one text a candidate."""
    gold: int
    """Index of the right candidate."""


@dataclass(frozen=True)
class TranslationItem:
    """A sentence and its reference translation."""

    example_id: str
    source: str
    reference: str


@dataclass(frozen=True)
class Task:
    """What distinguishes a task."""

    scoring_rule: Literal["mean_whole_text", "greedy", "sum"]
    """Candidates by mean log-probability of the whole text, a greedy decoding, or a sum over all texts."""
    prompt_language: Literal["en"] | None
    """Language of the words around the example's own; None where there are none: the example's language."""
    metrics: tuple[str, ...]
    keys: tuple[str, ...] = ()
    """What a row has to have besides its id; empty for tasks that read parallel text."""
    to_item: Callable[[str, Row], ChoiceItem | None] | None = None
    """A row as an item; None where the task drops the row."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Of equal candidates the earlier one is predicted, or they share the credit."""


def xnli_item(example_id: str, row: Row) -> ChoiceItem:
    """`{premise} , right?  {Yes|Also|No} , {hypothesis}`: English in every language, two spaces before the label."""
    premise, hypothesis = text_of(row, "premise"), text_of(row, "hypothesis")
    names = tuple(XNLI_LABELS)
    got = row["label"]
    gold = names.index(got) if got in names else number_of(row, "label", range(len(names)))
    texts = tuple(f"{premise} , right?  {word} , {hypothesis}" for word in XNLI_LABELS.values())
    return ChoiceItem(example_id, names if got in names else ("0", "1", "2"), texts, gold)


def marc_item(example_id: str, row: Row) -> ChoiceItem | None:
    """The first words of the review and ` It is {negative|positive}`; reviews of three stars are dropped."""
    review = " ".join(text_of(row, "text").split()[:MARC_WORDS])
    stars = number_of(row, "label", range(1, 6))
    if stars == 3:
        return None
    words = ("negative", "positive")
    return ChoiceItem(example_id, words, tuple(f"{review} It is {word}" for word in words), int(stars > 3))


def xcopa_item(example_id: str, row: Row) -> ChoiceItem:
    """`{premise} {because|so} {choice}`: the premise without its full stop, the choice with a small first letter.

    The connective is English in every language, as XNLI's template is. The paper has no such template.
    """
    premise = text_of(row, "premise").strip().rstrip(".。।!！?？ ")
    question = row["question"]
    if question not in XCOPA_CONNECTIVES:
        raise TaskFileError("unknown question", key="question", expected=tuple(XCOPA_CONNECTIVES), got=question)
    choices = (text_of(row, "choice1"), text_of(row, "choice2"))
    start = f"{premise} {XCOPA_CONNECTIVES[question]} "
    texts = tuple(start + choice.strip()[0].lower() + choice.strip()[1:] for choice in choices)
    return ChoiceItem(example_id, choices, texts, number_of(row, "label", range(2)))


def paws_x_item(example_id: str, row: Row) -> ChoiceItem:
    """`{sentence1} right? {No|Yes}, {sentence2}`; label 1 is a paraphrase, hence Yes."""
    first, second = text_of(row, "sentence1"), text_of(row, "sentence2")
    texts = tuple(f"{first} right? {word}, {second}" for word in PAWS_X_LABELS)
    return ChoiceItem(example_id, ("0", "1"), texts, number_of(row, "label", range(2)))


def facts_item(example_id: str, row: Row) -> ChoiceItem:
    """The prompt as it stands, each candidate in the place of `<mask>`; `answer` is an index or a text."""
    prompt, candidates, answer = text_of(row, "prompt"), row["candidates"], row["answer"]
    if MASK not in prompt:
        raise TaskFileError("a prompt has no gap", key="prompt", expected=MASK, got=prompt)
    if not isinstance(candidates, list) or not candidates or not all(_is_text(each) for each in candidates):
        raise TaskFileError("wrong candidates", key="candidates", expected="a list of texts", got=candidates)
    if isinstance(answer, str):
        if answer not in candidates:
            raise TaskFileError("the answer is no candidate", key="answer", expected=candidates, got=answer)
        gold = candidates.index(answer)
    else:
        gold = number_of(row, "answer", range(len(candidates)))
    texts = tuple(prompt.replace(MASK, candidate) for candidate in candidates)
    return ChoiceItem(example_id, tuple(candidates), texts, gold)


def sentence_item(example_id: str, sentence: str) -> ChoiceItem:
    """A sentence as an item of one text, for perplexity."""
    return ChoiceItem(example_id, (sentence,), (sentence,), 0)


def text_of(row: Row, key: str) -> str:
    """A text of a row, as it stands.

    Raises:
        TaskFileError: it is no text, or nothing but white space.
    """
    value = row[key]
    if not _is_text(value):
        raise TaskFileError("an empty or missing text", key=key, expected="a text", got=value)
    return str(value)


def number_of(row: Row, key: str, allowed: range) -> int:
    """A whole number of a row.

    Raises:
        TaskFileError: it is not one of the allowed ones.
    """
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise TaskFileError(f"wrong {key}", key=key, expected=f"{allowed.start} to {allowed.stop - 1}", got=value)
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


_LABEL_METRICS = ("accuracy", "f1_macro", "f1_weighted", "precision_macro", "recall_macro", "ece")
_WHOLE: Literal["mean_whole_text"] = "mean_whole_text"

TASKS: Mapping[TaskName, Task] = {
    "xnli": Task(_WHOLE, "en", _LABEL_METRICS, ("premise", "hypothesis", "label"), xnli_item),
    "marc": Task(_WHOLE, "en", _LABEL_METRICS, ("text", "label"), marc_item),
    "xcopa": Task(
        _WHOLE, "en", ("accuracy", "ece"), ("premise", "choice1", "choice2", "question", "label"), xcopa_item
    ),
    "paws_x": Task(_WHOLE, "en", _LABEL_METRICS, ("sentence1", "sentence2", "label"), paws_x_item),
    "facts": Task(_WHOLE, None, ("accuracy", "ece"), ("prompt", "candidates", "answer"), facts_item, "shared"),
    "translation": Task("greedy", "en", ("bleu", "chrf", "exact_match")),
    "perplexity": Task("sum", None, ("perplexity",)),
}


def prompt_language(task: TaskName, language: str) -> str:
    """The language of a task's prompts for examples in a language; translation prompts have English labels."""
    return TASKS[task].prompt_language or language
