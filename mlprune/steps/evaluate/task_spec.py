"""Tasks, languages and splits as plain values: what an evaluation is of, and the items it reads.

Reading and tokenising are done once for all variants and stay in memory. Running a model on them is left to
`evaluate.py`, what is written down of it to `evaluation_records.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from mlprune.evaluation.scoring.candidates import PreparedTask, prepare
from mlprune.evaluation.scoring.translation import MAX_NEW_TOKENS, PreparedTranslation, prepare_translation
from mlprune.evaluation.tasks.builtin import TASKS, Task, prompt_language, with_prompts
from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.evaluation.tasks.items import TranslationItem
from mlprune.evaluation.tasks.task_files import TaskData, corpus_items, read_items
from mlprune.evaluation.tasks.template_tasks import TemplateTask, template_task
from mlprune.hashing import ordered_by_hash
from mlprune.models.loading import load_tokenizer
from mlprune.steps.demonstrate.source_texts import CorpusRef, open_corpus
from mlprune.steps.job import Identity, ModelRef
from mlprune.vocabulary import PromptName, RuleName, SplitName

USUAL_SHOTS = 4
_NOT_IN_ID = ("folder", "hub", "corpus", "sides")


@dataclass(frozen=True)
class TaskSpec:
    """One task, language and split as plain values."""

    task: str
    """Name of a task that comes with the package, or of `own`."""
    language: str
    """A language, or a pair such as `fr-en` for translation."""
    split: str
    limit: int | None
    seed: int
    folder: str
    """Folder of task files; empty where the corpus or a hub's data set is read."""
    corpus: CorpusRef | None
    """Parallel text the task reads, for perplexity, translation and built-in facts."""
    halves: bool
    """Whether `split` is a half of the corpus, by hash, rather than a name of files."""
    shots: int = 0
    max_new_tokens: int = 0
    sides: tuple[str, ...] = ()
    """Source and target language of translation."""
    rule: RuleName = "mean"
    """How candidates are scored; tasks without candidates know only one way."""
    prompts: PromptName = "en"
    """Whether the words around the examples are English or of the examples' language."""
    shot_seed: int | None = None
    """Translation: which sentences are shown; None: those of `seed`."""
    hub: HubSource | None = None
    """Data set of a hub that is read."""
    own: TemplateTask | None = None
    """A task that the recipe describes."""
    metrics: tuple[str, ...] = ()
    """These instead of the task's own."""
    subset: str = ""
    """Name of a part of the examples that a rescoring kept; empty for all."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What was chosen, for the id: neither folders nor names of files."""
        values = {name: value for name, value in asdict(self).items() if name not in _NOT_IN_ID}
        del values["rule"]
        return {**values, "metrics": list(self.metrics), "scoring_rule": self.scoring_rule}

    @property
    def definition(self) -> Task:
        """What distinguishes the task, in any language."""
        return template_task(self.own) if self.own is not None else TASKS[self.task]

    @property
    def record(self) -> Task:
        """The task as it is put in this language, with the prompts that are asked for.

        Raises:
            TaskFileError: it has no prompts in this language.
        """
        return with_prompts(self.definition, language=self.language, prompts=self.prompts)

    @property
    def scoring_rule(self) -> str:
        """How its texts are scored, as the catalog says it."""
        return {"candidates": self.rule, "sentences": "sum", "pairs": "greedy"}[self.definition.reads]

    @property
    def prompt_language(self) -> str:
        """The language of the words around the examples."""
        return prompt_language(self.definition, self.language, self.prompts)

    @property
    def target_language(self) -> str:
        """The language the model writes or judges, which metrics may depend on."""
        return self.sides[1] if self.sides else self.language

    @property
    def as_run(self) -> "TaskSpec":
        """What a model is run on: the same for all rules, metrics and subsets."""
        return replace(self, rule="mean", metrics=(), subset="")

    @property
    def described(self) -> dict[str, Any]:
        """What the catalog says of it."""
        return {
            "task": self.task,
            "language": self.language,
            "split": self.split,
            "scoring_rule": self.scoring_rule,
            "prompt_language": self.prompt_language,
            "example_limit": self.limit,
            "setup": self.setup,
        }

    @property
    def setup(self) -> str | None:
        """What of it is no default and has no column of its own, in words; None where there is nothing."""
        is_translation = self.definition.reads == "pairs"
        words = (
            "native prompts" if self.prompts == "native" else "",
            f"limit of seed {self.seed}" if self.limit is not None and self.seed else "",
            f"{self.shots} shots" if is_translation and self.shots != USUAL_SHOTS else "",
            f"shots of seed {self.shot_seed}" if self.shot_seed not in (None, self.seed) else "",
            f"at most {self.max_new_tokens} new tokens" if self.max_new_tokens not in (0, MAX_NEW_TOKENS) else "",
            f"metrics {' '.join(self.metrics)}" if self.metrics else "",
            f"subset {self.subset}" if self.subset else "",
        )
        return ", ".join(word for word in words if word) or None


