"""Text of `mlprune plan`: jobs, device, and what the jobs need."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.counted import counted
from mlprune.evaluation.tasks.task_files import CORPUS
from mlprune.hub import format_size
from mlprune.json_values import as_int
from mlprune.languages import pair_languages
from mlprune.models.model_layers import dense_groups
from mlprune.planning import Plan, build_plan, extend_plan, pending_jobs
from mlprune.planning.pending import RetiredFiles, find_retired
from mlprune.planning.resources.estimate import Needs, adopted_evaluations, needs_of
from mlprune.planning.resources.node_capacity import GIB, Node
from mlprune.planning.resources.search_costs import search_costs, sensitivity_costs
from mlprune.recipe import EvaluationConfig, Recipe
from mlprune.steps.demonstrate.writing import DemonstrateJob
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.inputs import corpus_ref, open_corpus
from mlprune.steps.job import Job, JobCost, ModelRef, block_flops
from mlprune.steps.observe.activations import ActivationsJob
from mlprune.steps.observe.block_pass import ObserveBlocksJob
from mlprune.steps.prune.ordering import DenseVariantJob
from mlprune.steps.questions.declarations import declarations
from mlprune.steps.tasks.evaluation import as_run, prepared_task, task_data
from mlprune.steps.variants.variant_text import parameter_words
from mlprune.steps.vocabulary.sizes import model_sizes
from mlprune.steps.vocabulary.variant import VocabularyJob, require_prompts
from mlprune.store.retired import remake_command
from mlprune.store.store import Store
from ray_jobs.cli.needs_text import describe_needs, search_lines, sensitivity_lines
from ray_jobs.driver import model_imports
from ray_jobs.driver.capacity_checks import local_ray_node, question_lines, require_room
from ray_jobs.driver.changed_recipe import NO_CHANGES, RecipeChanges, RecipeSource, load_changed_recipe
from ray_jobs.driver.workplace import LOCAL_ADDRESSES, machines
from ray_jobs.workers.node_resources import local_node

MAX_LISTED = 5
"""Most items that one line names."""
ENOUGH_TEXTS = 100
"""Texts from which intervals of perplexity cover about as often as stated, unless changes are very skewed."""


@dataclass(frozen=True)
class DescribedPlan:
    """What a recipe would run."""

    text: str
    """Jobs, device, and what the jobs need, as lines."""
    n_variants: int = 0
    """0 if models have to be imported first."""
    steps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Step -> number of its jobs, and of those that are not done; empty if models have to be imported first."""


def described_plan(
    source: RecipeSource,
    store_uri: str,
    *,
    changes: RecipeChanges = NO_CHANGES,
    allow_import: bool = False,
    nodes: Sequence[Node] = (),
    address: str = "local",
    has_power: bool = False,
) -> DescribedPlan:
    """Describe what a recipe would run and what it needs. Writes nothing but imported models.

    Args:
        source: the recipe file, or its content.
        allow_import: import the models that the recipe asks to import; otherwise those imports are described.
        nodes: described machines; empty for those at the address.
        address: `local` for this machine, or the address of a cluster.
        has_power: all about the power of each question.
    Raises:
        BadInputError: the recipe cannot be run, or does not fit on the machines, or the cluster cannot be reached.
    """
    store = Store(store_uri)
    store.require_current_version()
    recipe = load_changed_recipe(source, changes)
    requested = model_imports.requested_imports(recipe, store_uri=store_uri, address="local")
    if not allow_import and (missing := model_imports.pending_imports(requested)):
        return DescribedPlan("\n".join(_describe_imports(recipe, missing)))
    recipe = model_imports.import_requested(recipe, requested, is_allowed=allow_import)
    processors: Mapping[str, int] = {}
    if not nodes and address not in LOCAL_ADDRESSES:
        with machines(address, recipe.compute.node_labels) as available:
            nodes, processors = available.nodes, available.processors()
    plan = extend_plan(build_plan(recipe, nodes or [local_node()]), store)
    pending = pending_jobs(plan.jobs, store)
    retired = find_retired(plan.jobs, pending, store)
    adopted = adopted_evaluations(pending, store)
    needs = needs_of(plan, pending, adopted=adopted)
    require_room(needs, store)
    require_prompts(pending, store)
    lines = [
        *_job_lines(plan, pending),
        *_observation_lines(pending, needs),
        *_adoption_lines(len(adopted)),
        *_longer_lines(pending),
        *_retired_lines(retired, store),
        _device_line(plan, needs.batch_tokens),
        *_dense_lines(plan.model, plan.jobs),
        *_vocabulary_lines(plan, store),
        *_corpus_lines(plan.recipe),
        *_warnings(plan.recipe),
        *_few_texts_lines(plan.jobs),
        *processor_lines(processors),
        *question_lines(plan, store, declarations(plan.questions, store), is_detailed=has_power),
        *_needs_lines(plan, needs, nodes),
    ]
    n_total, n_pending = (Counter(job.step for job in jobs) for jobs in (plan.jobs, pending))
    steps = {step: (n, n_pending[step]) for step, n in n_total.items()}
    return DescribedPlan("\n".join(lines), len(plan.variants), steps)


