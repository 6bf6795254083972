"""Observe the routing of a batch: what the experts of each block do for its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.capabilities.experts.routing_sums import ROLES, owners_of, routing_sums
from mlprune.errors import statistics_context
from mlprune.models.experts import listening_to_routes
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates, TokenBatch

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass(frozen=True)
class RoleBatch(TokenBatch):
    """Demonstrations to observe, with the role of each token."""

    roles: Tensor
    """[b, s] int64, indices in `ROLES`; of padding, any."""


@dataclass(frozen=True)
class Routing:
    """Routing of a batch in all blocks with experts, on the CPU."""

    sums: Mapping[int, Tensor]
    """Block -> [experts, b, roles, sums] float64; see `routing_sums`."""
    n_tokens: Tensor
    """[b, roles] int64, counted tokens."""


@dataclass
class RoutingVisitor(BatchVisitor[Routing]):
    """Sum gate weights and norms of outputs over the counted tokens that are routed to each expert.

    Raises:
        StatisticsError: a gate weight or an output of a counted token is not finite; the block is named.
    """

    batch: RoleBatch
    sums: dict[int, Tensor] = field(init=False, default_factory=dict)
    _n_routed: dict[int, list[int]] = field(init=False, repr=False, default_factory=dict)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and observe its experts. Norms are computed on the device, and all sums on the CPU."""
        experts = runner.architecture.block(block).experts
        if experts is None:
            return runner.step(block, states)
        n_routed, routes = [0] * experts.n_experts, list[Tensor]()

        def listen(expert: int, rows: Tensor, gates: Tensor, outputs: Tensor) -> None:
            n_routed[expert] = rows.shape[0]
            norms = torch.linalg.vector_norm(outputs, dim=1, dtype=torch.float64)
            routes.append(torch.stack([rows.double(), gates.double(), norms]))

        with listening_to_routes(listen):
            states_after = runner.step(block, states)
        self._n_routed[block] = n_routed
        together = torch.cat(routes, dim=1)
        if together.device.type == "cpu":
            self.keep(block, "routes", together)
        else:
            self.gather(block, "routes", together)
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Add the routes of a block."""
        owners = owners_of(self.batch.roles, self.batch.counted)
        with statistics_context(block=block):
            n_rows = self.batch.roles.shape[0]
            self.sums[block] = routing_sums(tensor, self._n_routed.pop(block), owners, n_rows=n_rows)

    def result(self) -> Routing:
        """Return the sums of all blocks."""
        is_role = self.batch.roles[:, :, None] == torch.arange(len(ROLES))
        return Routing(self.sums, (is_role & self.batch.counted[:, :, None]).sum(dim=1))
