"""Few-shot translation, and what it shares with generated answers: greedy decoding in batches, and outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mlprune.corpus.chat import ChatTemplate
from mlprune.corpus.templates import format_labelled, language_label
from mlprune.errors import ModelError, TaskFileError
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.candidates import PreparedTask, prepare
from mlprune.evaluation.scoring.predictions import ItemScores
from mlprune.evaluation.tasks.items import ItemGroup, TranslationItem, choice_item, clusters_of
from mlprune.models.chain import Chain
from mlprune.models.inference.decoding import StoppingCriteria, decode
from mlprune.numeric.arrays import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MORE_TOKENS = 8
"""Last tokens that are searched for a stop, in addition to one for each of its bytes: the first may decode to parts of
a character."""

TRANSLATION_SCHEMA = dict.fromkeys(("example_id", "prompt", "output", "reference", "cluster", "category"), "string")
"""Columns of a predictions file of translations; the last two as in `CHOICE_SCHEMA`."""

Shot = tuple[str, str]
"""A sentence and its translation."""


@dataclass(frozen=True)
class TranslationOutput:
    """One translated sentence."""

    example_id: str
    prompt: str
    output: str
    reference: str
    cluster: str = ""
    """As in `TranslationItem`."""
    category: str = ""
    """As in `TranslationItem`."""


@dataclass(frozen=True)
class PreparedTranslation:
    """Prompts as batches, which all variants share."""

    items: tuple[TranslationItem, ...]
    prompts: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]
    batches: tuple[tuple[int, ...], ...]
    """Indices of the items that are decoded together, long prompts first."""
    max_new_tokens: int
    longer_ids: tuple[str, ...] = ()
    """Ids of the items whose prompts are too long, which are left out or cut."""
    stop_id: int | None = None
    """Token that ends an output, in addition to the end-of-sequence token; None for no other one."""
    stops: tuple[str, ...] = ()
    """Texts before which an output ends."""


@dataclass(frozen=True)
class Translations:
    """Outputs with their references: the input of metrics."""

    own_schema: ClassVar[Mapping[str, str]] = TRANSLATION_SCHEMA
    """Columns of a predictions file without measures."""
    example_ids: tuple[str, ...]
    outputs: tuple[str, ...]
    references: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    """Inputs of the model; empty if they are not needed."""
    clusters: tuple[str, ...] = ()
    """Name of each sentence's cluster; the ids of the examples if left out."""
    categories: tuple[str, ...] = ()
    """Category of each sentence, empty for none; all empty if left out."""
    measures: Mapping[str, Array] = field(default_factory=dict, kw_only=True)
    """Name -> [n] what was measured of each reference, with its tokens (`n_tokens`), or of each output: further columns
    of the file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clusters", self.clusters or self.example_ids)
        object.__setattr__(self, "categories", self.categories or ("",) * len(self.example_ids))

    @classmethod
    def from_outputs(cls, outputs: Sequence[TranslationOutput]) -> "Translations":
        """Build translations from the outputs of a model."""
        return cls(
            tuple(output.example_id for output in outputs),
            tuple(output.output for output in outputs),
            tuple(output.reference for output in outputs),
            tuple(output.prompt for output in outputs),
            clusters_of(outputs),
            tuple(output.category for output in outputs),
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[object]]) -> "Translations":
        """Build translations from stored rows, given as columns."""
        keys = ("example_id", "output", "reference", "prompt", "cluster", "category")
        measured = {name: np.asarray(values, float) for name, values in columns.items() if name not in cls.own_schema}
        return cls(*(tuple(map(str, columns.get(key, ()))) for key in keys), measures=measured)

    @property
    def schema(self) -> dict[str, str]:
        """The columns to store and their types."""
        return {**self.own_schema, **dict.fromkeys(self.measures, "double")}

    def columns(self) -> dict[str, Sequence[object]]:
        """The rows to store; see `TRANSLATION_SCHEMA`."""
        values = (self.example_ids, self.prompts, self.outputs, self.references, self.clusters, self.categories)
        measured = {name: column.tolist() for name, column in self.measures.items()}
        return {**{key: list(column) for key, column in zip(TRANSLATION_SCHEMA, values, strict=True)}, **measured}

    def measured(self, name: str) -> Array:
        """Return [n] a measure of each reference."""
        return self.measures[name]

    def with_measures(self, references: PreparedTask, scores: ItemScores) -> "Translations":
        """Return the same translations with what was measured of their references: 0 for those that were left out.

        Args:
            references: of `prepare_references`.
        """
        row_of = {name: row for row, name in enumerate(self.example_ids)}
        rows = [row_of[item.example_id] for item in references.items]
        measures = {}
        for name, values in {**scores.measures, "n_tokens": scores.likelihoods.n_whole}.items():
            measures[name] = np.zeros(len(row_of))
            measures[name][rows] = values
        return replace(self, measures=measures)

    @property
    def matches(self) -> tuple[bool, ...]:
        """Whether each output equals its reference."""
        pairs = zip(self.outputs, self.references, strict=True)
        return tuple(output.strip() == reference.strip() for output, reference in pairs)

    @property
    def item_keys(self) -> tuple[tuple[str, int], ...]:
        """Id of each sentence, with 0: it has no candidates."""
        return tuple((name, 0) for name in self.example_ids)

    def select(self, example_ids: frozenset[str]) -> "Translations":
        """Return the sentences with the given ids, in their order."""
        kept = [index for index, name in enumerate(self.example_ids) if name in example_ids]
        columns = {key: [values[index] for index in kept if values] for key, values in self.columns().items()}
        return self.from_columns(columns)

    def with_groups(self, groups: Mapping[str, ItemGroup]) -> "Translations":
        """Return the same translations with other clusters and categories, as `Predictions.with_groups`."""
        clusters = tuple(groups[name].cluster or name for name in self.example_ids)
        return replace(self, clusters=clusters, categories=tuple(groups[name].category for name in self.example_ids))


def translation_prompts(
    items: Sequence[TranslationItem], shots: Sequence[Shot], *, source: str, target: str, end: str
) -> list[str]:
    """Prompts: the shots, then `"{Source}: {x}" E "{Target}:"` without a space at the end."""
    shown = "".join(format_labelled(source, x, end) + format_labelled(target, y, end) for x, y in shots)
    return [f"{shown}{format_labelled(source, item.source, end)}{language_label(target)}:" for item in items]


def chat_prompts(
    items: Sequence[TranslationItem], shots: Sequence[Shot], *, source: str, target: str, chat: ChatTemplate
) -> list[str]:
    """The same prompts as a chat: the sentence is the user's turn, and `"{Target}:"` begins the assistant's."""
    sides = [(format_labelled(source, x, ""), format_labelled(target, y, "")) for x, y in shots]
    shown = [turn.strip() for pair in sides for turn in pair]
    asked = (format_labelled(source, item.source, "").strip() for item in items)
    return [chat.open_chat([*shown, turn, f"{language_label(target)}:"]).text for turn in asked]


def prepare_translation(
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[TranslationItem],
    limits: TextLimits,
    *,
    shots: Sequence[Shot],
    pair: tuple[str, str],
    chat: ChatTemplate | None = None,
) -> PreparedTranslation:
    """Build and tokenise the prompts, and divide them into batches of similar length.

    Args:
        limits: a prompt has to leave room for the new tokens. If its start is cut off, a special token there stays.
        shots: (source, target) sentences that are not under evaluation.
        pair: source and target language.
        chat: writes each prompt as a chat.
    Raises:
        ModelError: the tokenizer has no end-of-sequence token.
        TaskFileError: a prompt leaves no room for the new tokens, if that is refused; or no prompt is left.
    """
    source, target = pair
    if chat is None:
        end = end_of_sequence(tokenizer)
        prompts = translation_prompts(items, shots, source=source, target=target, end=end)
    else:
        prompts = chat_prompts(items, shots, source=source, target=target, chat=chat)
    return prepare_prompts(tokenizer, items, prompts, limits=limits, chat=chat)


def prepare_references(
    tokenizer: "PreTrainedTokenizerBase",
    prepared: PreparedTranslation,
    limits: TextLimits,
    *,
    between: str,
    chat: ChatTemplate | None = None,
) -> PreparedTask:
    """Tokenise each prompt with its reference, or its first accepted answer, whose tokens alone are scored.

    Args:
        limits: without new tokens.
        between: text between prompt and reference.
        chat: in which the prompts are written.
    Raises:
        TaskFileError: a prompt with its reference is too long, if that is refused; or none is left.
    """
    pairs = zip(prepared.items, prepared.prompts, strict=True)
    texts = ((item, prompt + between, item.reference.partition("\n")[0].strip()) for item, prompt in pairs)
    items = [choice_item(item.example_id, [text], context=given, parts=[text], gold=0) for item, given, text in texts]
    return prepare(tokenizer, items, limits, chat=chat, are_written=True)


def end_of_sequence(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the end-of-sequence token.

    Raises:
        ModelError: the tokenizer has none.
    """
    if tokenizer.eos_token is None:
        raise ModelError("the tokenizer has no end-of-sequence token", expected="an eos_token", got=None)
    return str(tokenizer.eos_token)


