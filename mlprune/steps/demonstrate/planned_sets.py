"""Plan the demonstration sets of a recipe: drawn, mixed and published, without evaluated texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

from mlprune.corpus.demonstrations import exact_shares, part_counts
from mlprune.errors import CorpusError, RecipeError, TaskFileError
from mlprune.evaluation.tasks.task_files import CORPUS, ItemSelection, log_once, read_items
from mlprune.json_values import JsonValue
from mlprune.models.loading import load_tokenizer
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.steps.demonstrate import writing
from mlprune.steps.inputs import Inputs, planned_chat
from mlprune.steps.job import make_identity
from mlprune.steps.sets import (
    DEFAULT_TEMPLATES,
    READS_THE_CORPUS,
    DemonstrationPlan,
    PlannedSet,
    PlannedSets,
    SetSpec,
    SourceTexts,
    read_source_texts,
)
from mlprune.steps.tasks.evaluation import task_data
from mlprune.steps.tasks.task_spec import TaskLocation, TaskSpec, in_profile, locate_items, task_of_entry, task_source
from mlprune.vocabulary import DemonstrationKind, ProfileName

PUBLISHED: tuple[DemonstrationKind, ...] = ("translation", "monolingual", "code")
"""Kinds of drawn sets that the published code has."""
PlanEntry = Callable[[DemonstrationConfig, SetSpec], PlannedSet]
"""Plans the set of an entry of a kind whose texts a job makes."""


def evaluated_keys(
    recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, lines: frozenset[int]
) -> frozenset[int | str]:
    """Keys of the texts of an entry that evaluations use: lines of the corpus, or ids of the task's items."""
    if entry.kind in READS_THE_CORPUS:
        return frozenset(lines)
    if entry.kind != "task":
        return frozenset()
    specs: list[TaskSpec] = []
    for evaluation in recipe.evaluations:
        if _reads_same_items(recipe, evaluation, entry):
            corpus = inputs.corpus_ref if evaluation.path == CORPUS else None
            spec = task_of_entry(recipe, evaluation, corpus=corpus)
            choices = product(evaluation.languages, evaluation.profile)
            specs += [replace(in_profile(spec, profile), language=language) for language, profile in choices]
    return frozenset(_id_in_file(spec, item.example_id) for spec in specs for item in task_data(spec).items)


def _id_in_file(spec: TaskSpec, example_id: str) -> str:
    return example_id if spec.aligned else example_id.removeprefix(f"{spec.language}:")


def _reads_same_items(recipe: Recipe, evaluation: EvaluationConfig, entry: DemonstrationConfig) -> bool:
    halves_differ = evaluation.path == CORPUS and evaluation.split_by != "items"
    if evaluation.task != entry.task or (evaluation.split != entry.split and not halves_differ):
        return False
    first, second = (task_source(recipe, path or "") for path in (evaluation.path, entry.path))
    if isinstance(first, Path) and isinstance(second, Path):
        is_same = first.resolve() == second.resolve()
        return is_same or (evaluation.path != CORPUS and _have_equal_items(first, second, entry))
    return first == second


def _have_equal_items(first: Path, second: Path, entry: DemonstrationConfig) -> bool:
    """Whether two paths have the same items in the language of an entry: a folder, its archive and its files do."""
    assert entry.task, "a task set has a task"
    assert entry.language, "a task set has a language"
    read = partial(read_items, entry.task, selection=ItemSelection(entry.language, entry.split or ""))
    try:
        contents = {read(path).content_sha256 for path in (first, second)}
    except TaskFileError:
        return False
    return len(contents) == 1


def check_leakage(
    entry: DemonstrationConfig,
    texts: SourceTexts,
    groups: Sequence[tuple[int, ...]],
    *,
    evaluated: frozenset[int | str],
) -> None:
    """Refuse demonstrations with texts that an evaluation uses.

    Args:
        groups: numbers of each demonstration's texts.
        evaluated: keys of the texts that evaluations use.
    Raises:
        RecipeError: a demonstration has such a text.
    """
    used = sorted(number for numbers in groups for number in numbers if texts.keys[number] in evaluated)
    if used:
        raise RecipeError(
            f"demonstrations would contain {texts.unit} that an evaluation uses",
            demonstrations=entry.name,
            expected=f"other {texts.unit}; corpus: {{leave_out_evaluated: true}} skips the evaluated ones",
            got=f"{len(used)} evaluated {texts.unit}, the first is line {used[0] + 1}",
        )


