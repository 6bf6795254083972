"""Distributions of routers: what the router of a block gives to each of its experts, token by token.

The distribution p of a token is over all experts of a block; experts that every token uses (shared experts) do not
count. A router scores its experts by softmax or sigmoid, and p is

    softmax:  p_e = exp(z_e) / sum over experts of exp(z)
    sigmoid:  p_e = sigmoid(z_e) / sum over experts of sigmoid(z), the normalised scores

with the logits z that the model's own router scores: after its scale or cap, before the choice. What only changes the
choice is not part of p: biases for load balancing, limits to groups of experts, scores that the router sets to 0. Nor
are factors of the gate weights. A router that scores only the experts that it has chosen has the p of its logits of
all experts. So the gate weights of a token are, up to a factor, the p of its experts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mlprune.capabilities.experts.routing import Routing, RoutingVisitor
from mlprune.capabilities.experts.routing_sums import ROLES, owners_of
from mlprune.errors import StatisticsError, statistics_context
from mlprune.models.messages import HiddenStates, States

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

ScoringFunction = Literal["softmax", "sigmoid"]
"""The function by which a router scores its experts."""
_SCORING: dict[str, ScoringFunction] = {"softmax": "softmax", "sigmoid": "sigmoid"}
"""Name of a function of torch, or of a method of tensors -> the scoring function."""
_PRODUCTS = ("linear", "mm", "matmul")
"""Names of the functions that multiply by the weights of a router."""


class RouterObserver(TorchFunctionMode):
    """Observe the router of a block while this thread runs the block inside the context.

    Args:
        router: the module with a row of weights per expert.
        top_k: experts of a token.
    """

    def __init__(self, router: nn.Module, top_k: int) -> None:
        super().__init__()
        self._router = router
        self._top_k = top_k
        self._weights: list[Tensor] = []
        self._product: Tensor | None = None
        self._scored: Tensor | None = None
        self.scoring: ScoringFunction | None = None
        """None: the router ran no function that is known."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and look at its arguments and its result until the experts are scored."""
        result = func(*args, **(kwargs or {}))
        if self.scoring is None:
            self._look(getattr(func, "__name__", ""), [*args, *(kwargs or {}).values()], result)
        return result

    def _look(self, name: str, given: list[Any], result: Any) -> None:
        weight = self._router._parameters["weight"]
        assert weight is not None, "a router was found by its weights"
        n_experts = weight.shape[0]
        if isinstance(result, Tensor) and any(one is known for one in given for known in (weight, *self._weights)):
            if name in _PRODUCTS and result.shape[-1] == n_experts:
                self._product = result
            elif result.shape.numel() == weight.shape.numel():  # the weights in another dtype, or transposed
                self._weights.append(result)
        elif self._product is not None and name in _SCORING:
            self.scoring = _SCORING[name]
            if given[0].shape.numel() == self._product.shape.numel() and self._top_k < n_experts:
                self._scored = given[0]

    def logits(self) -> Tensor:
        """Return the scored logits, [tokens, experts]; those that the router made -inf are as they were before."""
        assert self._product is not None, "experts are scored after the product"
        product = self._product.reshape(-1, self._product.shape[-1])
        if self._scored is None:
            return product
        scored = self._scored.reshape(product.shape)
        return torch.where(torch.isneginf(scored), product.to(scored.dtype), scored)


def log_distributions(logits: Tensor, scoring: ScoringFunction) -> Tensor:
    """Return log p of logits [tokens, experts], float64."""
    wide = logits.double()
    return functional.log_softmax(functional.logsigmoid(wide) if scoring == "sigmoid" else wide, dim=1)


def distribution_sums(log_p: Tensor, owners: Tensor, *, n_rows: int) -> Tensor:
    """Add the distributions of the tokens of a batch, and their entropies, in the order of the tokens.

    Args:
        log_p: [b * s, experts] from `log_distributions`.
        owners: [b * s] from `owners_of`.
        n_rows: b.
    Returns: [b, 3, experts + 1] float64, with the roles in the order of `ROLES`; the last sum is that of the entropies,
        in nats.
    Raises:
        StatisticsError: the distribution of a counted token is not finite.
    """
    p = log_p.exp()
    values = torch.cat([p, -(p * log_p).sum(dim=1, keepdim=True)], dim=1)
    sums = torch.zeros(n_rows * len(ROLES) + 1, values.shape[1], dtype=torch.float64)
    counted = sums.index_add_(0, owners, values)[:-1]
    if not bool(torch.isfinite(counted).all()):
        raise StatisticsError("the distribution of a router is not finite", n_wrong=int((~counted.isfinite()).sum()))
    return counted.reshape(n_rows, len(ROLES), -1)


@dataclass(frozen=True)
class RouterBatch(Routing):
    """Routing of a batch with the distributions of the routers, on the CPU."""

    distributions: dict[int, Tensor]
    """Block -> [b, roles, experts + 1] float64; see `distribution_sums`. Without blocks whose routers are not known."""
    scoring: dict[int, ScoringFunction]
    """Block -> scoring function of its router."""


@dataclass
class RouterVisitor(RoutingVisitor):
    """Sum the distributions of routers, and what `RoutingVisitor` sums, over the counted tokens.

    Raises:
        StatisticsError: what a counted token has is not finite: a distribution, gate weight or output; names the block.
    """

    distributions: dict[int, Tensor] = field(init=False, default_factory=dict)
    scoring: dict[int, ScoringFunction] = field(init=False, default_factory=dict)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and observe its router and its experts."""
        experts = runner.architecture.block(block).experts
        if experts is None or experts.router is None:
            return super().around_block(runner, block, states)
        observer = RouterObserver(runner.modules[block].get_submodule(experts.router), experts.top_k)
        with observer:
            states_after = super().around_block(runner, block, states)
        if observer.scoring is not None:
            self.scoring[block] = observer.scoring
            logits = observer.logits()
            (self.keep if logits.device.type == "cpu" else self.gather)(block, "logits", logits)
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Add the routes or the distributions of a block."""
        if name != "logits":
            super().keep(block, name, tensor)
            return
        owners = owners_of(self.batch.roles, self.batch.counted)
        log_p = log_distributions(tensor, self.scoring[block])
        with statistics_context(block=block):
            self.distributions[block] = distribution_sums(log_p, owners, n_rows=self.batch.roles.shape[0])

    def finish(self, runner: BlockRunner, states: States) -> RouterBatch:
        """Return the sums of all blocks."""
        routing = super().finish(runner, states)
        return RouterBatch(routing.sums, routing.n_tokens, self.distributions, self.scoring)
