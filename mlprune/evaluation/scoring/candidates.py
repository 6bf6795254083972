"""Scores of texts and candidates: prepare batches of the items once, then score every variant.

Log-probabilities of texts: run batches through a chain and return the scores of each text's tokens.

The step `evaluate` and the adapter of lm-evaluation-harness both score texts with this module.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlprune.corpus.chat import ChatTemplate, split_answer
from mlprune.errors import CorpusError, ModelError, TaskFileError, work_context
from mlprune.evaluation.scoring.batches import ScoredText, TextBatch, TextLimits, plan_texts
from mlprune.evaluation.scoring.predictions import RULES, ItemScores, Likelihoods
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.models.chain import Chain
from mlprune.models.inference.prefix_scoring import PrefixVisitor, ScoringVisitor, SkippingVisitor
from mlprune.models.inference.visitor import ChainItem
from mlprune.numeric.log_probs import TargetScores
from mlprune.processes.job_parts import finished_parts
from mlprune.vocabulary import RuleName

Scores = TypeVar("Scores")
Tokens = tuple[int, ...]
N_NOTED = 5
"""Items of a batch that the note of an error names."""
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TextScores:
    """Log-probabilities of the scored tokens of some texts, text after text."""

    texts: tuple[int, ...]
    starts: NDArray[np.int64]
    """[n_texts], ascending from 0: index of each text's first token."""
    log_probs: NDArray[np.float64]
    """[k] log-probability of each token given all tokens before it."""
    is_likeliest: NDArray[np.bool_]
    """[k] whether no other token is likelier at its position."""
    measures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Name -> [k] what else was measured at each token."""

    @property
    def log_likelihoods(self) -> NDArray[np.float64]:
        """[n_texts] sums over the scored tokens of each text."""
        return np.add.reduceat(self.log_probs, self.starts)

    def log_likelihoods_from(self, firsts: NDArray[np.int64]) -> NDArray[np.float64]:
        """[n_texts] sums that begin with scored token `firsts` of each text, counted from 0."""
        bounds = np.stack([self.starts + firsts, self.starts + self.n_tokens], axis=1).ravel()[:-1]
        return np.add.reduceat(self.log_probs, bounds)[::2]

    @property
    def n_tokens(self) -> NDArray[np.int64]:
        """[n_texts] scored tokens of each text."""
        return np.diff(self.starts, append=self.log_probs.size)

    @property
    def is_greedy(self) -> NDArray[np.bool_]:
        """[n_texts] whether greedy decoding gives all scored tokens of a text."""
        return np.logical_and.reduceat(self.is_likeliest, self.starts)


@dataclass(frozen=True)
class Measures:
    """What an evaluation measures of texts in addition to their log-likelihoods."""

    visitor: Callable[..., PrefixVisitor[TargetScores]]
    """Picklable; called with an item and `keeps_states`. Its scores have the measures of each target."""
    item: Callable[[TextBatch], ChainItem]
    """Returns what the visitor of a batch reads."""
    of_texts: Mapping[str, NDArray[np.float64]]
    """Name -> [texts] values that do not depend on the model."""


PLAIN = Measures(ScoringVisitor, attrgetter("batch"), {})
"""Nothing but log-likelihoods."""


def score_texts(
    chain: Chain, batches: Iterable[TextBatch], *, keeps_states: bool = False, measures: Measures = PLAIN
) -> Iterator[TextScores]:
    """Score batches, in order, with the current model of the chain.

    Args:
        keeps_states: whether other variants score the same batches later; they reuse what does not change.
    """
    plan = list(batches)
    results = chain.stream(partial(measures.visitor, keeps_states=keeps_states), map(measures.item, plan))
    finished = finished_parts("batch", len(plan), results)
    yield from map(_text_scores, plan, finished)


def score_without_blocks(
    chain: Chain, batches: Iterable[TextBatch], lacks: Sequence[frozenset[int]], *, measures: Measures = PLAIN
) -> Iterator[tuple[TextScores, ...]]:
    """Score batches, in order, with several models that each lack some blocks; see `SkippingVisitor`.

    Args:
        chain: its current model has all blocks.
        lacks: the blocks that each model lacks.
    Yields: the scores of each model.
    """
    plan = list(batches)
    operation = partial(_skipping_visitor, visitor=measures.visitor, lacks=tuple(lacks))
    finished = finished_parts("batch", len(plan), chain.stream(operation, map(measures.item, plan)))
    for planned, of_models in zip(plan, finished, strict=True):
        yield tuple(_text_scores(planned, scores) for scores in of_models)


def _skipping_visitor(
    item: ChainItem, *, visitor: Callable[..., PrefixVisitor[TargetScores]], lacks: tuple[frozenset[int], ...]
) -> SkippingVisitor[TargetScores]:
    return SkippingVisitor(visitor(item, keeps_states=True), lacks)


def _text_scores(planned: TextBatch, scores: TargetScores) -> TextScores:
    measured = {name: values.numpy() for name, values in scores.measures.items()}
    return TextScores(planned.texts, planned.starts, scores.log_probs.numpy(), scores.is_greedy.numpy(), measured)


@dataclass(frozen=True)
class PreparedTask:
    """Items as batches, which all variants share. Texts are numbered item after item."""

    items: tuple[ChoiceItem, ...]
    texts: tuple[ScoredText, ...]
    """Tokens of each candidate's text, special ones included; all but the first are scored, in a chat the last turn."""
    first_tokens: NDArray[np.int64]
    """[texts] index of the first scored token of the candidate part, >= 1."""
    batches: tuple[TextBatch, ...]
    start_token: int | None
    """Token before a candidate part without its context; None if the tokenizer has no such token."""
    limits: TextLimits
    longer_ids: tuple[str, ...] = ()
    """Ids of the items with a text that is longer than the model, which are left out or whose texts are cut."""

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """[n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1."""
        sizes = [len(item.texts) for item in self.items]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)

    @cached_property
    def batches_alone(self) -> tuple[TextBatch, ...]:
        """Batches of the candidate parts after only the start token.

        The tokens are those of the whole texts, so that both scores are of the same tokens.

        Raises:
            ModelError: the tokenizer has no start token.
        """
        start = self.start_token
        if start is None:
            message = "the tokenizer has no start token"
            raise ModelError(message, expected="a bos_token or eos_token", got=None)
        parts = zip(self.texts, self.first_tokens.tolist(), strict=True)
        alone = [ScoredText((start, *text.tokens[first:]), 1) for text, first in parts]
        return _planned(alone, self.limits)


