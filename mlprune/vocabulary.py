"""Vocabulary of the project: names in recipes and records as types, and traits of tasks and metrics.

The glossary of `docs/definitions.md` defines the words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

SubLayerKind = Literal["attention", "feed_forward"]
"""Sub-layer of a block. `attention`: the mixer of tokens, also a state space, a short convolution or linear attention.
`feed_forward`: neurons or experts."""
RemovesName = Literal["lowest", "highest"]
PropagationName = Literal["dense", "sequential"]
ProfileName = Literal["corrected", "paper"]
RoundingName = Literal["decimal", "binary"]
DrawName = Literal["hashed", "published"]
"""Order in which texts are drawn for demonstrations: by hash, or as the published code draws them."""
OrderName = Literal["hashed", "file", "shuffled"]
TokenScope = Literal["all", "content", "source", "target", "last_shot"]
CombinationName = Literal["intersection", "union", "difference", "symmetric_difference"]
TokenScoreName = Literal["frequency", "translation_sets", "random"]
SharesName = Literal["equal", "proportional"]
DemonstrationKind = Literal["translation", "monolingual", "code", "mixed", "text", "task", "generated"]
RuleName = Literal["mean", "candidate_mean", "candidate_sum", "pmi"]
PromptName = Literal["en", "native"]
SplitName = Literal["dev", "test"]
HalvesName = Literal["items", "clusters"]
"""What the halves dev and test of a corpus divide; halves of the clusters share no cluster."""
LongerName = Literal["refuse", "skip", "truncate_left"]
"""What happens to an evaluated text that is longer than the model."""
LongerDemonstration = Literal["truncate_right", "refuse", "skip", "truncate_left"]
"""What happens to a demonstration that is longer than `max_tokens`."""
COMPRESSIONS = ("", ".gz", ".zst")
"""Endings of compressed texts and tables, and of those that are not compressed."""
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
"""Extensions of the project's own task files, in the order in which they are looked up."""
DELIMITED_SUFFIXES = tuple(f"{suffix}{ending}" for suffix in (".tsv", ".csv") for ending in COMPRESSIONS)
JSON_SUFFIXES = tuple(f".json{ending}" for ending in COMPRESSIONS)
"""Files of JSON lines, or of one array of objects, as their content says."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Extensions of archives whose members are read."""
READABLE_SUFFIXES = (*SUFFIXES, *DELIMITED_SUFFIXES, *JSON_SUFFIXES)
"""Extensions of all tables that are read."""
DtypeName = Literal["float32", "bfloat16", "float16"]
SHORT_DTYPES: Mapping[str, DtypeName] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Short name that people may write -> name in ids and records."""
ClaimName = Literal["gain", "noninferior", "equivalent"]


@dataclass(frozen=True)
class ClaimWords:
    """A kind of question in plain words, for terminal, plan, report and catalog."""

    title: str
    """The question; its placeholders are columns of the view `described_questions`."""
    power: str
    """What its tests can find; the placeholders are `amount` and, of a claim with a margin, `margin`."""
    no_room: str
    """Why it cannot be asked of a model that guesses, or of one that cannot become better."""


CLAIMS: Mapping[ClaimName, ClaimWords] = {
    "gain": ClaimWords(
        title="Is {measure} {place_words} {better} with {variant_words} than {than_words}{ending}",
        power="would most likely notice a gain of {amount} or more",
        no_room="no gain can be measured",
    ),
    "noninferior": ClaimWords(
        title="Is {measure} {place_words} less than {margin_words} {worse} with {variant_words} than "
        "{than_words}{ending}",
        power="could show a loss below {amount} at best, {margin} asked",
        no_room="what guesses has nothing to lose",
    ),
    "equivalent": ClaimWords(
        title="Does {measure} {place_words} differ by less than {margin_words} between {variant_words} and "
        "{against_words}{ending}",
        power="could show a difference below {amount} at best, {margin} asked",
        no_room="two models that guess differ in nothing",
    ),
}
"""The words for each kind of question; every text about questions takes them from here."""
OverName = Literal["each", "mean"]
AspectName = Literal["sparsity", "structure", "quantisation", "propagation", "language", "seed"]
"""Aspects in which compared variants agree unless a recipe ignores them: language and seed are those of the sets."""
GroupKind = Literal["language", "outside_english", "all", "script", "resource_class", "worst", "gap"]
"""Kind of a group of languages: one language, a mean over several, the lowest one, or their mean minus English."""
UnitName = Literal["block", "layer", "block_layer"]
"""Parts of a model that get one sparsity: a block, a layer in all blocks, or a layer of one block."""
DeviceName = Literal["cpu", "cuda"]
"""Kind of device that computes; `cuda` is any accelerator that torch drives under this name."""

LOG_RATIO: Final = "log_ratio"
"""Scale of a difference that is the logarithm of a ratio, such as that of two perplexities."""
NATS: Final = "nats"
"""Scale of a difference of values in nats, such as those of two divergences."""
Scale = Literal["difference", "log_ratio", "nats"]
"""Scale of a difference; `difference` is that of fractions."""

HUB = "hub:"
"""Prefix of paths to data sets of a hub: `hub:facebook/xnli`, or `hub:facebook/xnli@revision`."""

TaskReads = Literal["candidates", "sentences", "pairs", "questions"]
ExtractName = Literal["first_line", "last_line", "all", "number", "boxed", "letter", "regex"]
"""Rules by which an answer is read from a generated text."""


@dataclass(frozen=True)
class TaskTraits:
    """Traits of a task on which recipes and plans depend."""

    module: str
    """Name of its module in `mlprune/evaluation/tasks/builtin/`, which recipes and plans do not import."""
    reads: TaskReads = "candidates"
    """Candidates of which one is right, sentences whose likelihood is measured, pairs to be translated, or questions
    whose answers are generated."""
    has_native_prompts: bool = False
    """Whether the words around the examples exist in the language of the examples."""

    @property
    def reads_parallel_text(self) -> bool:
        """Whether the items are lines of parallel text instead of rows of task files."""
        return self.reads in ("sentences", "pairs")


TASK_TRAITS: Mapping[str, TaskTraits] = {
    "xnli": TaskTraits("xnli", has_native_prompts=True),
    "marc": TaskTraits("marc"),
    "marc_five": TaskTraits("marc"),
    "xcopa": TaskTraits("xcopa", has_native_prompts=True),
    "paws_x": TaskTraits("paws_x"),
    "xstory_cloze": TaskTraits("xstory_cloze"),
    "xwinograd": TaskTraits("xwinograd"),
    "belebele": TaskTraits("belebele"),
    "sib200": TaskTraits("sib200"),
    "multiblimp": TaskTraits("multiblimp"),
    "global_mmlu": TaskTraits("exam_questions"),
    "include": TaskTraits("exam_questions"),
    "mmlu_prox": TaskTraits("exam_questions"),
    "afrimmlu": TaskTraits("exam_questions"),
    "mmmlu": TaskTraits("exam_questions"),
    "xcsqa": TaskTraits("xcsqa"),
    "masakhanews": TaskTraits("masakhanews"),
    "global_piqa": TaskTraits("global_piqa"),
    "global_piqa_parallel": TaskTraits("global_piqa"),
    "m_hellaswag": TaskTraits("m_hellaswag"),
    "xquad_spans": TaskTraits("xquad_spans"),
    "mbbq": TaskTraits("mbbq"),
    "facts": TaskTraits("facts"),
    "mgsm": TaskTraits("mgsm", reads="questions", has_native_prompts=True),
    "polymath": TaskTraits("polymath", reads="questions"),
    "multiloko": TaskTraits("multiloko", reads="questions"),
    "xquad": TaskTraits("xquad_spans", reads="questions"),
    "translation": TaskTraits("parallel_text", reads="pairs"),
    "perplexity": TaskTraits("parallel_text", reads="sentences"),
}
"""The built-in tasks by name: the one list of them."""

OF_A_RECIPE = TaskTraits("")
"""Traits of a task that a recipe describes."""


@dataclass(frozen=True)
class MetricTraits:
    """Traits of a metric on which choices and comparisons depend."""

    reads: tuple[TaskReads, ...] = ("candidates",)
    """Kinds of the items on which it is computed."""
    higher_is_better: bool = True
    tasks: tuple[str, ...] = ()
    """The only tasks that have it; empty for all whose items are of this kind."""
    is_tested: bool = True
    """Whether every comparison tests its differences. If not, only what asks for the metric does (questions, choices,
    sensitivity): its test needs many exchanges, and its interval shows as much."""
    key: str = ""
    """Key of an evaluation that asks for it; empty if every evaluation of its tasks has it."""
    measure: str = ""
    """Further column of predictions on which it is computed; empty for none."""
    over: str = "n_tokens"
    """Column by whose sum that of `measure` is divided: scored tokens, or characters."""
    scale: Scale = "difference"
    """Scale of its differences."""


MEASURED: tuple[TaskReads, ...] = get_args(TaskReads)
"""Kinds of items on which further columns are measured: all."""
METRIC_TRAITS: Mapping[str, MetricTraits] = {
    "accuracy": MetricTraits(),
    "f1_macro": MetricTraits(),
    "f1_weighted": MetricTraits(),
    "precision_macro": MetricTraits(),
    "recall_macro": MetricTraits(),
    "precision_weighted": MetricTraits(),
    "recall_weighted": MetricTraits(),
    "ece": MetricTraits(higher_is_better=False, is_tested=False),
    "ece_sum": MetricTraits(higher_is_better=False, is_tested=False),
    "accuracy_ambiguous": MetricTraits(tasks=("mbbq",)),
    "accuracy_disambiguated": MetricTraits(tasks=("mbbq",)),
    "bias_ambiguous": MetricTraits(higher_is_better=False, tasks=("mbbq",)),
    "bias_disambiguated": MetricTraits(higher_is_better=False, tasks=("mbbq",)),
    "perplexity": MetricTraits(("sentences",), higher_is_better=False, scale=LOG_RATIO),
    "exact_match": MetricTraits(("pairs", "questions")),
    "token_f1": MetricTraits(("questions",)),
    "bleu": MetricTraits(("pairs",)),
    "chrf": MetricTraits(("pairs",)),
    "line_pass_rate": MetricTraits(("pairs",)),
    "word_pass_rate": MetricTraits(("pairs",)),
    "judged_share": MetricTraits(("pairs",)),
    "divergence": MetricTraits(MEASURED, higher_is_better=False, key="distance", measure="divergence", scale=NATS),
    "divergence_per_character": MetricTraits(
        MEASURED,
        higher_is_better=False,
        key="distance",
        measure="divergence",
        over="n_characters",
        scale=NATS,
    ),
    "top_agreement": MetricTraits(MEASURED, key="distance", measure="n_top_agreed"),
    "log_prob_change": MetricTraits(
        MEASURED, higher_is_better=False, key="distance", measure="log_prob_change", scale=NATS
    ),
    "removed_mass": MetricTraits(MEASURED, higher_is_better=False, key="distance", measure="removed_mass"),
}
"""Traits of the metrics."""


def full_dtype(name: object) -> object:
    """Return the dtype that a short name such as `bf16` stands for; anything else as it is."""
    return SHORT_DTYPES.get(name, name) if isinstance(name, str) else name


def traits_of(metric: str) -> MetricTraits:
    """Return the traits of a metric; those without an entry, such as RankC and scores from outside, have the default.

    A higher value of them is better, and their differences are those of fractions.
    """
    return METRIC_TRAITS.get(metric, MetricTraits())


def is_higher_better(metric: str) -> bool:
    """Whether a higher value of a metric is better."""
    return traits_of(metric).higher_is_better


def computable_metrics(task: str, reads: TaskReads | None = None) -> tuple[str, ...]:
    """Return the metrics that can be computed for a task.

    Args:
        reads: kind of its items; None for that of the built-in task, or for both kinds that a recipe can describe.
    """
    kinds = {reads} if reads else {TASK_TRAITS[task].reads} if task in TASK_TRAITS else {"candidates", "questions"}
    of_kind = ((name, traits.tasks) for name, traits in METRIC_TRAITS.items() if kinds & set(traits.reads))
    return tuple(name for name, tasks in of_kind if not tasks or task in tasks)
