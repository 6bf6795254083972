"""Experts of a block: find them in a run of the model, and list those that did not run like those that did.

The library keeps the weights of all experts of a block in one stack, so that they are alike.
"""

from collections.abc import Sequence

from torch import nn

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Experts
from mlprune.models.architecture.trace import Call
from mlprune.models.experts import is_stack, stack_names

TRACED_EXPERTS = 2
"""Experts of a block that run; the others have the same layers, and are listed as the last of these is."""


def experts_of(calls: Sequence[Call], module: nn.Module, prefix: str) -> Experts | None:
    """Return the experts of a block; None if it has none.

    Raises:
        ModelError: it has several sets of experts.
    """
    found = [call for call in calls if is_stack(call.module)]
    if len(found) > 1:
        raise ModelError("a block has several sets of experts", got=[call.path for call in found])
    if not found:
        return None
    (call,) = found
    n_experts = int(call.module.n_experts)  # type: ignore[arg-type]
    routers = [
        one.path.removeprefix(prefix)
        for one in calls[: calls.index(call)]
        if (weight := one.module._parameters.get("weight")) is not None and weight.shape[0] == n_experts
    ]
    path = call.path.removeprefix(prefix)
    if not routers:
        return Experts(path, stack_names(call.module), n_experts, call.n_chosen, None)
    router = routers[-1]
    choosing = router.rpartition(".")[0] if type(module.get_submodule(router)) is nn.Linear else router
    n_groups, n_chosen = (getattr(module.get_submodule(choosing), name, 0) or 0 for name in ("num_group", "topk_group"))
    groups = (n_groups, n_chosen) if n_groups > 1 and n_chosen else (1, 1)
    return Experts(path, stack_names(call.module), n_experts, call.n_chosen, router, choosing, *groups)


def with_all_experts(groups: Sequence[tuple[str, ...]], experts: Experts | None) -> list[tuple[str, ...]]:
    """Return groups of layers with those of the experts that did not run, after those of the last one that ran."""
    if experts is None or experts.n_experts <= TRACED_EXPERTS:
        return list(groups)
    prefix = f"{experts.path}.{TRACED_EXPERTS - 1}."
    own = [index for index, group in enumerate(groups) if group and all(name.startswith(prefix) for name in group)]
    copies = [
        tuple(f"{experts.path}.{number}.{name.removeprefix(prefix)}" for name in groups[index])
        for number in range(TRACED_EXPERTS, experts.n_experts)
        for index in own
    ]
    end = own[-1] + 1 if own else 0
    return [*groups[:end], *copies, *groups[end:]]
