"""How a model's own code turns hidden states after the last norm into logits: its scale and its cap.

The code runs once with known numbers in place of the base model and of the head, so that no weight is needed.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from mlprune.errors import ModelError, reason_of

N_ROWS = 4
"""Hidden states in the trial."""
LARGE = 1e30
"""A logit that shows the cap."""
TOLERANCE = 1e-5


class _Output(BaseModelOutputWithPastAndCrossAttentions):  # type: ignore[misc]
    """Output of a base model; fields that only some models have are None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


def logit_transform(model: PreTrainedModel, *, base: str, tail: Sequence[str], head: str) -> tuple[float, float | None]:
    """Return (scale, cap): logits = cap * tanh(scale * x / cap), or scale * x without a cap, for outputs x of the head.

    Args:
        base: module that runs the blocks.
        tail: modules between the last block and the head, in `base` or after it.
        head: linear layer.
    Raises:
        ModelError: the model's code computes something else.
    """
    linear = model.get_submodule(head)
    assert isinstance(linear, nn.Linear), "the head was found as a linear layer"
    with unset_fake_temporarily(), torch.no_grad():
        hidden = torch.linspace(-3, 3, N_ROWS * linear.in_features).reshape(1, N_ROWS, linear.in_features)
        powers = torch.logspace(-3, 2, 24)
        samples = torch.cat([powers, -powers, torch.tensor([0.0, 1.0, LARGE])])
        read: list[Tensor] = []

        def run_head(states: Tensor) -> Tensor:
            read.append(states)
            return samples.expand(1, N_ROWS, -1).clone()

        try:
            with ExitStack() as stack:
                forward = {base: lambda *_, **__: _Output(last_hidden_state=hidden), head: run_head}
                forward |= {path: lambda states: states for path in tail if not path.startswith(f"{base}.")}
                for path, function in forward.items():
                    stack.enter_context(_replaced(model.get_submodule(path), function))
                result = model(input_ids=torch.zeros(1, N_ROWS, dtype=torch.int64), use_cache=False).logits
        except Exception as err:  # the model's own code can raise anything
            raise _unknown(model, reason_of(err)) from err
        factor = _factor(hidden, read[0] if len(read) == 1 else None)
        if factor is None or (factor != 1 and linear.bias is not None) or result.shape[-1] != samples.numel():
            raise _unknown(model, "hidden states change between the last norm and the head")
        scale, cap = _fitted(samples, result[0, 0].float())
        if cap == 0:
            raise _unknown(model, "logits are neither scaled nor capped by a hyperbolic tangent")
        return scale * factor, cap


def _factor(hidden: Tensor, read: Tensor | None) -> float | None:
    """Return by what hidden states were multiplied; None if they changed in another way."""
    if read is None or read.shape != hidden.shape:
        return None
    factor = float(read[0, -1, -1] / hidden[0, -1, -1])
    return factor if torch.allclose(read.float(), hidden * factor, rtol=TOLERANCE, atol=0) else None


def _fitted(samples: Tensor, result: Tensor) -> tuple[float, float | None]:
    """Return scale and cap of a transform; the cap is 0 if it is another one."""
    ordinary = samples.abs() < LARGE
    scale = float(result[-2])
    if torch.allclose(result[ordinary], samples[ordinary] * scale, rtol=TOLERANCE, atol=1e-7):
        return scale, None
    cap, slope = float(result[-1]), float(result[0] / samples[0])
    slope = 1.0 if abs(slope - 1) < TOLERANCE else slope
    expected = cap * torch.tanh(samples[ordinary] * slope / cap) if cap > 0 else torch.zeros_like(samples[ordinary])
    return slope, cap if torch.allclose(result[ordinary], expected, rtol=TOLERANCE, atol=1e-6) else 0.0


def _unknown(model: PreTrainedModel, reason: str) -> ModelError:
    message = "the model computes its logits in a way that is not known"
    return ModelError(message, model_type=model.config.model_type, reason=reason)


@contextmanager
def _replaced(module: nn.Module, forward: Any) -> Iterator[None]:
    """Let a module compute something else while the context lasts."""
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]
