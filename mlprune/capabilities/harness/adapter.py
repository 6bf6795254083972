"""Model class of lm-evaluation-harness that answers its requests with a chain.

The harness (Gao et al., github.com/EleutherAI/lm-evaluation-harness) makes requests of documents, and metrics of
answers. Texts are tokenised exactly as by its class for Hugging Face models, and scored by this package, which runs
shared prefixes once. The harness is an optional dependency (`pip install -e ".[harness]"`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from mlprune.errors import BadInputError, TaskFileError
from mlprune.evaluation.scoring.batches import ScoredText, TextBatch, plan_texts
from mlprune.evaluation.scoring.candidates import score_texts
from mlprune.evaluation.scoring.translation import decoding_batches
from mlprune.models.chain import Chain
from mlprune.models.inference.decoding import StoppingCriteria, decode
from mlprune.vocabulary import DeviceName

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_POSITIONS = 2048
"""Largest number of tokens of a text if neither model nor tokenizer has a bound, as in the harness."""
DEFAULT_NEW_TOKENS = 256
"""Most new tokens if a task gives no number, as in the harness."""
UNBOUNDED = 10**12
"""A tokenizer with a larger length has no bound."""

Answer = tuple[float, bool]
"""(log-likelihood of a continuation, whether greedy decoding gives this continuation)."""


class ChainModel(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """The current model of a chain, as a model of the harness.

    The batches of the last requests of each kind are kept, since the next variant gets the same requests.

    Args:
        chain: the model; its masks may change between two calls.
        tokenizer: tokenizer of the base model.
        max_positions: positions of the model; None if it has no bound.
        batch_tokens: most tokens of a batch.
        device: kind of device that computes the batches.
        whole_texts: whether texts share no prefixes; see `Architecture.runs_whole_texts`.
    """

    def __init__(
        self,
        chain: Chain,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_positions: int | None,
        batch_tokens: int,
        device: DeviceName = "cpu",
        whole_texts: bool = False,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._chain = chain
        self._batch_tokens = batch_tokens
        self._plan = partial(plan_texts, batch_tokens=batch_tokens, device=device, whole_texts=whole_texts)
        self.max_length = max_positions or _tokenizer_length(tokenizer)
        self._plans: dict[str, tuple[Hashable, list[TextBatch]]] = {}

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token before a text without context: BOS if the tokenizer has it, otherwise EOS."""
        bos_token_id = self.tokenizer.bos_token_id
        return self.eot_token_id if bos_token_id is None else int(bos_token_id)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: object) -> list[int]:
        """Tokenise a text, by default with special tokens unless it already begins with one."""
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        if add_special_tokens is None and string.startswith(self.tokenizer.decode(self.prefix_token_id)):
            options["add_special_tokens"] = False
        return list(self.tokenizer.encode(string, **options))

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[Answer]:
        """Log-likelihood of each continuation after its context, and whether greedy decoding gives it.

        Raises:
            TaskFileError: a continuation has no token, or more than the model has positions.
        """
        pairs = [request.args for request in requests]
        batches = self._planned("loglikelihood", pairs, lambda: self._texts(pairs))
        return self._answers(batches, len(pairs))

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[object, Sequence[int], Sequence[int]]], **_: object
    ) -> list[Answer]:
        """Answer requests that are already tokenised: (anything, context, continuation)."""
        texts = [self._text(context, continuation) for _, context, continuation in requests]
        return self._answers(self._plan(texts), len(texts))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each whole text. Long texts are divided into windows, and each token is scored once."""
        texts = [request.args for request in requests]
        windows = [self._windows(text) for (text,) in texts]
        all_windows = [window for of_text in windows for window in of_text]
        batches = self._planned("loglikelihood_rolling", texts, lambda: all_windows)
        answers = iter(self._answers(batches, len(all_windows)))
        return [sum(next(answers)[0] for _ in of_text) for of_text in windows]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Continue each context by greedy decoding, up to the first stop sequence.

        Raises:
            BadInputError: a task asks for sampling or beam search, or for more new tokens than the model has positions.
        """
        outputs: dict[int, str] = {}
        by_options: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            by_options.setdefault(repr(sorted(request.args[1].items())), []).append(index)
        for indices in by_options.values():
            options = _greedy_options(requests[indices[0]].args[1])
            prompts = [self._prompt(requests[index].args[0], options.max_new_tokens) for index in indices]
            outputs |= dict(zip(indices, self._decoded(prompts, options), strict=True))
        return [outputs[index] for index in range(len(requests))]

    def _planned(
        self, kind: str, requests: Sequence[Hashable], texts: Callable[[], list[ScoredText]]
    ) -> list[TextBatch]:
        """Return the batches of some requests; those of the last equal requests are reused."""
        key = tuple(requests)
        if kind not in self._plans or self._plans[kind][0] != key:
            self._plans[kind] = key, self._plan(texts())
        return self._plans[kind][1]

    def _texts(self, pairs: Sequence[tuple[str, str]]) -> list[ScoredText]:
        return [self._text(*self._pair(context, continuation)) for context, continuation in pairs]

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokenise context and continuation; an empty context becomes the prefix token."""
        if context:
            pair: tuple[list[int], list[int]] = self._encode_pair(context, continuation)
            return pair
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens and tokens[0] == self.prefix_token_id:
            return tokens[:1], tokens[1:]
        return [self.prefix_token_id], tokens

    def _text(self, context: Sequence[int], continuation: Sequence[int]) -> ScoredText:
        """Build a text to score. A long context loses its beginning, as in the harness."""
        if not continuation or not context or len(continuation) > self.max_length:
            expected = f"a context, and 1 to {self.max_length} tokens after it"
            got = (len(context), len(continuation))
            raise TaskFileError("a request of the harness cannot be scored", expected=expected, got=got)
        tokens = (*context, *continuation)[-(self.max_length + 1) :]
        return ScoredText(tokens, len(tokens) - len(continuation))

    def _windows(self, text: str) -> list[ScoredText]:
        """Divide a text into windows of the model's length with the functions of the harness."""
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
            pairs = zip(scored.log_likelihoods.tolist(), scored.is_greedy.tolist(), strict=True)
            for text, answer in zip(scored.texts, pairs, strict=True):
                answers[text] = answer
        return answers

    def _prompt(self, context: str, max_new_tokens: int) -> list[int]:
        """Tokenise a prompt. A prompt that leaves no room for new tokens loses its beginning, as in the harness."""
        room = self.max_length - max_new_tokens
        if room < 1:
            expected = f"fewer than {self.max_length} new tokens"
            raise BadInputError(
                "a task asks for more new tokens than the model has", expected=expected, got=max_new_tokens
            )
        bos_token = self.tokenizer.bos_token
        has_bos = bool(bos_token) and context.startswith(str(bos_token))
        tokens = self.tok_encode(context, add_special_tokens=False if has_bos else None)
        return tokens[-room:]

    def _decoded(self, prompts: Sequence[Sequence[int]], options: "_GreedyOptions") -> list[str]:
        stops = [stop for stop in (*options.until, self.tokenizer.decode(self.eot_token_id)) if stop]

        def text_of(tokens: Sequence[int]) -> str:
            return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

        stopping = StoppingCriteria(
            options.max_new_tokens, self.eot_token_id, lambda tokens: any(stop in text_of(tokens) for stop in stops)
        )
        decoded = decode(
            self._chain,
            prompts,
            stopping,
            pad_id=self.eot_token_id if self.tokenizer.pad_token_id is None else int(self.tokenizer.pad_token_id),
            batches=decoding_batches([len(prompt) + options.max_new_tokens for prompt in prompts], self._batch_tokens),
        )
        return [_cut(text_of(tokens), stops) for tokens in decoded]


class _GreedyOptions(NamedTuple):
    """Options of greedy decoding."""

    until: Sequence[str]
    """Stop sequences."""
    max_new_tokens: int


def _greedy_options(requested: Mapping[str, object]) -> _GreedyOptions:
    """Parse the decoding options of a task; the harness resolves their aliases.

    Raises:
        BadInputError: the decoding is not greedy.
    """
    options = dict(normalize_gen_kwargs(dict(requested), DEFAULT_NEW_TOKENS))
    unsupported = set(options) - {"until", "max_gen_toks", "do_sample", "temperature"}
    if options["do_sample"] or unsupported:
        message = "a task asks for a decoding other than greedy"
        raise BadInputError(message, expected="do_sample: false, until, max_gen_toks", got=requested)
    return _GreedyOptions(options["until"], options["max_gen_toks"])


def _cut(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop sequence."""
    for stop in stops:
        text = text.split(stop, maxsplit=1)[0]
    return text


def _tokenizer_length(tokenizer: "PreTrainedTokenizerBase") -> int:
    length = getattr(tokenizer, "model_max_length", None)
    return DEFAULT_POSITIONS if length is None or length > UNBOUNDED else int(length)