@dataclass(frozen=True)
class Part:
    """A part of a mixed set, as shares name it."""

    id: str
    label: str
    names: tuple[str, ...]
    """Its languages, such as `fr` or `fr-en`, and the name of its entry."""


def numeric_shares(given: Mapping[str, float], parts: Sequence[Part]) -> tuple[float, ...]:
    """Return the share of each distinct part.

    Raises:
        CorpusError: a part has no share or several, or a share belongs to no part or to several.
    """
    keys: dict[str, str] = {}
    for part in parts:
        names = [name for name in dict.fromkeys(part.names) if name in given]
        if len(names) != 1:
            got = ", ".join(names) or "none"
            raise CorpusError("a part of a mixed set needs one share", part=part.label, expected="one share", got=got)
        keys[part.id] = names[0]
    if sorted(keys.values()) != sorted(given):
        got = ", ".join(key for key in given if list(keys.values()).count(key) != 1)
        expected = f"one part per share: {', '.join(part.label for part in parts)}"
        raise CorpusError("a share of a mixed set belongs to no part, or to several", expected=expected, got=got)
    return tuple(given[key] for key in keys.values())


def shares_in_id(shares: str | Sequence[float]) -> JsonValue:
    """Return shares as parameters of an id: their unit does not matter."""
    return shares if isinstance(shares, str) else [str(share) for share in exact_shares(shares)]


def with_published_sets(recipe: Recipe) -> Recipe:
    """Return the recipe without demonstrations that no variant of profile `paper` reads, directly or as a part."""
    entries = [entry for entry in recipe.variants if entry.profile == "paper" and entry.reads_statistics]
    names = {name for entry in entries for name in (entry.demonstrations, entry.contrast, *entry.over) if name}
    waiting = list(names)
    while waiting:
        parts = {part for entry in recipe.sets_named(waiting.pop()) for part in entry.parts} - names
        names |= parts
        waiting.extend(sorted(parts))
    demonstrations = tuple(entry for entry in recipe.demonstrations if entry.name in names)
    return recipe.model_copy(update={"demonstrations": demonstrations})


def refuse_without_counterpart(entry: DemonstrationConfig) -> None:
    """Refuse a set that the published code cannot make.

    Raises:
        RecipeError: it is of another kind than the published three, has a token budget, is unpaired, or does not
            cut the end of longer demonstrations off, or is a chat.
    """
    for what, absent in (
        (f"kind {entry.kind}", entry.kind not in PUBLISHED),
        ("token_budget", entry.token_budget is not None),
        ("paired: false", not entry.paired),
        (f"longer: {entry.longer}", entry.longer != "truncate_right"),
        ("chat", entry.chat is not None),
    ):
        if absent:
            message = "the published code has no such demonstrations"
            raise RecipeError(message, demonstrations=entry.name, expected="profile: corrected", got=what)


def plan_demonstrations(
    recipe: Recipe, inputs: Inputs, *, evaluated: frozenset[int], of_kinds: Mapping[DemonstrationKind, PlanEntry] = {}
) -> DemonstrationPlan:
    """Plan all demonstration sets of a recipe, in each profile that its variants use; see `plan_sets`.

    Raises:
        CorpusError: the tokenizer does not know the texts of a set.
    """
    plan_profile = partial(plan_sets, inputs=inputs, evaluated=evaluated, of_kinds=of_kinds)
    by_profile: dict[ProfileName, PlannedSets] = {"corrected": plan_profile(recipe)}
    if any(entry.profile == "paper" and entry.reads_statistics for entry in recipe.variants):
        by_profile["paper"] = plan_profile(with_published_sets(recipe), profile="paper")
    plan = DemonstrationPlan(by_profile)
    samples = {f"{planned.name} ({planned.label})": planned.sample for planned in plan.distinct if planned.sample}
    writing.check_samples(Path(inputs.model.path), samples)
    return plan


