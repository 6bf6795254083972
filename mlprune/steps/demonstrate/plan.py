"""Plan the demonstration sets of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mlprune.corpus.part_sizes import part_counts
from mlprune.corpus.token_roles import check_scope, scopes_of
from mlprune.errors import CorpusError, RecipeError
from mlprune.evaluation.tasks.task_files import CORPUS, log_once
from mlprune.models.loading import load_tokenizer
from mlprune.recipe import DemonstrationConfig, Recipe
from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.steps.demonstrate.generated_plan import filled_prompt, generated_jobs
from mlprune.steps.demonstrate.jobs import DemonstrateJob, MixJob, fit_token_budget, fitting_groups
from mlprune.steps.demonstrate.leakage import READS_THE_CORPUS, check_leakage, evaluated_keys
from mlprune.steps.demonstrate.mixed_shares import Part, numeric_shares, shares_in_id
from mlprune.steps.demonstrate.published_sets import refuse_without_counterpart, with_published_sets
from mlprune.steps.demonstrate.source_texts import DEFAULT_TEMPLATES, SetSpec, read_source_texts
from mlprune.steps.demonstrate.token_coverage import check_samples, sample_texts
from mlprune.steps.evaluate.task_location import TaskLocation, locate_items
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, make_identity
from mlprune.vocabulary import ProfileName, TokenScope


@dataclass(frozen=True)
class PlannedSet:
    """One demonstration set with its job."""

    name: str
    spec: SetSpec
    identity: Identity
    job: Job
    activations: ActivationsConfig | None = None
    """Which raw activations are stored, if any."""
    sample: tuple[str, ...] = ()
    """Some of its texts; empty for a mixed or a generated set."""
    generation: Job | None = None
    """Job that writes the texts of a generated set."""

    @property
    def id(self) -> str:
        """The set's id."""
        return self.identity.id

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The job of the set, after the one that writes its texts, if there is one."""
        return (self.job,) if self.generation is None else (self.generation, self.job)

    @property
    def label(self) -> str:
        """A short description: "fr-en", "fr", "code", "text fr", "xnli fr", with options that are not the default."""
        spec, languages = self.spec, "-".join(self.spec.languages)
        parts = (
            spec.task or ("" if languages and spec.kind in READS_THE_CORPUS else spec.kind),
            languages,
            "" if spec.paired else "unpaired",
            f"{spec.token_budget} tokens" if spec.token_budget else "",
            "own template" if spec.template else "",
            f"seed {spec.seed}" if spec.seed else "",
            "" if spec.longer == "truncate_right" else f"longer: {spec.longer}",
        )
        return " ".join(part for part in parts if part)


PlannedSets = Mapping[str, tuple[PlannedSet, ...]]
"""Name in the recipe -> its sets."""


@dataclass(frozen=True)
class DemonstrationPlan:
    """All demonstration sets of a recipe."""

    by_profile: Mapping[ProfileName, PlannedSets]
    """Profile -> sets. Profile `paper` only has the sets that its variants read."""

    @property
    def default(self) -> PlannedSets:
        """The sets in the default profile."""
        return self.by_profile["corrected"]

    @property
    def distinct(self) -> list[PlannedSet]:
        """All sets, each once."""
        return [*{planned.id: planned for sets in self.by_profile.values() for planned in distinct_sets(sets)}.values()]


def distinct_sets(sets: PlannedSets) -> list[PlannedSet]:
    """All sets of one profile, each once."""
    return list({planned.id: planned for named in sets.values() for planned in named}.values())


def plan_demonstrations(recipe: Recipe, inputs: Inputs, *, evaluated: frozenset[int]) -> DemonstrationPlan:
    """Plan all demonstration sets of a recipe, in each profile that its variants use; see `plan_sets`.

    Raises:
        CorpusError: the tokenizer does not know the texts of a set.
    """
    by_profile: dict[ProfileName, PlannedSets] = {"corrected": plan_sets(recipe, inputs, evaluated=evaluated)}
    if any(entry.profile == "paper" and entry.reads_statistics for entry in recipe.variants):
        by_profile["paper"] = plan_sets(with_published_sets(recipe), inputs, evaluated=evaluated, profile="paper")
    plan = DemonstrationPlan(by_profile)
    samples = {f"{planned.name} ({planned.label})": planned.sample for planned in plan.distinct if planned.sample}
    check_samples(Path(inputs.model.path), samples)
    return plan


def plan_sets(
    recipe: Recipe,
    inputs: Inputs,
    *,
    evaluated: frozenset[int],
    profile: ProfileName = "corrected",
) -> dict[str, tuple[PlannedSet, ...]]:
    """Plan all sets of a recipe: name -> its sets, in the order of the recipe, parts before the sets that mix them.

    Args:
        evaluated: corpus lines that evaluations use.
        profile: `paper` makes the sets as the published code does.
    Raises:
        RecipeError: a set would contain an evaluated sentence or item, mixed sets contain each other, or the published
            code has no such set.
        CorpusError: the corpus lacks what a set needs, a template is wrong, or a language has no name for a template.
        TaskFileError: the items of a task set are missing or wrong.
    """
    planned: dict[str, list[PlannedSet]] = {}
    for entry in (entry for entry in recipe.demonstrations if entry.kind != "mixed"):
        planned_set = _plan_set(recipe, inputs, entry, evaluated=evaluated, profile=profile)
        planned.setdefault(entry.name, []).append(planned_set)
    waiting = [entry for entry in recipe.demonstrations if entry.kind == "mixed"]
    while waiting:
        ready = [entry for entry in waiting if all(part in planned for part in entry.parts)]
        if not ready:
            raise RecipeError("mixed sets contain each other", names=[entry.name for entry in waiting])
        for entry in ready:
            parts = [part for name in entry.parts for part in planned[name]]
            planned.setdefault(entry.name, []).append(_plan_mix(entry, parts, profile=profile))
        waiting = [entry for entry in waiting if entry not in ready]
    return {name: tuple(sets) for name, sets in planned.items()}


def _plan_set(
    recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, evaluated: frozenset[int], profile: ProfileName
) -> PlannedSet:
    """Plan a set that is drawn from texts."""
    if profile == "paper":
        refuse_without_counterpart(entry)
    if entry.kind == "generated":
        spec = _spec(recipe, entry, profile)
        generate, job = generated_jobs(entry, spec, recipe, inputs)
        return PlannedSet(entry.name, spec, job.identity, job, entry.activations, generation=generate)
    held_out = evaluated_keys(recipe, inputs, entry, lines=evaluated)
    spec = _spec(recipe, entry, profile)
    if recipe.corpus.leave_out_evaluated:
        spec = replace(spec, left_out=tuple(sorted(held_out, key=lambda key: (len(str(key)), str(key)))))
    try:
        texts = read_source_texts(spec, inputs.corpus_ref)
        if spec.token_budget is not None:
            spec = fit_token_budget(spec, texts, load_tokenizer(Path(inputs.model.path)))
        groups = fitting_groups(spec, texts, partial(load_tokenizer, Path(inputs.model.path)))
    except CorpusError as err:
        raise CorpusError(err.message, {"demonstrations": entry.name, **err.context}) from err
    for line in texts.skipped:
        log_once(f"demonstrations {entry.name}: {line}")
    check_leakage(entry, texts, groups.kept, evaluated=held_out)
    contents = texts.contents([number for numbers in groups.read for number in numbers])
    contents = {"tokenizer": inputs.tokenizer_content, **contents}
    identity = make_identity("demonstration_sets", spec.parameters, contents=contents)
    job = DemonstrateJob(identity, inputs.model, inputs.corpus_ref, spec, n_longer=groups.n_longer)
    return PlannedSet(entry.name, spec, identity, job, entry.activations, sample_texts(texts, groups.kept))


def _spec(recipe: Recipe, entry: DemonstrationConfig, profile: ProfileName) -> SetSpec:
    """The entry as plain values. A template equal to the default of the kind becomes None."""
    if entry.task and entry.path == CORPUS and (entry.task, recipe.corpus.kind) != ("facts", "cldr"):
        message = "only the built-in corpus has items, and they are facts"
        expected = "a folder of task files, or task: facts with corpus: {kind: cldr}"
        raise RecipeError(message, demonstrations=entry.name, expected=expected, got=entry.task)
    location = TaskLocation(folder=str(recipe.resolve(entry.path)) if entry.path else "")
    if entry.task and entry.path and entry.language:
        location = locate_items(recipe, entry.path, languages=[entry.language], split=entry.split or "")
    return SetSpec(
        kind=entry.kind,
        source=entry.source or entry.language,
        target=entry.target,
        shots=None if entry.kind == "code" else entry.shots,
        samples=entry.samples or 0,
        max_tokens=entry.max_tokens,
        seed=entry.seed,
        profile=profile,
        template=None if entry.template == DEFAULT_TEMPLATES[entry.kind] else entry.template,
        token_budget=entry.token_budget,
        task=entry.task,
        split=entry.split,
        prompt=filled_prompt(entry) if entry.kind == "generated" else None,
        temperature=(1.0 if entry.temperature is None else entry.temperature) if entry.kind == "generated" else None,
        paired=entry.paired,
        longer=entry.longer,
        path=location.folder,
        hub=location.hub,
    )


def _plan_mix(entry: DemonstrationConfig, parts: list[PlannedSet], *, profile: ProfileName) -> PlannedSet:
    """Plan a set that joins other sets, each once."""
    ids = {part.id: part.spec for part in parts}
    specs = list(ids.values())
    named = [Part(part.id, part.label, ("-".join(part.spec.languages), part.name)) for part in parts]
    try:
        shares = entry.shares if isinstance(entry.shares, str) else numeric_shares(dict(entry.shares), named)
        counts = part_counts([part.samples for part in specs], shares=shares, samples=entry.samples)
    except CorpusError as err:
        raise RecipeError(err.message, {"demonstrations": entry.name, **err.context}) from err
    spec = SetSpec(
        kind="mixed",
        source=None,
        target=None,
        shots=None,
        samples=sum(counts),
        max_tokens=max(part.max_tokens for part in specs),
        seed=entry.seed,
        profile=profile,
        part_kinds=tuple(dict.fromkeys(kind for part in specs for kind in part.kinds)),
    )
    identity = make_identity(
        "demonstration_sets",
        {
            "kind": "mixed",
            "shares": shares_in_id(shares),
            "samples": entry.samples,
            "seed": entry.seed,
            "profile": profile,
        },
        parents={"parts": list(ids)},
    )
    return PlannedSet(entry.name, spec, identity, MixJob(identity, tuple(ids), counts, spec))


def check_token_scope(planned: PlannedSet, token_scope: TokenScope) -> None:
    """Refuse a token scope without meaning for a set.

    Raises:
        RecipeError: the set's kind, the kind of one of its parts, or its profile does not have the scope.
    """
    for kind in planned.spec.kinds:
        try:
            check_scope(kind, token_scope, profile=planned.spec.profile, known=scopes_of(kind))
        except CorpusError as err:
            raise RecipeError(err.message, {"demonstrations": planned.name, **err.context}) from err
