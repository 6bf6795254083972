"""lm-evaluation-harness on one of our chains: its requests answered by our own scoring and decoding.

The harness (Gao et al., github.com/EleutherAI/lm-evaluation-harness) turns documents into requests and answers into
metrics; a model class only answers. Texts are cut into tokens exactly as the harness's own class for Hugging Face
models does it, so that both answer the same question. How they are scored is ours: shared beginnings run once
(`text_scores.py`). Loading and running its tasks is `harness_tasks.py`. The one module tree that imports the harness is
this package; it is an optional dependency (`pip install "mlprune[harness]"`).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from mlprune.errors import BadInputError, TaskFileError
from mlprune.evaluation.scoring.batches import TextBatch, plan_texts
from mlprune.evaluation.scoring.prefix_tree import ScoredText
from mlprune.evaluation.scoring.text_scores import score_texts
from mlprune.models.chain import Chain
from mlprune.models.inference.decoding import greedy_decode

DEFAULT_POSITIONS = 2048
"""Longest text where neither model nor tokenizer sets a bound, as in the harness."""
DEFAULT_NEW_TOKENS = 256
"""Most new tokens where a task does not say, as in the harness."""
UNBOUNDED = 10**12
"""Above this a tokenizer's length means that it has none."""

Answer = tuple[float, bool]
"""(log-likelihood, whether greedy decoding gives exactly this)."""