def plan_sets(
    recipe: Recipe,
    inputs: Inputs,
    *,
    evaluated: frozenset[int],
    profile: ProfileName = "corrected",
    of_kinds: Mapping[DemonstrationKind, PlanEntry] = {},
) -> dict[str, tuple[PlannedSet, ...]]:
    """Plan all sets of a recipe: name -> its sets, in the order of the recipe, parts before the sets that mix them.

    Args:
        evaluated: corpus lines that evaluations use.
        profile: `paper` makes the sets as the published code does.
        of_kinds: kind whose texts a job makes -> function that plans a set.
    Raises:
        RecipeError: a set would contain an evaluated sentence or item, mixed sets contain each other, or the published
            code has no such set.
        CorpusError: the corpus lacks what a set needs, a template is wrong, or a language has no name for a template.
        TaskFileError: the items of a task set are missing or wrong.
    """
    planned: dict[str, list[PlannedSet]] = {}
    for entry in (entry for entry in recipe.demonstrations if entry.kind != "mixed"):
        if profile == "paper":
            refuse_without_counterpart(entry)
        if entry.kind in of_kinds:
            planned_set = of_kinds[entry.kind](entry, _spec(recipe, inputs, entry, profile=profile))
        else:
            planned_set = _plan_drawn_set(recipe, inputs, entry, evaluated=evaluated, profile=profile)
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


def _plan_drawn_set(
    recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, evaluated: frozenset[int], profile: ProfileName
) -> PlannedSet:
    """Plan a set that is drawn from texts that are there."""
    held_out = evaluated_keys(recipe, inputs, entry, lines=evaluated)
    spec = _spec(recipe, inputs, entry, profile=profile)
    if recipe.corpus.leave_out_evaluated:
        spec = replace(spec, left_out=tuple(sorted(held_out, key=lambda key: (len(str(key)), str(key)))))
    try:
        texts = read_source_texts(spec, inputs.corpus_ref)
        if spec.token_budget is not None:
            spec = writing.fit_token_budget(spec, texts, load_tokenizer(Path(inputs.model.path)))
        groups = writing.fitting_groups(spec, texts, partial(load_tokenizer, Path(inputs.model.path)))
    except CorpusError as err:
        raise CorpusError(err.message, {"demonstrations": entry.name, **err.context}) from err
    for line in texts.skipped:
        log_once(f"demonstrations {entry.name}: {line}")
    check_leakage(entry, texts, groups.kept, evaluated=held_out)
    contents = texts.contents([number for numbers in groups.read for number in numbers])
    contents = {"tokenizer": inputs.tokenizer_content, **contents}
    identity = make_identity("demonstration_sets", spec.parameters, contents=contents)
    cut = writing.cut_targets(spec, texts, Path(inputs.model.path), set_id=identity.id)
    job = writing.DemonstrateJob(identity, inputs.model, inputs.corpus_ref, spec, n_longer=groups.n_longer, cut=cut)
    if warning := cut.warning(spec.max_tokens):
        log_once(f"demonstrations {entry.name} ({'-'.join(spec.languages)}): {warning}")
    sample = writing.sample_texts(texts, groups.kept)
    lines = {line for numbers in groups.kept for line in numbers} if entry.kind in READS_THE_CORPUS else ()
    return PlannedSet(entry.name, spec, identity, job, entry.activations, sample, lines=tuple(sorted(lines)))


def _spec(recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, profile: ProfileName) -> SetSpec:
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
        draw=entry.draw,
        template=None if entry.template == DEFAULT_TEMPLATES[entry.kind] else entry.template,
        token_budget=entry.token_budget,
        task=entry.task,
        split=entry.split,
        paired=entry.paired,
        longer=entry.longer,
        chat=planned_chat(inputs.model, entry.chat),
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
    job = writing.MixJob(identity, tuple(ids), counts, spec)
    return PlannedSet(entry.name, spec, identity, job, parts=tuple(parts))
