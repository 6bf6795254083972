"""Questions with generated answers: prompts, and generated texts with their answers and credits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

from mlprune.corpus.chat import ChatTemplate
from mlprune.descriptions import AnswerRule
from mlprune.evaluation.scoring.answer_text import extracted, is_match, token_f1
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.translation import (
    TRANSLATION_SCHEMA,
    PreparedTranslation,
    TranslationOutput,
    Translations,
    prepare_prompts,
)
from mlprune.evaluation.tasks.items import TranslationItem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWER_SCHEMA = {**TRANSLATION_SCHEMA, "answer": "string", "is_right": "bool", "token_f1": "double"}
"""Columns of a predictions file of questions. The reference is the accepted answers, one per line."""
BETWEEN = "\n\n"
"""Text after each question with its answer that a prompt shows before the question."""


@dataclass(frozen=True)
class Answers(Translations):
    """Generated texts, the answers in them, and whether they are accepted: the input of metrics."""

    own_schema: ClassVar[Mapping[str, str]] = ANSWER_SCHEMA
    answers: tuple[str, ...] = ()
    """What the rule of the task reads in each output; empty for nothing."""
    is_right: tuple[bool, ...] = ()
    """Whether each answer equals an accepted one; see `answer_text.is_match`."""
    token_f1: tuple[float, ...] = ()
    """F1 of the tokens of each answer; see `answer_text.token_f1`."""

    @classmethod
    def read(cls, outputs: Sequence[TranslationOutput], rule: AnswerRule, *, language: str) -> "Answers":
        """Read and judge the answers in the outputs of a model.

        Args:
            language: language of the answers, whose rules of normalisation apply.
        """
        answers = extracted([output.output for output in outputs], rule)
        pairs = [(answer, output.reference.split("\n")) for answer, output in zip(answers, outputs, strict=True)]
        return replace(
            cast("Answers", cls.from_outputs(outputs)),
            answers=tuple(answers),
            is_right=tuple(is_match(answer, accepted, language) for answer, accepted in pairs),
            token_f1=tuple(token_f1(answer, accepted, language) for answer, accepted in pairs),
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[object]]) -> "Answers":
        """Build answers from stored rows, given as columns."""
        return replace(
            cast("Answers", super().from_columns(columns)),
            answers=tuple(map(str, columns["answer"])),
            is_right=tuple(map(bool, columns["is_right"])),
            token_f1=tuple(float(cast("float", value)) for value in columns["token_f1"]),
        )

    def columns(self) -> dict[str, Sequence[object]]:
        """The rows to store; see `ANSWER_SCHEMA`."""
        own = {"answer": self.answers, "is_right": self.is_right, "token_f1": self.token_f1}
        return {**super().columns(), **{name: list(values) for name, values in own.items()}}

    @property
    def matches(self) -> tuple[bool, ...]:
        """Whether each answer equals an accepted one."""
        return self.is_right


def question_prompts(
    items: Sequence[TranslationItem], shots: Sequence[TranslationItem], chat: ChatTemplate | None
) -> list[str]:
    """Return the text before each answer: the shots with their first accepted answers, then the question.

    In a chat each shot is a turn of the user and one of the assistant, and the question is the last turn.
    """
    shown = [(shot.source, shot.reference.partition("\n")[0]) for shot in shots]
    if chat is None:
        start = "".join(f"{question} {answer}{BETWEEN}" for question, answer in shown)
        return [start + item.source for item in items]
    turns = [turn.strip() for pair in shown for turn in pair]
    chats = (chat.pieces([*turns, item.source.strip()]) for item in items)
    return ["".join(part for part, _ in pieces) for pieces in chats]


def prepare_questions(
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[TranslationItem],
    rule: AnswerRule,
    *,
    limits: TextLimits,
    shots: Sequence[TranslationItem],
    chat: ChatTemplate | None = None,
) -> PreparedTranslation:
    """Build and tokenise the prompts of questions; see `prepare_translation`."""
    prompts = question_prompts(items, shots, chat)
    return prepare_prompts(tokenizer, items, prompts, limits=limits, chat=chat, stops=rule.stop)