def _job_lines(plan: Plan, pending: Sequence[Job]) -> list[str]:
    """The number of variants and jobs, one line per step, and one per set whose raw activations are stored."""
    n_total, n_pending = (Counter(job.step for job in jobs) for jobs in (plan.jobs, pending))
    lines = [
        f"recipe {plan.recipe.name}: {_format_variants(plan)}, {counted(len(plan.jobs), 'job')}, {len(pending)} to do"
    ]
    lines += [
        f"  {step:12} {n:6} {'job ' if n == 1 else 'jobs'} {n - n_pending[step]:6} done {n_pending[step]:6} to do"
        for step, n in n_total.items()
    ]
    lines += [
        f"raw activations of {job.set_name}: at most {job.most_bytes / GIB:.3f} GiB, quota {job.quota_gib:g} GiB"
        for job in plan.jobs
        if isinstance(job, ActivationsJob)
    ]
    return lines


def _observation_lines(pending: Sequence[Job], needs: Needs) -> list[str]:
    """One line per set that is observed block by block: its statistics, and what they cost."""
    return [
        f"observed block by block: {job.set_label}: squares, {', '.join(name for name, _ in job.observed)}: "
        f"{cost.fixed_bytes / GIB:.2f} GiB of memory, {cost.disk_bytes / GIB:.3f} GiB on disk, {_runs(cost)}"
        f"{cost.flops / block_flops(needs.sizes, cost.n_tokens):.1f} times the operations of a pass for squares alone"
        for job, cost in zip(pending, needs.costs, strict=True)
        if isinstance(job, ObserveBlocksJob)
    ]


def _runs(cost: JobCost) -> str:
    return f"{cost.n_runs} passes over the experts of every block, " if cost.n_runs > 1 else ""


def _longer_lines(pending: Sequence[Job]) -> list[str]:
    """One line per set and per task with texts that are too long and are therefore left out or cut."""
    lines = [
        f"longer than max_tokens: {counted(job.n_longer, 'demonstration')} of {_set_text(job)}: {job.spec.longer}"
        for job in pending
        if isinstance(job, DemonstrateJob) and job.n_longer
    ]
    lines += [
        f"cut before the target: {job.cut} of {_set_text(job)}: max_tokens {job.spec.max_tokens}"
        for job in pending
        if isinstance(job, DemonstrateJob) and job.cut.n
    ]
    evaluations = {
        (as_run(evaluation.task), job.model, job.batch_tokens): evaluation.task.longer
        for job in pending
        if isinstance(job, EvaluateJob)
        for evaluation in job.evaluations
        if evaluation.task.longer != "refuse"
    }
    for (task, model, batch_tokens), longer in evaluations.items():
        ids = prepared_task(task, model, batch_tokens).longer_ids
        if ids:
            more = f" and {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
            lines.append(
                f"longer than the model: {counted(len(ids), 'item')} of {task.task} {task.language} {task.split}: "
                f"{longer}: {', '.join(ids[:MAX_LISTED])}{more}"
            )
    return lines


def _set_text(job: DemonstrateJob) -> str:
    return " ".join(filter(None, (job.spec.kind, "-".join(job.spec.languages))))


