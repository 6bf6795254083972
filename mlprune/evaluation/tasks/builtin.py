"""The tasks: how a row of a task file becomes an item, and what is measured on the items.

Templates follow docs/method.md section 6. What an item is stands in `choices.py`, the words of templates in
`prompts.py`; a task that a recipe describes in its own words is made in `own_tasks.py`. Finding and checking files is
done in `files.py`, scoring in `classify.py` and `translate.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    Row,
    TranslationItem,
    choice,
    number_of,
    one_based_index,
    place_of,
    sentence_item,
    text_of,
    texts_of,
)
from mlprune.evaluation.tasks.prompts import XCOPA_WORDS, XNLI_WORDS, XcopaWords, XnliWords
from mlprune.vocabulary import PromptName

__all__ = ["TASKS", "ChoiceItem", "Row", "Task", "TranslationItem", "prompt_language", "sentence_item", "with_prompts"]

MASK = "<mask>"
"""Where a fact's candidate goes."""

GAP = "_"
"""Where an option of xwinograd goes."""

MARC_WORDS = 128
"""Whitespace words of a review that are kept."""
REVIEW: Mapping[str, Any] = {"texts": ("text",), "most_words": MARC_WORDS}

XNLI_LABELS = ("entailment", "neutral", "contradiction")
PAWS_X_LABELS = ("No", "Yes")
MARC_STARS = ("terrible", "bad", "okay", "good", "great")
"""What a review of one to five stars says it is."""
STORY_KEYS = tuple(f"input_sentence_{number}" for number in range(1, 5))
ENDING_KEYS = ("sentence_quiz1", "sentence_quiz2")
ANSWER_KEYS = tuple(f"mc_answer{number}" for number in range(1, 5))