class ChainModel(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """The model that a chain holds now, as the harness sees it.

    Plans of the requests seen last are kept, one of each kind: the next variant is asked the same.

    Args:
        chain: the model; its masks may change between two calls.
        tokenizer: of the base model.
        max_positions: positions of the model, None if it sets no bound.
        batch_tokens: most tokens that are run together.
    """

    def __init__(self, chain: Chain, tokenizer: Any, *, max_positions: int | None, batch_tokens: int) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._chain = chain
        self._batch_tokens = batch_tokens
        self.max_length = max_positions or _tokenizer_length(tokenizer)
        self._plans: dict[str, tuple[Hashable, Any]] = {}

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: the token that begins a text, where the tokenizer has one."""
        begins = self.tokenizer.bos_token_id
        return self.eot_token_id if begins is None else int(begins)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokens of a text; special ones as the tokenizer adds them, unless told or the text begins with one."""
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        if add_special_tokens is None and string.startswith(self.tokenizer.decode(self.prefix_token_id)):
            options["add_special_tokens"] = False
        return list(self.tokenizer.encode(string, **options))

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[Answer]:
        """Log-likelihood of each continuation after its context, and whether greedy decoding gives it.

        Raises:
            TaskFileError: a continuation has no token, or more than the model has positions.
        """
        asked = [request.args for request in requests]
        batches = self._planned("loglikelihood", asked, lambda: self._texts(asked))
        return self._answers(batches, len(asked))

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[Answer]:
        """The same for requests that are tokens already: (anything, context, continuation)."""
        texts = [self._text(context, continuation) for _, context, continuation in requests]
        return self._answers(plan_texts(texts, batch_tokens=self._batch_tokens), len(texts))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each whole text; one that is too long is cut into windows, each token scored once."""
        asked = [request.args for request in requests]
        windows = [self._windows(text) for (text,) in asked]
        texts = [window for found in windows for window in found]
        batches = self._planned("loglikelihood_rolling", asked, lambda: texts)
        answers = iter(self._answers(batches, len(texts)))
        return [sum(next(answers)[0] for _ in found) for found in windows]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """What greedy decoding appends to each context, up to the first stop sequence.

        Raises:
            BadInputError: a task asks for samples or beams instead of the likeliest text, or for more new tokens than
                the model has positions.
        """
        outputs: dict[int, str] = {}
        by_options: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            by_options.setdefault(repr(sorted(request.args[1].items())), []).append(place)
        for places in by_options.values():
            options = _greedy_options(requests[places[0]].args[1])
            prompts = [self._prompt(requests[place].args[0], options["max_gen_toks"]) for place in places]
            outputs |= dict(zip(places, self._decoded(prompts, options), strict=True))
        return [outputs[place] for place in range(len(requests))]

    def _planned(self, kind: str, asked: Sequence[Any], texts: Callable[[], list[ScoredText]]) -> list[TextBatch]:
        """The batches of some requests, planned where they are not those of the last time."""
        key = tuple(asked)
        if kind not in self._plans or self._plans[kind][0] != key:
            self._plans[kind] = key, plan_texts(texts(), batch_tokens=self._batch_tokens)
        plan: list[TextBatch] = self._plans[kind][1]
        return plan

    def _texts(self, asked: Sequence[tuple[str, str]]) -> list[ScoredText]:
        return [self._text(*self._pair(context, continuation)) for context, continuation in asked]

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of context and continuation; an empty context is the token that begins a text."""
        if context:
            pair: tuple[list[int], list[int]] = self._encode_pair(context, continuation)
            return pair
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens and tokens[0] == self.prefix_token_id:
            return tokens[:1], tokens[1:]
        return [self.prefix_token_id], tokens

    def _text(self, context: Sequence[int], continuation: Sequence[int]) -> ScoredText:
        """A text to score; the beginning of a context that is too long is left out, as the harness does."""
        if not continuation or not context or len(continuation) > self.max_length:
            expected = f"a context, and 1 to {self.max_length} tokens behind it"
            got = (len(context), len(continuation))
            raise TaskFileError("a request of the harness cannot be scored", expected=expected, got=got)
        tokens = (*context, *continuation)[-(self.max_length + 1) :]
        return ScoredText(tokens, len(tokens) - len(continuation))

    def _windows(self, text: str) -> list[ScoredText]:
        """A text in windows of the model's length, the harness's own."""
        pairs = get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [self._text(*make_disjoint_window(pair)) for pair in pairs]

    def _answers(self, batches: Sequence[TextBatch], n_texts: int) -> list[Answer]:
        answers: list[Answer] = [(0.0, False)] * n_texts
        for scored in score_texts(self._chain, batches):
            found = zip(scored.log_likelihoods.tolist(), scored.is_greedy.tolist(), strict=True)
            for text, answer in zip(scored.texts, found, strict=True):
                answers[text] = answer
        return answers

    def _prompt(self, context: str, max_new_tokens: int) -> list[int]:
        """Tokens of a prompt; the beginning of one that leaves no room is left out, as the harness does."""
        room = self.max_length - max_new_tokens
        if room < 1:
            expected = f"fewer than {self.max_length} new tokens"
            raise BadInputError(
                "a task asks for more new tokens than the model has", expected=expected, got=max_new_tokens
            )
        begins = self.tokenizer.bos_token
        tokens = self.tok_encode(context, add_special_tokens=False if begins and context.startswith(begins) else None)
        return tokens[-room:]

    def _decoded_together(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        """Places of prompts of similar length, long ones first, as many as fit a batch."""
        batches: list[list[int]] = []
        for place in sorted(range(len(prompts)), key=lambda place: (-len(prompts[place]), place)):
            longest = len(prompts[batches[-1][0]]) + max_new_tokens if batches else 0
            if batches and (len(batches[-1]) + 1) * longest <= self._batch_tokens:
                batches[-1].append(place)
            else:
                batches.append([place])
        return batches

    def _decoded(self, prompts: Sequence[Sequence[int]], options: dict[str, Any]) -> list[str]:
        stops = [stop for stop in (*options["until"], self.tokenizer.decode(self.eot_token_id)) if stop]

        def text_of(tokens: Sequence[int]) -> str:
            return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

        decoded = greedy_decode(
            self._chain,
            prompts,
            max_new_tokens=options["max_gen_toks"],
            stop_id=self.eot_token_id,
            pad_id=self.eot_token_id if self.tokenizer.pad_token_id is None else int(self.tokenizer.pad_token_id),
            ends=lambda tokens: any(stop in text_of(tokens) for stop in stops),
            batches=self._decoded_together(prompts, options["max_gen_toks"]),
        )
        return [_cut(text_of(tokens), stops) for tokens in decoded]


def _greedy_options(asked: dict[str, Any]) -> dict[str, Any]:
    """What a task says of decoding, its aliases resolved by the harness.

    Raises:
        BadInputError: it is not greedy.
    """
    options = dict(normalize_gen_kwargs(asked, DEFAULT_NEW_TOKENS))
    others = set(options) - {"until", "max_gen_toks", "do_sample", "temperature"}
    if options["do_sample"] or others:
        message = "a task asks for another decoding than the greedy one"
        raise BadInputError(message, expected="do_sample: false, until, max_gen_toks", got=asked)
    return options


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop sequence."""
    for stop in stops:
        text = text.split(stop, maxsplit=1)[0]
    return text


def _tokenizer_length(tokenizer: Any) -> int:
    length = getattr(tokenizer, "model_max_length", None)
    return DEFAULT_POSITIONS if length is None or length > UNBOUNDED else int(length)