def _dense_lines(model: ModelRef, jobs: Sequence[Job]) -> list[str]:
    """One line about the parameters of two or more dimensions in blocks that stay dense, if there are any."""
    of_model = (job for job in jobs if isinstance(job, DenseVariantJob) and job.base.id == model.base_model_id)
    groups = dense_groups(layer for job in of_model for layer in job.layers)
    if not groups:
        return []
    reasons: dict[str, list[str]] = {}
    for group in groups:
        reasons.setdefault(group.reason, []).append(group.name)
    listed = [f"{', '.join(names)} ({reason})" for reason, names in list(reasons.items())[:MAX_LISTED]]
    n_weights = sum(group.n_weights for group in groups)
    return [
        f"stays dense: {n_weights:,} weights in blocks: {'; '.join(listed)}; "
        f"details: mlprune check model {shlex.quote(model.path)}"
    ]


def _vocabulary_lines(plan: Plan, store: Store) -> list[str]:
    """One line per smaller vocabulary: its tokens and weights, as bounds until they are chosen, and its export."""
    lines = Counter(_vocabulary_line(job, store) for job in plan.jobs if isinstance(job, VocabularyJob))
    return [line if n == 1 else f"{line}; {n} variants" for line, n in lines.items()]


def _vocabulary_line(job: VocabularyJob, store: Store) -> str:
    sizes, record, size = model_sizes(job.variant.model), store.read_record(*job.identity.key), job.choice.size
    n_kept, n_most, of_tokens, of_weights = sizes.n_least, sizes.n_tokens, "at least ", "at most "
    if record is not None:
        n_kept = n_most = as_int(record.rows["vocabularies"][0]["n_kept"])
        of_tokens = of_weights = ""
    elif size is not None:
        n_kept, n_most, of_tokens, of_weights = size, size, "at most ", "at least "
    keeps = " ".join(parameter_words(dict(job.variant.settings)))
    share = sizes.n_removed_weights(n_kept) / sizes.n_weights
    return (
        f"vocabulary {keeps}: {of_tokens}{n_kept:,} of {sizes.n_tokens:,} tokens stay, "
        f"{of_weights}{share:.1%} of all weights go; an export holds at most {format_size(sizes.export_bytes(n_most))} "
        "of rows in memory"
    )


def _adoption_lines(n_adopted: int) -> list[str]:
    """One line about the evaluations that run no model, if there are any."""
    if not n_adopted:
        return []
    return [f"adopted: {counted(n_adopted, 'evaluation')} with the predictions of an earlier version; no model runs"]


def _retired_lines(retired: RetiredFiles, store: Store) -> list[str]:
    """One line on retired files, if the recipe has any, and one if pending jobs need them."""
    if not retired.files:
        return []
    size = format_size(retired.n_bytes)
    lines = [f"retired: {counted(len(retired.files), 'group')} of files, {size}, which count as done"]
    if retired.needed:
        n_needed = counted(len(retired.needed), "group")
        lines.append(f"retired: jobs to do need {n_needed} of them: {remake_command(store.uri)}")
    return lines


def _needs_lines(plan: Plan, needs: Needs, nodes: Sequence[Node]) -> list[str]:
    """What the pending jobs need on the nodes of a cluster, or on this machine if there are none."""
    searches, analyses = search_costs(plan, needs.sizes), sensitivity_costs(plan, needs.sizes)
    if nodes:
        return describe_needs(needs, needs.pool(nodes), nodes, is_here=False, searches=searches, analyses=analyses)
    here = local_ray_node(needs.compute)
    if needs.model.device == "cuda" and not here.gpus:
        lines = [*search_lines(searches, lambda _: None), *sensitivity_lines(analyses, lambda _: None)]
        return [*lines, "pool:   none on this machine, which has no accelerator: describe the machines with --cluster"]
    return describe_needs(needs, needs.pool([here]), [here], is_here=True, searches=searches, analyses=analyses)


def _describe_imports(recipe: Recipe, pending: Sequence[model_imports.RequestedImport]) -> list[str]:
    """Describe imports without which the recipe cannot be planned: ids follow from the files of its models."""
    entries = (
        counted(len(recipe.variants), "variant entry", "variant entries"),
        f"{len(recipe.evaluations)} evaluations",
    )
    return [
        f"recipe {recipe.name}: {', '.join(entries)}; its jobs are planned after the import of its models",
        *(f"  {line}" for request in pending for line in request.describe()),
        f"next: the same command with {model_imports.ALLOW_IMPORT}, or mlprune run with {model_imports.ALLOW_IMPORT}",
    ]