def prepare(
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[ChoiceItem],
    limits: TextLimits,
    *,
    chat: ChatTemplate | None = None,
    are_written: bool = False,
) -> PreparedTask:
    """Tokenise whole texts with the tokenizer's default special tokens, and plan their batches.

    The candidate part begins with the first token that contains one of its characters.

    Args:
        limits: without new tokens; see `_without` and `_cut_left` for items with a text that does not fit.
        chat: writes each text as a chat, in which only the assistant's turn, the candidate part, is scored.
        are_written: whether the texts are prompts with answers, of a chat its whole text; only the answers are scored.
    Raises:
        TaskFileError: a text has fewer than two tokens, or more than `max_positions` if that is refused; or no item is
            left; or a text of a chat has nothing before its candidate part.
        ModelError: the tokenizer gives no character offsets, and candidates begin within texts.
    """
    texts_of = items if chat is None or are_written else _as_chats(items, chat)
    token_ids, first_tokens = _tokenised(tokenizer, texts_of, chat=chat)
    longer_ids: tuple[str, ...] = ()
    longer, max_positions = limits.longer, limits.max_positions
    if longer != "refuse" and max_positions is not None:
        longer_ids = _longer_ids(items, token_ids, max_positions)
    if longer_ids and longer == "skip":
        items, token_ids, first_tokens = _without(longer_ids, items, token_ids, first_tokens)
    elif longer_ids and max_positions is not None:
        special = tuple(tokenizer("")["input_ids"])
        _cut_left(items, token_ids, first_tokens, special=special, max_positions=max_positions)
    _check_lengths(items, token_ids, max_positions=max_positions)
    n_given = first_tokens if are_written or chat is not None else [1] * len(token_ids)
    texts = tuple(ScoredText(tokens, n) for tokens, n in zip(token_ids, n_given, strict=True))
    return PreparedTask(
        tuple(items),
        texts,
        np.array(first_tokens, dtype=np.int64),
        batches=_planned(texts, limits),
        start_token=_start_token(tokenizer),
        limits=limits,
        longer_ids=longer_ids,
    )


def _planned(texts: Sequence[ScoredText], limits: TextLimits) -> tuple[TextBatch, ...]:
    tokens, device = limits.batch_tokens, limits.device
    return tuple(plan_texts(texts, batch_tokens=tokens, device=device, whole_texts=limits.whole_texts))


def _text_ranges(items: Sequence[ChoiceItem]) -> Iterator[tuple[ChoiceItem, range]]:
    """Yield each item with the numbers of its texts."""
    first = 0
    for item in items:
        yield item, range(first, first + len(item.texts))
        first += len(item.texts)


def _longer_ids(items: Sequence[ChoiceItem], token_ids: Sequence[Tokens], max_positions: int) -> tuple[str, ...]:
    """Return the ids of the items with a text of more tokens than the model has positions."""
    return tuple(
        item.example_id
        for item, numbers in _text_ranges(items)
        if any(len(token_ids[number]) > max_positions for number in numbers)
    )