@dataclass(frozen=True)
class Task:
    """What distinguishes a task."""

    name: str
    metrics: tuple[str, ...]
    keys: tuple[str, ...] = ()
    """What a row has to have besides its id; empty for tasks that read parallel text."""
    to_item: Callable[..., ChoiceItem | None] | None = None
    """A row as an item, given (example id, row); None where the task drops the row."""
    reads: Literal["candidates", "sentences", "pairs"] = "candidates"
    """Candidates of which one is right, sentences to be likely, or pairs to be translated."""
    prompt_language: Literal["en"] | None = None
    """Language of the words around the example's own; None where there are none: the example's language."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Of equal candidates the earlier one is predicted, or they share the credit."""
    texts: tuple[str, ...] = ()
    """Keys of a row whose texts are in the example's language; empty where only whole texts make sense in it."""
    answer: str | None = None
    """Key that names the right one among candidates that a row lists, by index or by text."""
    most_words: int | None = None
    """Whitespace words of such a text that are kept."""
    native: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Language -> the words of the template in it, which `to_item` takes as `words`; empty where there are none."""


def xnli_item(example_id: str, row: Row, *, words: XnliWords = XNLI_WORDS["en"]) -> ChoiceItem:
    """`{premise} , right?  {Yes|Also|No} , {hypothesis}`: two spaces before the label."""
    premise, hypothesis = text_of(row, "premise"), text_of(row, "hypothesis")
    got = row["label"]
    is_name = isinstance(got, str) and got in XNLI_LABELS
    gold = XNLI_LABELS.index(got) if is_name else number_of(row, "label", range(len(XNLI_LABELS)))
    parts = [f"{word} , {hypothesis}" for word in words.labels]
    names = XNLI_LABELS if is_name else ("0", "1", "2")
    return choice(example_id, names, context=f"{premise} , {words.question}?  ", parts=parts, gold=gold)


def marc_item(example_id: str, row: Row) -> ChoiceItem | None:
    """The first words of the review and ` It is {negative|positive}`; reviews of three stars are dropped."""
    review, stars = _review(row)
    if stars == 3:
        return None
    words = ("negative", "positive")
    return choice(example_id, words, context=f"{review} It is ", parts=words, gold=int(stars > 3))


def marc_five_item(example_id: str, row: Row) -> ChoiceItem:
    """The first words of the review and ` It is {terrible|bad|okay|good|great}`, one word a number of stars."""
    review, stars = _review(row)
    labels = ("1", "2", "3", "4", "5")
    return choice(example_id, labels, context=f"{review} It is ", parts=MARC_STARS, gold=stars - 1)


def _review(row: Row) -> tuple[str, int]:
    """The first words of a review, and its stars."""
    return " ".join(text_of(row, "text").split()[:MARC_WORDS]), number_of(row, "label", range(1, 6))


def xcopa_item(example_id: str, row: Row, *, words: XcopaWords = XCOPA_WORDS["en"]) -> ChoiceItem:
    """`{premise} {because|so} {choice}`: the premise without its full stop, the choice with a small first letter.

    The paper has no such template.
    """
    premise = text_of(row, "premise").strip().rstrip(".。।!！?？ ")
    question = row["question"]
    if question not in ("cause", "effect"):
        raise TaskFileError("unknown question", key="question", expected=("cause", "effect"), got=question)
    choices = (text_of(row, "choice1"), text_of(row, "choice2"))
    parts = [one.strip()[0].lower() + one.strip()[1:] for one in choices]
    context = f"{premise} {getattr(words, question)} "
    return choice(example_id, choices, context=context, parts=parts, gold=number_of(row, "label", range(2)))


def paws_x_item(example_id: str, row: Row) -> ChoiceItem:
    """`{sentence1} right? {No|Yes}, {sentence2}`; label 1 is a paraphrase, hence Yes."""
    first, second = text_of(row, "sentence1"), text_of(row, "sentence2")
    parts = [f"{word}, {second}" for word in PAWS_X_LABELS]
    gold = number_of(row, "label", range(2))
    return choice(example_id, ("0", "1"), context=f"{first} right? ", parts=parts, gold=gold)


def xstory_cloze_item(example_id: str, row: Row) -> ChoiceItem:
    """The four sentences of a story and one of two endings, joined by spaces (Lin et al., arXiv:2112.10668)."""
    story = " ".join(text_of(row, key).strip() for key in STORY_KEYS)
    endings = [text_of(row, key).strip() for key in ENDING_KEYS]
    gold = one_based_index(row, "answer_right_ending", len(endings))
    return choice(example_id, endings, context=f"{story} ", parts=endings, gold=gold)


def xwinograd_item(example_id: str, row: Row) -> ChoiceItem:
    """The sentence with each option in the place of its `_` (Tikhonov and Ryabinin, arXiv:2106.12066)."""
    before, gap, after = text_of(row, "sentence").partition(GAP)
    if not gap:
        raise TaskFileError("a sentence has no gap", key="sentence", expected=GAP, got=row["sentence"])
    options = [text_of(row, key) for key in ("option1", "option2")]
    gold = one_based_index(row, "answer", len(options))
    return choice(example_id, options, context=before, parts=options, gold=gold, after=after)


def belebele_item(example_id: str, row: Row) -> ChoiceItem:
    """`{passage} {question} {answer}` with each of four answers (Bandarkar et al., arXiv:2308.16884).

    The answers themselves are scored, not the letters A to D: small models do not know what a letter stands for.
    """
    passage, question = (text_of(row, key).strip() for key in ("flores_passage", "question"))
    answers = [text_of(row, key).strip() for key in ANSWER_KEYS]
    gold = one_based_index(row, "correct_answer_num", len(answers))
    return choice(example_id, answers, context=f"{passage} {question} ", parts=answers, gold=gold)


def facts_item(example_id: str, row: Row) -> ChoiceItem:
    """The prompt as it stands, each candidate in the place of `<mask>`; `answer` is an index or a text."""
    prompt = text_of(row, "prompt")
    if MASK not in prompt:
        raise TaskFileError("a prompt has no gap", key="prompt", expected=MASK, got=prompt)
    candidates = texts_of(row, "candidates")
    before, _, after = prompt.partition(MASK)
    parts = [candidate + after.replace(MASK, candidate) for candidate in candidates]
    return choice(example_id, candidates, context=before, parts=parts, gold=place_of(row, "answer", candidates))


LABEL_METRICS = (
    "accuracy",
    *(f"{name}_{mean}" for name in ("f1", "precision", "recall") for mean in ("macro", "weighted")),
    "ece",
)
"""Metrics of tasks whose labels are the same for all items."""
CHOICE_METRICS = ("accuracy", "ece")
"""Metrics of tasks whose candidates are texts of the item."""

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "xnli",
            LABEL_METRICS,
            ("premise", "hypothesis", "label"),
            xnli_item,
            prompt_language="en",
            texts=("premise", "hypothesis"),
            native=XNLI_WORDS,
        ),
        Task("marc", LABEL_METRICS, ("text", "label"), marc_item, prompt_language="en", **REVIEW),
        Task("marc_five", LABEL_METRICS, ("text", "label"), marc_five_item, prompt_language="en", **REVIEW),
        Task(
            "xcopa",
            CHOICE_METRICS,
            ("premise", "choice1", "choice2", "question", "label"),
            xcopa_item,
            prompt_language="en",
            texts=("premise", "choice1", "choice2"),
            native=XCOPA_WORDS,
        ),
        Task(
            "paws_x",
            LABEL_METRICS,
            ("sentence1", "sentence2", "label"),
            paws_x_item,
            prompt_language="en",
            texts=("sentence1", "sentence2"),
        ),
        Task(
            "xstory_cloze",
            CHOICE_METRICS,
            (*STORY_KEYS, *ENDING_KEYS, "answer_right_ending"),
            xstory_cloze_item,
            texts=(*STORY_KEYS, *ENDING_KEYS),
        ),
        Task("xwinograd", CHOICE_METRICS, ("sentence", "option1", "option2", "answer"), xwinograd_item),
        Task(
            "belebele",
            CHOICE_METRICS,
            ("flores_passage", "question", *ANSWER_KEYS, "correct_answer_num"),
            belebele_item,
            texts=("flores_passage", "question", *ANSWER_KEYS),
        ),
        Task("facts", CHOICE_METRICS, ("prompt", "candidates", "answer"), facts_item, ties="shared"),
        Task("translation", ("bleu", "chrf", "exact_match"), reads="pairs", prompt_language="en"),
        Task("perplexity", ("perplexity",), reads="sentences"),
    )
}


def with_prompts(task: Task, *, language: str, prompts: PromptName) -> Task:
    """The task as it is put in a language: with English words around the examples, or with the language's own.

    Raises:
        TaskFileError: native words are asked for, and the task has none in this language.
    """
    if prompts == "en":
        return task
    if language not in task.native or task.to_item is None:
        message = "the task has no native prompts in this language"
        raise TaskFileError(
            message, task=task.name, expected=sorted(task.native) or "prompt_language: en", got=language
        )
    return replace(task, to_item=partial(task.to_item, words=task.native[language]))


def prompt_language(task: Task, language: str, prompts: PromptName = "en") -> str:
    """The language of a task's prompts for examples in a language; translation prompts have English labels."""
    return language if prompts == "native" or task.prompt_language is None else task.prompt_language