def _device_line(plan: Plan, batch_tokens: int) -> str:
    """One line with the resolved device, dtype and size of batches."""
    model = plan.model
    precision = ", products in TF32" if model.tf32 and model.dtype == "float32" else ""
    return f"device: {model.device}, {model.dtype}{precision}, batches of {batch_tokens} tokens"


def _corpus_lines(recipe: Recipe) -> list[str]:
    """One line with the split of the corpus, if its text has splits."""
    config = recipe.corpus
    if config.kind == "cldr":
        return []
    corpus = open_corpus(corpus_ref(recipe))
    chosen = "" if config.split else ", chosen by default"
    return [f"corpus: {config.path}, split {corpus.split}{chosen}"] if corpus.split else []


def _warnings(recipe: Recipe) -> list[str]:
    """One line per score that ignores keys of its entries, and per task whose halves share clusters."""
    ignored: dict[str, set[str]] = {}
    for entry in recipe.variants:
        if entry.score is not None and entry.ignored_keys:
            ignored.setdefault(entry.score, set()).update(entry.ignored_keys)
    return [
        f"warning: score {score} reads no statistics and ignores {', '.join(sorted(keys))}"
        for score, keys in ignored.items()
    ] + [
        f"warning: the halves dev and test of {task} share clusters, so a choice on dev has seen parts of test; "
        "split_by: clusters separates them"
        for task in _tasks_with_shared_clusters(recipe)
    ]


def _few_texts_lines(jobs: Sequence[Job]) -> list[str]:
    """Return a warning if perplexity is measured on too few texts for the stated coverage of its intervals."""
    tasks = {as_run(one.task) for job in jobs if isinstance(job, EvaluateJob) for one in job.evaluations}
    sizes = sorted(len(task_data(task).items) for task in tasks if task.definition.reads == "sentences")
    if not sizes or sizes[0] >= ENOUGH_TEXTS:
        return []
    return [
        f"warning: perplexity on {sizes[0]} items; below {ENOUGH_TEXTS}, 95 % intervals of a loss that few items cause "
        "cover only 86 to 93 % and end too low (docs/definitions.md, Perplexity)"
    ]


def _tasks_with_shared_clusters(recipe: Recipe) -> list[str]:
    """Return the tasks with both halves of a corpus that has clusters, if a half is drawn from the items."""
    entries: dict[str, list[EvaluationConfig]] = {}
    for entry in recipe.evaluations:
        if entry.path == CORPUS and (entry.task == "facts" or _has_documents(recipe, entry)):
            entries.setdefault(entry.task, []).append(entry)
    return [
        task
        for task, of_task in entries.items()
        if len({entry.split for entry in of_task}) > 1 and any(entry.split_by == "items" for entry in of_task)
    ]


def _has_documents(recipe: Recipe, entry: EvaluationConfig) -> bool:
    """Whether the recipe's corpus states the documents of its sentences."""
    language = (*entry.languages, *(pair_languages(pair)[0] for pair in entry.pairs))[0]
    return bool(open_corpus(corpus_ref(recipe)).documents(language))


def processor_lines(processors: Mapping[str, int]) -> list[str]:
    """Return a warning if the nodes of a cluster have several kinds of processor, which are mapped to numbers of nodes.

    The last bits of a number then depend on the node that computes it.
    """
    if len(processors) < 2:
        return []
    kinds = "; ".join(f"{counted(n, 'node')} of {processor}" for processor, n in sorted(processors.items()))
    return [
        f"warning: {len(processors)} kinds of processor can differ in the last bits: {kinds}; compute.node_labels "
        "selects nodes of one kind"
    ]


def _format_variants(plan: Plan) -> str:
    """Format the number of variants and of excluded combinations."""
    text = counted(len(plan.variants), "variant")
    return f"{text} ({counted(plan.recipe.n_excluded, 'combination')} excluded)" if plan.recipe.n_excluded else text