def _without(
    left_out: Sequence[str], items: Sequence[ChoiceItem], token_ids: Sequence[Tokens], first_tokens: Sequence[int]
) -> tuple[list[ChoiceItem], list[Tokens], list[int]]:
    """Leave out items, with all of their texts.

    Raises:
        TaskFileError: no item is left.
    """
    ids = set(left_out)
    kept = [(item, numbers) for item, numbers in _text_ranges(items) if item.example_id not in ids]
    if not kept:
        raise TaskFileError("every item is longer than the model", expected="at least one item that fits", got=len(ids))
    numbers = [number for _, of_item in kept for number in of_item]
    return [item for item, _ in kept], [token_ids[number] for number in numbers], [first_tokens[n] for n in numbers]


def _cut_left(
    items: Sequence[ChoiceItem],
    token_ids: list[Tokens],
    first_tokens: list[int],
    *,
    special: Tokens,
    max_positions: int,
) -> None:
    """Cut tokens from the start of the texts of each item that is longer than the model; special tokens there stay.

    All texts of an item lose the same number of tokens, so that they still share their context, as far as the context
    reaches. A text that is then still too long loses the start of its candidate part, too.
    """
    for _, numbers in _text_ranges(items):
        excess = max(len(token_ids[number]) for number in numbers) - max_positions
        if excess <= 0:
            continue
        n_special = {number: int(token_ids[number][:1] == special[:1] != ()) for number in numbers}
        n_shared = min(excess, *(max(0, first_tokens[number] - max(1, n_special[number])) for number in numbers))
        for number in numbers:
            tokens, begin = token_ids[number], n_special[number]
            n_cut = max(n_shared, len(tokens) - max_positions)
            token_ids[number] = (*tokens[:begin], *tokens[begin + n_cut :])
            first_tokens[number] = max(1, first_tokens[number] - n_cut)


def _as_chats(items: Sequence[ChoiceItem], chat: ChatTemplate) -> list[ChoiceItem]:
    """Return the items as chats: what is before the candidate part is the user's turn, the part the assistant's.

    Raises:
        TaskFileError: nothing is before a candidate part.
    """
    written = []
    for item in items:
        try:
            starts = item.starts or (0,) * len(item.texts)
            chats = [chat.open_chat(split_answer(text, start)) for text, start in zip(item.texts, starts, strict=True)]
        except CorpusError as err:
            raise TaskFileError(err.message, {"example": item.example_id, **err.context}) from err
        texts, starts = tuple(one.text for one in chats), tuple(one.start for one in chats)
        written.append(replace(item, texts=texts, starts=starts))
    return written


def _tokenised(
    tokenizer: "PreTrainedTokenizerBase", items: Sequence[ChoiceItem], *, chat: ChatTemplate | None
) -> tuple[list[Tokens], list[int]]:
    """Return the tokens of every text, and the index of the first one of its candidate part."""
    texts = [text for item in items for text in item.texts]
    if not texts:
        return [], []
    starts = [start for item in items for start in item.starts or (0,) * len(item.texts)]
    has_parts = any(start > 0 for start in starts)
    if has_parts and not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer gives no character offsets", expected="a tokenizer.json", got="a slow tokenizer"
        )
    encoded = tokenizer(
        texts, truncation=False, verbose=False, add_special_tokens=chat is None, return_offsets_mapping=has_parts
    )
    token_ids = [tuple(tokens) for tokens in encoded["input_ids"]]
    if not has_parts:
        return token_ids, [1] * len(texts)
    return token_ids, [_first_token(*pair) for pair in zip(encoded["offset_mapping"], starts, strict=True)]


def _check_lengths(items: Sequence[ChoiceItem], token_ids: Sequence[Tokens], *, max_positions: int | None) -> None:
    names = ((item.example_id, index) for item in items for index in range(len(item.texts)))
    for (name, index), tokens in zip(names, token_ids, strict=True):
        if len(tokens) < 2:
            message, expected = "a text is too short to score", "at least 2 tokens"
        elif max_positions is not None and len(tokens) > max_positions:
            message, expected = "a text is longer than the model's positions", f"at most {max_positions} tokens"
        else:
            continue
        raise TaskFileError(message, example=name, candidate=index, expected=expected, got=len(tokens))


def _first_token(offsets: Sequence[tuple[int, int]], start: int) -> int:
    """Index of the first token with a character at or after `start`; at least 1, since token 0 is not scored."""
    last = len(offsets) - 1
    return max(1, next((index for index, (begin, end) in enumerate(offsets) if end > max(begin, start)), last))


