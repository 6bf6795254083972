"""Importance of input features: sums of squares over the tokens of demonstration sets, from stored statistics.

With several sets, a token of a set has the weight share * T / t, where t is the number of counted tokens of the set,
T that of all sets, and shares sum to 1. So the weights of all tokens sum to T, and sets count by their shares, whatever
their sizes. An expert reads only the tokens that are routed to it: its sums and its count are those of these tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from mlprune.errors import BadInputError, RetiredArtefactError, unknown
from mlprune.json_values import JsonObject, as_int, as_str
from mlprune.models.architecture.architecture import Architecture, BlockArchitecture
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps.observe.statistics_files import read_block_totals
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

ROLES_OF_SCOPE: Mapping[TokenScope, tuple[str, ...]] = {
    "all": ("other", "source", "target"),
    "source": ("source",),
    "target": ("target",),
}
"""Token scope -> roles of its tokens in the routing statistics, which have no others."""
_PRECISION = ("float32", "float16", "bfloat16")
"""Dtypes of a pass, the most precise first."""


class GivenSet(NamedTuple):
    """A demonstration set that a user names."""

    id: str
    label: str
    share: float
    """Weight of the set, > 0; the weights of all sets sum to 1."""


@dataclass(frozen=True)
class ObservedSet:
    """A demonstration set with its stored statistics."""

    given: GivenSet
    statistics: Record
    n_routed: Mapping[tuple[int, int], float]
    """(block, expert) -> counted tokens that are routed to the expert; empty for a model without experts."""

    @property
    def row(self) -> JsonObject:
        """The catalog row of the statistics."""
        return self.statistics.rows["statistics"][0]

    @property
    def n_tokens(self) -> int:
        """Counted tokens."""
        return as_int(self.row["n_tokens"])

    @property
    def token_scope(self) -> TokenScope:
        """The tokens that count."""
        return token_scope_of(as_str(self.row["token_scope"]))

    @property
    def n_demonstrations(self) -> int:
        """Demonstrations."""
        return as_int(self.row["n_demonstrations"])


@dataclass(frozen=True)
class Importance:
    """Sums over the weighted tokens that one input of a block, or the same input of all its experts, reads."""

    sums: Tensor
    """[experts, in] float64, sums of squares; [1, in] outside of experts."""
    counts: Tensor
    """[experts] float64, sums of the weights of the tokens."""


def token_scope_of(name: str) -> TokenScope:
    """Return the token scope of a name.

    Raises:
        BadInputError: there is none.
    """
    scopes: tuple[TokenScope, ...] = get_args(TokenScope)
    for scope in scopes:
        if scope == name:
            return scope
    raise unknown("token scope", name, scopes, error=BadInputError, option="--tokens")


def given_sets(labels: Mapping[str, str], shares: Sequence[float]) -> tuple[GivenSet, ...]:
    """Return sets with shares that sum to 1.

    Args:
        labels: id -> label.
        shares: one per set, > 0, in any unit; empty: equal.
    Raises:
        BadInputError: there is another number of shares than sets, or a share is not positive and finite.
    """
    weights = list(shares) or [1.0] * len(labels)
    if len(weights) != len(labels):
        expected = f"one per set: {', '.join(labels.values())}"
        raise BadInputError("shares do not fit the sets", option="--share", expected=expected, got=weights)
    if wrong := [weight for weight in weights if not (math.isfinite(weight) and weight > 0)]:
        raise BadInputError("a share is not a weight", option="--share", expected="a number above 0", got=wrong[0])
    total = math.fsum(weights)
    return tuple(GivenSet(*named, weight / total) for named, weight in zip(labels.items(), weights, strict=True))


def base_model_of(store: Store, sets: Sequence[GivenSet], token_scope: TokenScope) -> str:
    """Return the id of the base model that was observed on a set.

    Raises:
        BadInputError: the store has no such statistics of the first set, or those of several base models.
    """
    records = _statistics_records(store, sets[0].id, token_scope)
    if not records:
        raise _not_observed(store, sets[0], token_scope)
    base_ids = sorted({record.parent("base_model") for record in records})
    if len(base_ids) > 1:
        message = "the store has statistics of several base models"
        raise BadInputError(message, set=sets[0].label, expected="--base-model PATH", got=base_ids)
    return base_ids[0]


def observed_sets(
    store: Store, sets: Sequence[GivenSet], base_model_id: str, *, token_scope: TokenScope, has_experts: bool
) -> tuple[ObservedSet, ...]:
    """Find the statistics of a base model on demonstration sets.

    Of several statistics of a set, those of the newest version and of the most precise dtype are chosen, then the first
    by id. Tokens of experts are those of a pass in the same dtype.

    Raises:
        BadInputError: the store does not have the statistics, or not the numbers of tokens of experts; the message says
            which entry of a recipe makes them.
    """
    if has_experts and token_scope not in ROLES_OF_SCOPE:
        message = "tokens of experts are not counted by this token scope"
        raise BadInputError(message, option="--tokens", expected=list(ROLES_OF_SCOPE), got=token_scope)
    return tuple(
        _observed(store, given, base_model_id, token_scope=token_scope, has_experts=has_experts) for given in sets
    )


def _observed(
    store: Store, given: GivenSet, base_model_id: str, *, token_scope: TokenScope, has_experts: bool
) -> ObservedSet:
    records = _statistics_records(store, given.id, token_scope, base_model_id=base_model_id)
    if not records:
        raise _not_observed(store, given, token_scope)
    if not has_experts:
        return ObservedSet(given, records[0], {})
    of_experts = _records_of_set(store, "expert_statistics", given.id, base_model_id)
    pairs = ((record, routing) for record in records for routing in of_experts)
    pair = next((pair for pair in pairs if pair[0].parameters["dtype"] == pair[1].parameters["dtype"]), None)
    if pair is None:
        raise BadInputError(
            "the tokens of every expert were not counted for a set",
            set=given.label,
            expected="a recipe with analyses: {experts: [NAME]}",
            next=f"mlprune run RECIPE --store {store.uri}",
        )
    return ObservedSet(given, pair[0], _routed_tokens(pair[1], ROLES_OF_SCOPE[token_scope]))


def _records_of_set(store: Store, kind: str, set_id: str, base_model_id: str | None) -> list[Record]:
    """Return the records of a kind about a set, of the newest version and of the most precise dtype first."""
    records = [
        record
        for record in store.records(kind)
        if record.parent("demonstration_set") == set_id and base_model_id in (None, record.parent("base_model"))
    ]
    return sorted(records, key=_rank)


def _rank(record: Record) -> tuple[int, int, str]:
    version = RECORD_KINDS[record.kind].version
    return abs(version - record.step_version), _PRECISION.index(as_str(record.parameters["dtype"])), record.id


def _statistics_records(
    store: Store, set_id: str, token_scope: TokenScope, *, base_model_id: str | None = None
) -> list[Record]:
    """Return the statistics of the dense model on a set, the best first."""
    wanted = {"propagation": "dense", "token_scope": token_scope}
    records = _records_of_set(store, "statistics", set_id, base_model_id)
    return [record for record in records if wanted.items() <= record.rows["statistics"][0].items()]


def _routed_tokens(record: Record, roles: Sequence[str]) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for row in record.rows["expert_statistics"]:
        key = as_int(row["block"]), as_int(row["expert"])
        found[key] = found.get(key, 0.0) + (as_int(row["n_routed"]) if row["role"] in roles else 0)
    return found


def _not_observed(store: Store, given: GivenSet, token_scope: TokenScope) -> BadInputError:
    """Return the error for statistics that the store does not have, with the entry of a recipe that makes them."""
    of_set = _records_of_set(store, "statistics", given.id, None)
    scopes = sorted({as_str(record.rows["statistics"][0]["token_scope"]) for record in of_set})
    return BadInputError(
        "the store has no activation statistics of a demonstration set",
        set=given.label,
        expected=_entry_that_observes(token_scope),
        got=f"statistics for --tokens {', '.join(scopes)}" if scopes else "none",
        next=f"mlprune run RECIPE --store {store.uri}",
    )


def _entry_that_observes(token_scope: TokenScope) -> str:
    tokens = "" if token_scope == "all" else f", tokens: {token_scope}"
    entry = f"score: wanda, demonstrations: NAME, propagation: dense, sparsity: 0.5{tokens}"
    return f"a variant that reads them, such as {{{entry}}}"


def token_weights(sets: Sequence[ObservedSet]) -> list[float]:
    """Return the weight of a token of each set: share * T / t; 1 if there is one set."""
    total = sum(one.n_tokens for one in sets)
    return [1.0 if len(sets) == 1 else one.given.share * total / one.n_tokens for one in sets]


def block_importance(
    store: Store, sets: Sequence[ObservedSet], architecture: Architecture, *, block: int
) -> dict[str, Importance]:
    """Return the importance of the features that each layer of a block reads.

    Returns: layer -> its importance; that of a layer of all experts is under the path of the experts and its name.
    Raises:
        BadInputError: a file of statistics was retired; the message says which entry of a recipe makes it.
        DamagedArtefactError: a file of statistics is missing or damaged.
        StatisticsError: the statistics are not complete.
    """
    kind = architecture.block(block)
    of_inputs = _importance_of_inputs(store, sets, kind, block=block)
    found = {layer: of_inputs[kind.input_of(layer)] for layer in kind.layers if not kind.is_routed(layer)}
    if kind.experts is not None:
        for position, name in enumerate(kind.experts.names):
            layers = [kind.experts.layers(expert)[position] for expert in range(kind.experts.n_experts)]
            rows = [of_inputs[kind.input_of(layer)] for layer in layers]
            sums, counts = (torch.cat(values) for values in zip(*((row.sums, row.counts) for row in rows), strict=True))
            found[f"{kind.experts.path}.{name}"] = Importance(sums, counts)
    return found


def _importance_of_inputs(
    store: Store, sets: Sequence[ObservedSet], kind: BlockArchitecture, *, block: int
) -> dict[str, Importance]:
    """Return input -> its importance, of one expert for an input of an expert."""
    experts = kind.experts
    owners = (
        {}
        if experts is None
        else {layer: expert for expert in range(experts.n_experts) for layer in experts.layers(expert)}
    )
    total: dict[str, Importance] = {}
    for one, weight in zip(sets, token_weights(sets), strict=True):
        for name, sums in _sums_of_squares(store, one, block).items():
            n_tokens = one.n_routed[block, owners[name]] if name in owners else one.n_tokens
            counts = torch.tensor([float(n_tokens)], dtype=torch.float64)
            before = total.get(name, Importance(torch.zeros_like(sums), torch.zeros_like(counts)))
            total[name] = Importance(before.sums + weight * sums, before.counts + weight * counts)
    return total


def _sums_of_squares(store: Store, observed: ObservedSet, block: int) -> dict[str, Tensor]:
    """Return input of a block -> [1, in] float64, sums of squares over all counted tokens of a set."""
    try:
        totals = read_block_totals(store, observed.statistics.artefacts, block, selection=StatisticsSelection())
    except RetiredArtefactError as err:
        given, context = observed.given, {key: err.context[key] for key in ("path", "next")}
        expected = _entry_that_observes(observed.token_scope)
        raise RetiredArtefactError(err.message, {"set": given.label, "expected": expected, **context}) from err
    return {name: total.mean_squares()[None] * observed.n_demonstrations for name, total in totals.items()}