def task_spec(parameters: Mapping[str, Any]) -> TaskSpec:
    """The spec whose parameters these are, as a record repeats them; it can be measured again, but reads no files."""
    values = {**parameters}
    own, rule = values["own"], values.pop("scoring_rule")
    is_pair = values["task"] == "translation"
    names = {name: values[name] for name in TaskSpec.__dataclass_fields__ if name in values}
    names |= {
        "folder": "",
        "corpus": None,
        "sides": _sides(values["language"]) if is_pair else (),
        "rule": "mean" if rule in ("greedy", "sum") else rule,
        "own": None
        if own is None
        else TemplateTask(**{**own, **{key: tuple(own[key]) for key in ("labels", "words")}}),
        "metrics": tuple(values["metrics"]),
    }
    return TaskSpec(**names)


def _sides(pair: str) -> tuple[str, str]:
    """`fr-en` as (fr, en), both stored tags: a script begins with a capital letter."""
    parts = pair.split("-")
    cut = next(place for place in range(1, len(parts)) if parts[place].islower())
    return "-".join(parts[:cut]), "-".join(parts[cut:])


@dataclass(frozen=True)
class EvaluationSpec:
    """One evaluation of one variant."""

    identity: Identity
    task: TaskSpec


def task_data(spec: TaskSpec) -> TaskData:
    """The items of a task, read and checked.

    Raises:
        TaskFileError: the files or the corpus do not hold them.
    """
    return _task_data(spec.as_run)


@cache
def _task_data(spec: TaskSpec) -> TaskData:
    options: dict[str, Any] = {"limit": spec.limit, "seed": spec.seed}
    if spec.corpus is None:
        return read_items(
            spec.record, spec.hub or Path(spec.folder), language=spec.language, split=spec.split, **options
        )
    languages = spec.sides or (spec.language,)
    lines = {} if spec.task == "facts" else {one: open_corpus(spec.corpus).lines(one) for one in languages}
    half = cast("SplitName", spec.split) if spec.halves else None
    target = languages[1] if len(languages) > 1 else None
    return corpus_items(spec.task, lines, language=languages[0], target=target, split=half, **options)


def shot_lines(spec: TaskSpec) -> tuple[int, ...]:
    """Corpus lines of a translation prompt's shots: the first of the seeded order that are not under evaluation."""
    assert spec.corpus is not None, "translation reads a corpus"
    evaluated = {item.example_id for item in task_data(spec).items}
    n_lines = len(open_corpus(spec.corpus).lines(spec.sides[0]))
    free = (line for line in range(n_lines) if str(line) not in evaluated)
    seed = spec.seed if spec.shot_seed is None else spec.shot_seed
    return tuple(ordered_by_hash(seed, free)[: spec.shots])


def prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    """The items tokenised and cut into batches, for all variants and rules.

    Raises:
        TaskFileError: a text does not fit the model's positions.
    """
    return _prepared_task(spec.as_run, model, batch_tokens)


@cache
def _prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    tokenizer = load_tokenizer(Path(model.path))
    items: Any = task_data(spec).items
    limits: dict[str, Any] = {"batch_tokens": batch_tokens, "max_positions": model.max_positions}
    if spec.definition.reads != "pairs":
        return prepare(tokenizer, items, **limits)
    assert spec.corpus is not None, "translation reads a corpus"
    source, target = (open_corpus(spec.corpus).lines(side) for side in spec.sides)
    return prepare_translation(
        tokenizer,
        cast("tuple[TranslationItem, ...]", items),
        shots=[(source[line], target[line]) for line in shot_lines(spec)],
        source=spec.sides[0],
        target=spec.sides[1],
        max_new_tokens=spec.max_new_tokens,
        **limits,
    )
