"""Lines of a plan about the tokens that its variants will be made with, as far as they are known before a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlprune.corpus.token_languages import counted_by_language
from mlprune.counted import counted
from mlprune.errors import MlpruneError
from mlprune.json_values import as_int
from mlprune.models.architecture.architecture import Experts
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.planning.plan import Plan
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.job import SetSizes
from mlprune.steps.observe.passes import input_widths
from mlprune.steps.sets import PlannedSet
from mlprune.steps.variants.calibration_tokens import is_singular, languages_text, role_name, set_tokens
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.store.store import Store


@dataclass(frozen=True)
class _SetTokens:
    """Tokens of a set before the run."""

    label: str
    n_tokens: int
    is_known: bool
    """Whether the number is exact; otherwise it is an upper bound."""

    def __str__(self) -> str:
        return f"{'' if self.is_known else 'at most '}{self.n_tokens:,} {'token' if self.n_tokens == 1 else 'tokens'}"


def calibration_lines(plan: Plan, store: Store) -> list[str]:
    """Describe the smallest demonstration set of all variants, and name layers that get fewer tokens than inputs."""
    variants, sizes = list(plan.variants.values()), set_sizes(plan.jobs)
    planned = {one.id: one for variant in variants for one in _sets(variant)}
    ids = dict.fromkeys(set_id for variant in variants for set_id, _, _ in variant.spec.set_links())
    sets = {set_id: _tokens(store, planned[set_id], sizes) for set_id in ids if set_id in planned}
    if not sets:
        return []
    experts = architecture_at(plan.model.path).experts
    return [_smallest_line(store, sets, experts), *_warnings(plan, sets, experts)]


def _sets(variant: PlannedVariant) -> tuple[PlannedSet, ...]:
    of_parents = (one for parent in variant.parents for one in _sets(parent))
    return (*variant.sets, *((variant.contrast,) if variant.contrast else ()), *of_parents)


def _tokens(store: Store, planned: PlannedSet, sizes: SetSizes) -> _SetTokens:
    """Return the tokens of a set: those of the stored one, its budget, or as many as it can have."""
    record = store.read_record("demonstration_sets", planned.id)
    if record is not None:
        return _SetTokens(planned.label, as_int(record.rows["demonstration_sets"][0]["n_tokens"]), is_known=True)
    if planned.spec.token_budget is not None:
        return _SetTokens(planned.label, planned.spec.token_budget, is_known=True)
    most = sizes[planned.id].n_tokens if planned.id in sizes else planned.spec.samples * planned.spec.max_tokens
    return _SetTokens(planned.label, most, is_known=False)


def _smallest_line(store: Store, sets: Mapping[str, _SetTokens], experts: Mapping[int, Experts]) -> str:
    """Describe the set with the fewest tokens, by language if it is in the store."""
    set_id = min(sets, key=lambda one: (sets[one].n_tokens, sets[one].label, one))
    text = f"calibration: the smallest of {counted(len(sets), 'set')}, {sets[set_id].label}, has {sets[set_id]}"
    if store.read_record("demonstration_sets", set_id) is not None:
        try:
            text = f"{text}: {languages_text(counted_by_language(set_tokens(store, set_id), 'all'))}"
        except MlpruneError as err:
            text = f"{text}: their languages are unknown: {err}"
    if experts:
        block = min(experts, key=lambda one: (experts[one].top_k / experts[one].n_experts, one))
        n_tokens, of_block = _at_expert(sets[set_id].n_tokens, experts[block]), experts[block]
        share = f"{of_block.top_k} of {counted(of_block.n_experts, 'expert')}"
        text = f"{text}; an expert gets about {n_tokens:,} of them, if they are evenly routed ({share})"
    return text


def _at_expert(n_tokens: int, experts: Experts) -> int:
    """Return the tokens of one expert if all experts get as many."""
    return n_tokens * experts.top_k // experts.n_experts


def _warnings(plan: Plan, sets: Mapping[str, _SetTokens], experts: Mapping[int, Experts]) -> Iterator[str]:
    """Yield a warning per layer that gets fewer tokens than inputs in variants that read its Gram matrix.

    The tokens of a variant are those of its sets together. Of several layers, the one with most inputs is named.
    """
    readings = [read for variant in plan.variants.values() for read in _readings(variant)]
    widths = input_widths(plan.model)
    of_experts = {name for one in experts.values() for expert in range(one.n_experts) for name in one.layers(expert)}
    groups: list[tuple[str, Sequence[str], Experts | None]] = [
        ("layer", [name for name in widths if name not in of_experts], None)
    ]
    if experts:
        fewest = min(experts.values(), key=lambda one: one.top_k / one.n_experts)
        groups.append(("expert layer", [name for name in widths if name in of_experts], fewest))
    for noun, names, of_block in groups:
        widest = max(names, key=lambda name: widths[name], default=None)
        if widest is None:
            continue
        short = []
        for read in readings:
            total = sum(sets[one].n_tokens for one in read.set_ids)
            n_tokens = total if of_block is None else _at_expert(total, of_block)
            if is_singular(read.role, read.needs, n_tokens=n_tokens, n_inputs=widths[widest]):
                short.append(n_tokens)
        if short:
            expected = "at most" if of_block is None else "about"
            yield (
                f"warning: {expected} {min(short):,} tokens reach {noun} {widest} with {widths[widest]:,} inputs, so "
                f" its Gram matrix is singular in {counted(len(short), 'variant')}; use more demonstrations"
            )


class _Reading(NamedTuple):
    """Sets of one role that a variant reads, and the statistics that its score and refiner read."""

    role: str
    set_ids: tuple[str, ...]
    needs: tuple[str, ...]


def _readings(variant: PlannedVariant) -> Iterator[_Reading]:
    """Yield the sets of each role of a variant."""
    needs = variant.spec.needs if isinstance(variant.spec, ScoredVariant) else ()
    links = [(role_name(role), set_id) for set_id, role, _ in variant.spec.set_links()]
    for role in dict.fromkeys(role for role, _ in links):
        yield _Reading(role, tuple(set_id for of_set, set_id in links if of_set == role), needs)
