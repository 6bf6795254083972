"""Log-probabilities and draws of tokens, from an output head computed in pieces of the vocabulary.

Each hidden state is projected once, whatever its number of targets, and no full row of logits is in memory. On an
accelerator there are few large kernels and one wait for the device: the head multiplies thousands of states at a time,
and indices are sorted on the CPU and sent once, so no kernel has a result whose size the host must know. Any device
computes the same values; the CPU has a faster way.

torch multiplies float32 matrices on the CPU with MKL, which does not use the widest vector instructions of processors
of other makers. oneDNN, which torch ships for its compiler, is faster there (figures in `docs/running.md`). Other
dtypes, other devices and small weights use torch's own product. The oneDNN operation is not public; without it, results
are the same and only slower.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from mlprune.errors import BadInputError, ShapeError

MIN_WEIGHTS = 2**18
"""Smallest number of weights that oneDNN multiplies; the call costs more than it saves below it."""
MAX_LOGITS = 2**28
"""Logits in memory at once: 1 GiB in float32. 1,048 states with a vocabulary of 256,008 tokens."""
MAX_STATES = 4096
"""States that are projected together: more do not make a product faster."""
_HALF = (torch.bfloat16, torch.float16)
MAX_CPU_LOGITS = 2**21
"""Logits in memory at once on the CPU: 8 MiB in float32, which stay in the processor's cache."""
MAX_CPU_STATES = 512
"""States that the CPU projects together: enough for full speed, and few enough for wide pieces of the vocabulary."""
_BITS = 53
"""Bits of a uniform number: those of a float64."""


