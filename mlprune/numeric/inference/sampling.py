"""Draw tokens from logits with uniform numbers that depend on a seed, the text and the position only."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import BadInputError

_BITS = 53
"""Bits of a uniform number: those of a float64."""


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