def prepare_prompts(
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[TranslationItem],
    prompts: Sequence[str],
    *,
    limits: TextLimits,
    chat: ChatTemplate | None,
    stops: tuple[str, ...] = (),
) -> PreparedTranslation:
    """Tokenise the prompt of each item, and divide the prompts into batches of similar length; see above.

    Args:
        chat: the template in which the prompts are written; it has the special tokens.
        stops: texts before which an output ends.
    """
    end_of_sequence(tokenizer)
    max_positions, max_new_tokens, longer = limits.max_positions, limits.max_new_tokens, limits.longer
    encode = partial(tokenizer, truncation=False, verbose=False, add_special_tokens=chat is None)
    token_ids = tuple(tuple(encode(prompt)["input_ids"]) for prompt in prompts)
    if max_positions is not None and max_new_tokens >= max_positions:
        message, expected = "an answer leaves no room for a prompt", f"fewer than the model's {max_positions} positions"
        raise TaskFileError(message, key="max_new_tokens", expected=expected, got=max_new_tokens)
    room = None if max_positions is None else max_positions - max_new_tokens
    longer_ids: tuple[str, ...] = ()
    if room is not None:
        longer_ids = tuple(item.example_id for item, ids in zip(items, token_ids, strict=True) if len(ids) > room)
    if room is not None and longer_ids:
        if longer == "refuse" or room < 2:
            n = next(len(ids) for ids in token_ids if len(ids) > room)
            expected = f"at most {room} tokens"
            context = {"example": longer_ids[0], "expected": expected, "got": n, "max_new_tokens": max_new_tokens}
            raise TaskFileError("a prompt is too long", context)
        if longer == "skip":
            items, prompts, token_ids = _that_fit(items, prompts, token_ids, room=room)
        else:
            special = tuple(tokenizer("")["input_ids"])[:1]
            token_ids = tuple(_cut_left(ids, special, room) for ids in token_ids)
    batches = decoding_batches([len(tokens) + max_new_tokens for tokens in token_ids], limits.batch_tokens)
    stop_id = None if chat is None else chat.stop_id
    return PreparedTranslation(
        tuple(items), tuple(prompts), token_ids, batches, max_new_tokens, longer_ids, stop_id, stops
    )