@dataclass(frozen=True)
class OutputHead:
    """The output head, and how many logits are computed at once.

    logits = scale * (hidden @ weight.T + bias); a capped model has softcap * tanh(logits / softcap).
    """

    weight: Tensor
    """[vocab, d]."""
    bias: Tensor | None = None
    """[vocab]; None if the head has no bias."""
    scale: float = 1.0
    """Factor of the logits (Cohere, Granite)."""
    softcap: float | None = None
    """Cap of the logits, > 0; None: no cap."""
    max_logits: int | None = None
    """Most logits in memory at once, >= 1; None: the default of the weight's device."""
    removed: Tensor | None = None
    """[vocab] bool: tokens whose logits are minus infinity; None if there are none."""

    @property
    def most_logits(self) -> int:
        """Most logits in memory at once."""
        return max_logits_of(self.weight.device.type) if self.max_logits is None else self.max_logits

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return int(self.weight.shape[0])

    def n_columns(self, n_rows: int) -> int:
        """Return the tokens of a piece of the vocabulary for some rows of hidden states."""
        return max(1, self.most_logits // n_rows)

    def pieces(self, n_columns: int) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yield the first token of each piece of the vocabulary, with the weight and the bias of its tokens."""
        for first in range(0, self.n_tokens, n_columns):
            piece = slice(first, first + n_columns)
            yield first, self.weight[piece], None if self.bias is None else self.bias[piece]

    def cap_in_place(self, logits: Tensor) -> Tensor:
        """Scale and cap outputs of the head, which are overwritten."""
        logits = logits if self.scale == 1 else logits.mul_(self.scale)
        return logits if self.softcap is None else logits.div_(self.softcap).tanh_().mul_(self.softcap)

    def logits_in_place(self, outputs: Tensor, first: int) -> Tensor:
        """Turn outputs of the head for a piece of the vocabulary into logits: minus infinity for removed tokens.

        Args:
            outputs: [m, tokens of the piece], overwritten.
            first: first token of the piece.
        """
        logits = self.cap_in_place(outputs)
        if self.removed is None:
            return logits
        return logits.masked_fill_(self.removed[first : first + logits.shape[1]], -torch.inf)


@dataclass(frozen=True)
class TargetScores:
    """Scores of target tokens, on the CPU."""

    log_probs: Tensor
    """[k] float64, <= 0."""
    is_greedy: Tensor
    """[k] bool: whether the target is the most likely token; the first of equally likely tokens."""
    measures: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> [k] float64: what else was measured at each target; see `Measurer`."""


def quick_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return inputs [..., in] times the transposed weight [out, in], plus the bias [out]: [..., out].

    Uses torch's own product if gradients may be needed.
    """
    is_float32 = weight.dtype == inputs.dtype == torch.float32
    is_large = weight.numel() >= MIN_WEIGHTS and inputs.device.type == "cpu"
    if not is_float32 or not is_large or torch.is_grad_enabled() or not has_quick_products():
        return functional.linear(inputs, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product


def has_quick_products() -> bool:
    """Return whether torch has the operation."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_onednn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def part_bounds(n_states: int, *, most: int) -> list[int]:
    """Return the bounds of the parts into which states are divided: as few as fit, of nearly equal size."""
    n_parts = max(1, -(-n_states // most))
    return [n_states * part // n_parts for part in range(n_parts + 1)]


def score_on_accelerator(hidden: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool, whether each target is the first most likely token.

    Sums over a piece of the vocabulary are float32 or wider, sums over pieces float64.

    Args:
        hidden: [m, d].
        states: [k] int64, on the CPU: the row of `hidden` of each target.
        targets: [k] int64, on the CPU.
    Returns: both on the CPU.
    """
    order = torch.argsort(states, stable=True)
    indices = torch.stack([states[order], targets[order]])
    rows = row_bounds(hidden.shape[0], head)
    asked = torch.searchsorted(indices[0], torch.tensor(rows)).tolist()
    indices = indices.to(hidden.device, non_blocking=True)
    scores = [torch.empty(2, 0, dtype=torch.float64, device=hidden.device)]
    for (first, last), (start, end) in zip(pairwise(rows), pairwise(asked), strict=True):
        if start < end:
            states_of_part, targets_of_part = indices[:, start:end]
            scores.append(_score_part(hidden[first:last], head, states=states_of_part - first, targets=targets_of_part))
    in_order = torch.empty(2, states.shape[0], dtype=torch.float64)
    in_order[:, order] = torch.cat(scores, dim=1).cpu()
    return in_order[0], in_order[1] > 0


def row_bounds(n_states: int, head: OutputHead) -> list[int]:
    """Return the bounds of parts of states, each with as many logits of the whole vocabulary as fit in memory."""
    return part_bounds(n_states, most=min(MAX_STATES, max(1, head.most_logits // head.n_tokens)))


def logit_pieces(rows: Tensor, head: OutputHead) -> Iterator[tuple[int, Tensor]]:
    """Yield the first token and the logits of each piece of the vocabulary: one, unless the rows have too many.

    Logits are [m, tokens of the piece], float32 or wider.
    """
    return _pieces(rows, head, _cpu_logits if rows.device.type == "cpu" else _logits)


def _pieces(
    rows: Tensor, head: OutputHead, product: Callable[[Tensor, Tensor, Tensor | None], Tensor]
) -> Iterator[tuple[int, Tensor]]:
    for first, weight, bias in head.pieces(head.n_columns(rows.shape[0])):
        yield first, head.logits_in_place(product(rows, weight, bias), first)


def _cpu_logits(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return [m, n] logits, float32 or wider; half precision is rounded first."""
    product = quick_linear(rows, weight, bias)
    return product if product.dtype == torch.float64 else product.float()


def _score_part(rows: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> Tensor:
    """Return [2, k] float64: log-probabilities, and 1 where the target is the first most likely token."""
    picked = torch.zeros(states.shape[0], dtype=torch.float64, device=rows.device)
    highest = torch.full((rows.shape[0],), -torch.inf, dtype=torch.float64, device=rows.device)
    most_likely = torch.full((rows.shape[0],), -1, dtype=torch.int64, device=rows.device)
    masses = []
    for first, logits in _pieces(rows, head, _logits):
        places = targets - first
        is_inside = (places >= 0) & (places < logits.shape[1])
        of_targets = logits[states, places.clamp(0, logits.shape[1] - 1)]
        picked = torch.where(is_inside, of_targets.double(), picked)
        top, token = logits.max(dim=1)
        is_higher = top.double() > highest
        most_likely = torch.where(is_higher, token + first, most_likely)
        highest = torch.where(is_higher, top.double(), highest)
        masses.append(_logsumexp_in_place(logits, top).double())
    totals = torch.logsumexp(torch.stack(masses), dim=0)
    return torch.stack([picked - totals[states], (most_likely[states] == targets).double()])


def _logsumexp_in_place(logits: Tensor, top: Tensor) -> Tensor:
    """Return [m] log of the sum of exponentials of each row; overwrites the logits, so that no copy is in memory.

    Args:
        top: [m] the largest logit of each row.
    """
    shift = top.nan_to_num(nan=torch.nan, posinf=0.0, neginf=0.0)
    return logits.sub_(shift.unsqueeze(1)).exp_().sum(dim=1).log_().add_(shift)


def _logits(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return [m, n] logits, float32 or wider.

    Half precision is multiplied with a float32 result where torch can do that; otherwise it is rounded to half
    precision first.
    """
    if rows.dtype in _HALF and has_wide_products(rows.device.type):
        product = torch.mm(rows, weight.T, out_dtype=torch.float32)
        return product if bias is None else product.add_(bias)
    product = functional.linear(rows, weight, bias)
    return product if product.dtype == torch.float64 else product.float()


def has_wide_products(device_type: str) -> bool:
    """Return whether torch can multiply half-precision matrices with a float32 result on a kind of device.

    It depends on the build of torch alone, so all workers with one build compute the same bits.
    """
    key = {"cpu": "CPU", "cuda": "CUDA"}.get(device_type)
    if key is None or not hasattr(torch.ops.aten.mm, "dtype"):
        return False
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key("aten::mm.dtype", key))


def max_logits_of(device_type: str) -> int:
    """Return the default of the most logits in memory at once on a kind of device."""
    return MAX_CPU_LOGITS if device_type == "cpu" else MAX_LOGITS


def target_scores(hidden: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> TargetScores:
    """Return the log-probability of each target token after its state, and whether it is the most likely token.

    log_prob[i] = logits[states[i], targets[i]] - log sum exp logits[states[i]]
    The sum over a piece of the vocabulary is float32 or wider, the sum over pieces float64. A capped model (Gemma 2,
    arXiv:2408.00118) has logits cap * tanh(logits / cap).

    Args:
        hidden: [m, d], after the final norm, in the head's dtype.
        states: [k] int64, on the CPU, in [0, m): the row of `hidden` of each target; rows may occur several times.
        targets: [k] int64, on the CPU, in [0, vocab).
    Raises:
        ShapeError: the shapes do not match, or a state or target does not exist.
        BadInputError: `max_logits` is below 1, or `softcap` is not above 0.
    """
    _check(hidden, head, states=states, targets=targets)
    if head.most_logits < 1 or (head.softcap is not None and not head.softcap > 0):
        got = (head.most_logits, head.softcap)
        raise BadInputError("a bound is out of range", expected="max_logits >= 1, softcap > 0", got=got)
    if hidden.device.type == "cpu":
        return TargetScores(*_score_on_cpu(hidden, head, states=states, targets=targets))
    return TargetScores(*score_on_accelerator(hidden, head, states=states, targets=targets))


def _score_on_cpu(hidden: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool, in small parts that stay in the processor's cache."""
    log_probs = torch.empty(states.shape[0], dtype=torch.float64)
    is_greedy = torch.empty(states.shape[0], dtype=torch.bool)
    for start, end in pairwise(part_bounds(hidden.shape[0], most=MAX_CPU_STATES)):
        asked = ((states >= start) & (states < end)).nonzero().flatten()
        if asked.numel():
            log_probs[asked], is_greedy[asked] = _score_part_on_cpu(
                hidden[start:end], head, states=states[asked] - start, targets=targets[asked]
            )
    return log_probs, is_greedy


def _score_part_on_cpu(rows: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool of the targets of some rows."""
    picked = torch.empty(states.shape[0], dtype=torch.float64)
    is_first_of_top = torch.zeros(states.shape[0], dtype=torch.bool)
    highest = torch.full((rows.shape[0],), -torch.inf, dtype=torch.float64)
    piece_of_highest = torch.full((rows.shape[0],), -1, dtype=torch.int64)
    masses = []
    n_columns = head.n_columns(rows.shape[0])
    for first, logits in _pieces(rows, head, _cpu_logits):
        tokens = torch.from_numpy(logits.numpy().argmax(axis=1))  # the first one; torch takes ten times as long
        top = logits.gather(1, tokens.unsqueeze(1)).squeeze(1)
        is_higher = top.double() > highest
        highest = torch.where(is_higher, top.double(), highest)
        piece_of_highest[is_higher] = first
        inside = ((targets >= first) & (targets < first + logits.shape[1])).nonzero().flatten()
        rows_inside, columns = states[inside], targets[inside] - first
        of_targets = logits[rows_inside, columns]
        picked[inside] = of_targets.double()
        is_first_of_top[inside] = (of_targets == top[rows_inside]) & (tokens[rows_inside] == columns)
        masses.append(_logsumexp_in_place(logits, top).double())
    totals = torch.logsumexp(torch.stack(masses), dim=0)
    is_most_likely = is_first_of_top & (piece_of_highest[states] == targets // n_columns * n_columns)
    return picked - totals[states], is_most_likely


def _check(hidden: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> None:
    if hidden.ndim != 2 or head.weight.ndim != 2 or hidden.shape[1] != head.weight.shape[1]:
        expected, got = tuple(head.weight.shape[1:]), tuple(hidden.shape)
        raise ShapeError("hidden states do not fit the head", expected=expected, got=got)
    if head.bias is not None and head.bias.shape != head.weight.shape[:1]:
        raise ShapeError("bias does not fit the head", expected=head.weight.shape[0], got=tuple(head.bias.shape))
    if states.ndim != 1 or states.shape != targets.shape:
        raise ShapeError("targets do not fit their states", expected=tuple(states.shape), got=tuple(targets.shape))
    for name, values, bound in (("state", states, hidden.shape[0]), ("target", targets, head.weight.shape[0])):
        outside = (values < 0) | (values >= bound)
        if bool(outside.any()):
            raise ShapeError(f"a {name} does not exist", expected=f"0 <= {name} < {bound}", got=int(values[outside][0]))


def uniform_number(seed: int, text: int, position: int) -> float:
    """Return a number in [0, 1): the first 53 bits of SHA-256 of "seed:text:position".

    It does not depend on batches, workers or versions of a library.

    Args:
        text: number of the text, from 0.
        position: of the new token in the text, from 0.
    """
    digest = hashlib.sha256(f"{seed}:{text}:{position}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / float(1 << _BITS)


def draw_tokens(logits: Tensor, uniforms: Sequence[float], *, temperature: float, banned: Sequence[int] = ()) -> Tensor:
    """Draw one token per row: the first whose cumulative probability exceeds the row's uniform number.

    p = softmax(logits / temperature) over all tokens but the banned ones, in float64. With temperature 0 the likeliest
    token is chosen, the first one among equals.

    Args:
        logits: [b, vocabulary], any float dtype.
        uniforms: one number in [0, 1) per row; ignored with temperature 0.
        temperature: at least 0.
        banned: tokens that are never drawn.
    Returns: [b] int64 on the CPU.
    Raises:
        BadInputError: the temperature is negative, or there is not one number per row.
    """
    if temperature < 0 or (temperature > 0 and len(uniforms) != len(logits)):
        expected = f"temperature >= 0 and {len(logits)} numbers"
        raise BadInputError("tokens cannot be drawn", expected=expected, got=(temperature, len(uniforms)))
    wide = logits.detach().cpu().to(torch.float64).clone()
    wide[:, list(banned)] = -torch.inf
    if temperature == 0:
        return wide.argmax(dim=1)
    cumulative = torch.softmax(wide / temperature, dim=1).cumsum(dim=1)
    thresholds = torch.tensor(uniforms, dtype=torch.float64).unsqueeze(1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, thresholds, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
