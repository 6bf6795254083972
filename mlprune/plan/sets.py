"""Plan the demonstration sets and their observation."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.corpus.sources import content_of_code
from mlprune.corpus.templates import language_label
from mlprune.errors import RecipeError
from mlprune.recipe import DemonstrationConfig, Recipe
from mlprune.steps.demonstrate import DemonstrateJob, MixJob, SetSpec, files_of, lines_of
from mlprune.steps.inputs import Inputs
from mlprune.steps.jobs import Identity, Job, identified
from mlprune.steps.observe import ObserveJob


@dataclass(frozen=True)
class PlannedSet:
    """One demonstration set with its jobs."""

    name: str
    spec: SetSpec
    identity: Identity
    job: Job
    observe: ObserveJob

    @property
    def id(self) -> str:
        """The set's id."""
        return self.identity.id

    @property
    def label(self) -> str:
        """What the set is, in few words: "fr-en" or "fr" or "code", with its seed where that is not 0."""
        words = "-".join(self.spec.languages) or self.spec.kind
        return f"{words} seed {self.spec.seed}" if self.spec.seed else words


def plan_sets(recipe: Recipe, inputs: Inputs, *, evaluated: frozenset[int]) -> dict[str, tuple[PlannedSet, ...]]:
    """Name -> the sets of that name, in the order of the recipe; parts of mixed sets come before them.

    Args:
        evaluated: corpus lines that evaluations use.
    Raises:
        RecipeError: a set would use an evaluated sentence, or mixed sets go in circles.
        CorpusError: the corpus has not what a set needs, or a language has no name for the prompts.
    """
    planned: dict[str, list[PlannedSet]] = {}
    plain = [entry for entry in recipe.demonstrations if entry.kind != "mixed"]
    for entry in plain:
        planned.setdefault(entry.name, []).append(_plan_set(recipe, inputs, entry, evaluated=evaluated))
    waiting = [entry for entry in recipe.demonstrations if entry.kind == "mixed"]
    while waiting:
        ready = [entry for entry in waiting if all(part in planned for part in entry.parts)]
        if not ready:
            raise RecipeError("mixed sets unite each other in a circle", names=[entry.name for entry in waiting])
        for entry in ready:
            parts = [one for name in entry.parts for one in planned[name]]
            planned.setdefault(entry.name, []).append(_plan_mix(recipe, inputs, entry, parts))
        waiting = [entry for entry in waiting if entry not in ready]
    return {name: tuple(sets) for name, sets in planned.items()}


def _plan_set(recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, evaluated: frozenset[int]) -> PlannedSet:
    """A set made from the corpus or from code."""
    left_out = evaluated if recipe.corpus.leave_out_evaluated and entry.kind != "code" else frozenset()
    spec = SetSpec(
        kind=entry.kind,
        source=entry.source or entry.language,
        target=entry.target,
        shots=None if entry.kind == "code" else entry.shots,
        samples=entry.samples,
        max_tokens=entry.max_tokens,
        seed=entry.seed,
        code_path=str(recipe.resolve(entry.path)) if entry.path else "",
        left_out=tuple(sorted(left_out)),
    )
    for language in spec.languages:
        language_label(language)
    contents = {"tokenizer": inputs.tokenizer_content, **_contents(spec, inputs)}
    if entry.kind != "code":
        _refuse_evaluated(entry, spec, inputs, evaluated=evaluated)
    identity = identified("demonstration_sets", spec.parameters, contents=contents)
    job = DemonstrateJob(identity, inputs.model, inputs.corpus_ref, spec)
    return PlannedSet(entry.name, spec, identity, job, _observe(recipe, inputs, identity))


def _contents(spec: SetSpec, inputs: Inputs) -> Mapping[str, str]:
    """Hashes of the texts a set is made of."""
    if spec.kind == "code":
        return {"code": content_of_code(*files_of(spec))}
    return {language: inputs.corpus.content(language) for language in spec.languages}


def _refuse_evaluated(entry: DemonstrationConfig, spec: SetSpec, inputs: Inputs, *, evaluated: frozenset[int]) -> None:
    """Sentences that an evaluation uses are never demonstrations."""
    used = {line for lines in lines_of(spec, inputs.corpus) for line in lines}
    if used & evaluated:
        raise RecipeError(
            "demonstrations would show sentences that an evaluation uses",
            demonstrations=entry.name,
            expected="other sentences; corpus: {leave_out_evaluated: true} sees to it",
            got=f"{len(used & evaluated)} evaluated sentences, the first is line {min(used & evaluated) + 1}",
        )


def _plan_mix(recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, parts: list[PlannedSet]) -> PlannedSet:
    """A set that unites others."""
    ids = tuple(part.id for part in parts)
    samples = [part.spec.samples for part in parts]
    spec = SetSpec(
        kind="mixed",
        source=None,
        target=None,
        shots=None,
        samples=min(samples) * len(samples) if entry.shares == "equal" else sum(samples),
        max_tokens=max(part.spec.max_tokens for part in parts),
        seed=entry.seed,
    )
    identity = identified(
        "demonstration_sets",
        {"kind": "mixed", "shares": entry.shares, "seed": entry.seed},
        parents={"parts": list(ids)},
    )
    job = MixJob(identity, ids, entry.shares, spec)
    return PlannedSet(entry.name, spec, identity, job, _observe(recipe, inputs, identity))


def _observe(recipe: Recipe, inputs: Inputs, demonstrations: Identity) -> ObserveJob:
    """The dense pass over a set."""
    batch_tokens = recipe.compute.planned_batch_tokens
    parameters = {
        "propagation": "dense",
        "token_scope": "all",
        "dtype": inputs.model.dtype,
        "batch_tokens": batch_tokens,
    }
    parents = {"base_model": inputs.base.id, "demonstration_set": demonstrations.id}
    identity = identified("statistics", parameters, parents=parents)
    return ObserveJob(identity, inputs.model, demonstrations.id, batch_tokens)