def _that_fit(
    items: Sequence[TranslationItem], prompts: Sequence[str], token_ids: Sequence[tuple[int, ...]], *, room: int
) -> tuple[list[TranslationItem], list[str], tuple[tuple[int, ...], ...]]:
    """Return the items, prompts and tokens of the prompts that fit.

    Raises:
        TaskFileError: none does.
    """
    rows = [row for row in zip(items, prompts, token_ids, strict=True) if len(row[2]) <= room]
    if not rows:
        raise TaskFileError("every prompt is too long", expected=f"one of at most {room} tokens", got=len(items))
    return [item for item, _, _ in rows], [prompt for _, prompt, _ in rows], tuple(ids for _, _, ids in rows)


def _cut_left(ids: tuple[int, ...], special: tuple[int, ...], room: int) -> tuple[int, ...]:
    """Return the last tokens of a prompt that fit, after the special token at its start, if it has one."""
    if len(ids) <= room:
        return ids
    n_special = len(special) if ids[: len(special)] == special else 0
    return (*ids[:n_special], *ids[len(ids) - (room - n_special) :])


def run_translation(
    chain: Chain, tokenizer: "PreTrainedTokenizerBase", prepared: PreparedTranslation
) -> tuple[TranslationOutput, ...]:
    """Decode greedily up to the end-of-sequence token with the current model of the chain, and strip the outputs.

    An output also ends before the `stop_id` of the prompts, and before the first of their `stops`.
    """
    end_id = int(tokenizer.eos_token_id)
    stop_id = end_id if prepared.stop_id is None else prepared.stop_id
    n_last = max((len(stop.encode()) for stop in prepared.stops), default=0) + MORE_TOKENS

    def cut(text: str) -> str:
        places = [place for stop in prepared.stops if (place := text.lstrip().find(stop)) >= 0]
        return text.lstrip()[: min(places)] if places else text

    def ends(tokens: Sequence[int]) -> bool:
        if tokens[-1] == end_id or not prepared.stops:
            return tokens[-1] == end_id
        text = tokenizer.decode(tokens[-n_last:], skip_special_tokens=True)
        return any(stop in (text if len(tokens) > n_last else text.lstrip()) for stop in prepared.stops)

    pad_id = end_id if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
    stopping = StoppingCriteria(prepared.max_new_tokens, stop_id, ends)
    decoded = decode(chain, prepared.token_ids, stopping, pad_id=pad_id, batches=prepared.batches)
    texts = [cut(tokenizer.decode(tokens, skip_special_tokens=True)).strip() for tokens in decoded]
    return tuple(
        TranslationOutput(item.example_id, prompt, text, item.reference, item.cluster, item.category)
        for item, prompt, text in zip(prepared.items, prepared.prompts, texts, strict=True)
    )


def decoding_batches(lengths: Sequence[int], batch_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Divide the indices of prompts, longest first, into batches that are decoded together.

    Args:
        lengths: tokens of each prompt, including its new tokens.
        batch_tokens: most tokens of a batch, padded to its first prompt; a single prompt may exceed it.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return tuple(tuple(batch) for batch in batches)