def _start_token(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """First token of an empty text, else the beginning-of-sequence token, else the end-of-sequence token."""
    candidates = [*tokenizer("")["input_ids"], tokenizer.bos_token_id, tokenizer.eos_token_id]
    return next((int(token) for token in candidates if token is not None), None)


def run(chain: Chain, prepared: PreparedTask, *, measures: Measures = PLAIN) -> ItemScores:
    """Score all candidates with the current model of the chain."""
    results = score_texts(chain, prepared.batches, keeps_states=True, measures=measures)
    return _collected(prepared, _noted(prepared, prepared.batches, results), measures=measures)


def run_without_blocks(
    chain: Chain,
    prepared: PreparedTask,
    rules: Iterable[RuleName],
    *,
    lacks: Sequence[frozenset[int]],
    measures: Measures = PLAIN,
) -> list[ItemScores]:
    """Score all candidates with several models that each lack some blocks, with `alone` if one of the rules reads it.

    Args:
        chain: its current model has all blocks.
        lacks: the blocks that each model lacks.
    """

    def scored(batches: Sequence[TextBatch], *, measures: Measures) -> list[tuple[TextScores, ...]]:
        results = score_without_blocks(chain, batches, lacks, measures=measures)
        return list(zip(*_noted(prepared, batches, results), strict=True))

    whole = scored(prepared.batches, measures=measures)
    of_models = [_collected(prepared, results, measures=measures) for results in whole]
    if not any(RULES[rule].needs_alone for rule in rules):
        return of_models
    alone = scored(prepared.batches_alone, measures=PLAIN)
    return [one.with_alone(_alone(prepared, results)) for one, results in zip(of_models, alone, strict=True)]


def _collected(prepared: PreparedTask, results: Iterable[TextScores], *, measures: Measures) -> ItemScores:
    """Return the scores of all items from those of the batches."""
    n_rows = len(prepared.texts)
    whole, part, alone = np.full((3, n_rows), np.nan)
    measured = dict(measures.of_texts)
    n_context = np.array([text.n_context for text in prepared.texts], dtype=np.int64)
    n_tokens = np.array([len(text.tokens) for text in prepared.texts], dtype=np.int64)
    for scored in results:
        rows = list(scored.texts)
        whole[rows] = scored.log_likelihoods
        for name, values in scored.measures.items():
            measured.setdefault(name, np.full(n_rows, np.nan))[rows] = np.add.reduceat(values, scored.starts)
        part[rows] = scored.log_likelihoods_from(prepared.first_tokens[rows] - n_context[rows])
    n_part = n_tokens - prepared.first_tokens
    return ItemScores(prepared.starts, Likelihoods(whole, n_tokens - n_context, part, n_part, alone), measured)


def _noted(prepared: PreparedTask, batches: Sequence[TextBatch], results: Iterable[Scores]) -> Iterator[Scores]:
    """Yield the results of batches; an error gets a note with the items of the first batch without a result."""
    n_done = 0

    def describe() -> str:
        texts = np.array(batches[min(n_done, len(batches) - 1)].texts)
        numbers = dict.fromkeys((np.searchsorted(prepared.starts, texts, side="right") - 1).tolist())
        names = [prepared.items[number].example_id for number in numbers]
        more = f" and {len(names) - N_NOTED} more" if len(names) > N_NOTED else ""
        return f"batch {n_done + 1} of {len(batches)}, with items {', '.join(names[:N_NOTED])}{more}"

    with work_context(describe):
        for scored in results:
            yield scored
            n_done += 1


def run_with_rules(
    chain: Chain, prepared: PreparedTask, rules: Iterable[RuleName], *, measures: Measures = PLAIN
) -> ItemScores:
    """Score all candidates, with `alone` if one of the rules reads it."""
    scores = run(chain, prepared, measures=measures)
    return scores.with_alone(run_alone(chain, prepared)) if any(RULES[rule].needs_alone for rule in rules) else scores


def run_alone(chain: Chain, prepared: PreparedTask) -> NDArray[np.float64]:
    """[rows] log-likelihoods of the scored tokens of each candidate part given only a start token.

    Raises:
        ModelError: the tokenizer has no start token.
    """
    batches = prepared.batches_alone
    return _alone(prepared, _noted(prepared, batches, score_texts(chain, batches, keeps_states=True)))


def _alone(prepared: PreparedTask, results: Iterable[TextScores]) -> NDArray[np.float64]:
    alone = np.full(len(prepared.texts), np.nan)
    for scored in results:
        alone[list(scored.texts)] = scored.log_likelihoods
    return alone


def score_items(
    chain: Chain,
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[ChoiceItem],
    limits: TextLimits,
) -> ItemScores:
    """Prepare and run items that are scored only once."""
    return run(chain, prepare(tokenizer, items, limits))
