"""The text of a plan: its jobs, its device, its warnings and questions, and what the jobs need."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mlprune.counted import counted
from mlprune.evaluation.tasks.task_files import CORPUS
from mlprune.hub import format_size
from mlprune.languages import pair_languages
from mlprune.planning.pending import RetiredFiles, find_retired, pending_jobs
from mlprune.planning.plan import Plan
from mlprune.planning.resources.estimate import Needs, adopted_evaluations, needs_of
from mlprune.planning.resources.probe_costs import AnalysisCost, probe_costs
from mlprune.planning.text.calibration_lines import calibration_lines
from mlprune.planning.text.needs_lines import PlannedMachines, needs_lines
from mlprune.planning.text.question_lines import question_lines
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.inputs import corpus_ref, open_corpus
from mlprune.steps.job import Job, JobCost
from mlprune.steps.plan_lines import Place, PlannedJobs
from mlprune.steps.questions.declarations import declarations
from mlprune.steps.trials_cost import Seconds, about, total_seconds
from mlprune.store.retired import remake_command
from mlprune.store.store import Store


@dataclass(frozen=True)
class PlannedWork:
    """A plan, and what a store lacks of it."""

    plan: Plan
    store: Store
    pending: Sequence[Job]
    """Jobs that are not done."""
    adopted: Collection[str]
    """Ids of the evaluations with the predictions of an earlier version, for which no model runs."""
    needs: Needs
    """Of the pending jobs."""

    @property
    def steps(self) -> Mapping[str, tuple[int, int]]:
        """Step -> number of its jobs, and of those that are not done."""
        n_total, n_pending = (Counter(job.step for job in jobs) for jobs in (self.plan.jobs, self.pending))
        return {step: (n, n_pending[step]) for step, n in n_total.items()}


def planned_work(plan: Plan, store: Store) -> PlannedWork:
    """Find out what a store lacks of a plan. Nothing is written."""
    pending = pending_jobs(plan.jobs, store)
    adopted = adopted_evaluations(pending, store)
    return PlannedWork(plan, store, pending, adopted, needs_of(plan, pending, adopted=adopted))


def plan_lines(work: PlannedWork, machines: PlannedMachines, *, has_power: bool = False) -> list[str]:
    """Describe a plan on some machines.

    Args:
        has_power: all about the power of each question.
    Raises:
        BadInputError: the model does not fit on the machines.
    """
    plan, pending, store = work.plan, work.pending, work.store
    retired, of_jobs = find_retired(plan.jobs, pending, store), _job_lines(work)
    return [
        *_step_lines(work),
        *of_jobs["steps"],
        *of_jobs["passes"],
        *_adoption_lines(len(work.adopted)),
        *of_jobs["texts"],
        *_retired_lines(retired, store),
        _device_line(plan, work.needs.batch_tokens),
        *of_jobs["model"],
        *_corpus_lines(plan.recipe),
        *calibration_lines(plan, store),
        *_recipe_warnings(plan.recipe),
        *of_jobs["warnings"],
        *_processor_lines(machines.processors),
        *question_lines(plan, store, declarations(plan.questions, store), is_detailed=has_power),
        *_needs_lines(work, machines),
    ]


def _step_lines(work: PlannedWork) -> list[str]:
    """The number of variants and jobs, then one line per step."""
    plan, n_jobs = work.plan, counted(len(work.plan.jobs), "job")
    return [
        f"recipe {plan.recipe.name}: {_format_variants(plan)}, {n_jobs}, {len(work.pending)} to do",
        *(
            f"  {step:12} {n:6} {'job ' if n == 1 else 'jobs'} {n - n_pending:6} done {n_pending:6} to do"
            for step, (n, n_pending) in work.steps.items()
        ),
    ]


def _job_lines(work: PlannedWork) -> Mapping[Place, Sequence[str]]:
    """Place -> what the jobs say there, class by class in the order of the plan."""
    jobs: dict[type[Job], list[Job]] = defaultdict(list)
    for job in work.plan.jobs:
        jobs[type(job)].append(job)
    pending: dict[type[Job], list[tuple[Job, JobCost]]] = defaultdict(list)
    for job, cost in zip(work.pending, work.needs.costs, strict=True):
        pending[type(job)].append((job, cost))
    lines: dict[Place, list[str]] = defaultdict(list)
    for kind, of_kind in jobs.items():
        planned = PlannedJobs(of_kind, pending[kind], work.plan.model.base_model_id, work.needs.sizes, work.store)
        for place, text in kind.plan_lines(planned):
            lines[place].append(text)
    return lines


def _format_variants(plan: Plan) -> str:
    """Format the number of variants and of excluded combinations."""
    text = counted(len(plan.variants), "variant")
    return f"{text} ({counted(plan.recipe.n_excluded, 'combination')} excluded)" if plan.recipe.n_excluded else text


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


def _recipe_warnings(recipe: Recipe) -> list[str]:
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


def _processor_lines(processors: Mapping[str, int]) -> list[str]:
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


def _needs_lines(work: PlannedWork, machines: PlannedMachines) -> list[str]:
    """What the pending jobs need on the machines."""
    needs = work.needs
    sizes, sets, analyses = needs.sizes, set_sizes(work.plan.jobs), probe_costs(work.plan, needs.sizes)

    def of_trials(seconds: Seconds) -> list[str]:
        of_parts = [line for part in work.plan.parts for line in part.plan_lines(sizes, sets, seconds=seconds)]
        return [*of_parts, *probe_lines(analyses, seconds)]

    if machines.is_here and needs.model.device == "cuda" and not machines.nodes[0].gpus:
        return [
            *of_trials(lambda _: None),
            "pool:   none on this machine, which has no accelerator: describe the machines with --cluster",
        ]
    return needs_lines(needs, needs.pool(machines.nodes), machines, of_trials=of_trials)


def probe_lines(costs: Sequence[AnalysisCost], seconds: Seconds) -> list[str]:
    """Describe analyses, one line each."""
    return [
        f"{cost.kind} {cost.name}: {counted(cost.n_probes, 'probe')}, "
        f"{cost.n_items_scored:,} items over all languages, "
        f"{about(total_seconds([seconds(part) for part in cost.evaluations]))}, if none of it is done"
        for cost in costs
    ]
