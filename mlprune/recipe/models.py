"""The recipe as frozen typed models: every key with its type, range and description."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mlprune.capabilities.baselines.keys import BaselineConfig
from mlprune.capabilities.neurons.keys import check_counted_sets
from mlprune.capabilities.search.keys import SearchConfig, check_searched_schedules, check_searches
from mlprune.capabilities.sensitivity.keys import SensitivityConfig, check_sensitivity
from mlprune.descriptions import HubSet, LanguageNames, TemplateTask
from mlprune.errors import repeated
from mlprune.methods.plugins import PluginKind
from mlprune.recipe.analyses import AnalysesConfig
from mlprune.recipe.base import RecipeName, Seed, names_of, with_import_key
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import DescribedTask, EvaluationConfig, check_described_files
from mlprune.recipe.names import OfCapability, check_names, keys_in_mappings
from mlprune.recipe.options import refuse_keys_of_others
from mlprune.recipe.questions import QuestionConfig, check_questions
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model
from mlprune.vocabulary import DeviceName, DtypeName, full_dtype

Auto = Literal["auto"]
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
LabelName = Annotated[str, Field(pattern=rf"^([a-zA-Z0-9][a-zA-Z0-9.-]*/)?{_LABEL}$", max_length=317)]
LabelSelector = Annotated[str, Field(pattern=rf"^!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))$")]
"""Label of a node and condition on its value, in Ray's grammar."""
AUTO_BATCH_TOKENS: Mapping[DeviceName, int] = {"cpu": 512, "cuda": 8192}
"""Kind of device -> tokens of a batch if the recipe has `auto`: an accelerator needs large products to be fast."""
SMALL_MODEL, SMALL_MODEL_BATCH_TOKENS = 1_500_000_000, 32_768
"""Prunable weights below which a model is small, and tokens of its batches on accelerators: with fewer, the time of its
small products is less than the time in which the host starts them."""
KEYS_OF_CORPORA: Mapping[str, tuple[str, ...]] = {
    "path": ("parallel_text",),
    "split": ("parallel_text",),
    "columns": ("parallel_text",),
    "lines": ("cldr",),
    "seed": ("cldr",),
}
"""Key of a corpus -> the kinds that have it; the other keys are those of all kinds."""
KINDS: Mapping[str, PluginKind] = {"score": "score", "structure": "structure", "refine": "refiner"}
"""Key of an entry of `variants` -> kind of the method. A schedule is called by the driver, so workers need none."""


class NodeLabels(dict[str, str]):
    """Label -> selector. Nothing changes it, so that a recipe has a hash."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class ComputeConfig(Model):
    """Resources and batch size. Only `batch_tokens`, `device` and `tf32` change results, in their last bits."""

    device: Literal[DeviceName, "auto"] = "auto"
    """What runs the model: `cuda` (accelerators), `cpu`, or accelerators if the machines of the run have any."""
    tf32: bool = False
    """Let accelerators round factors of float32 products to TF32: several times faster, with 10 instead of 23 bits."""
    replicas: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Copies of the model that work in parallel."""
    shards: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Actors that share the blocks of a replica."""
    memory_gib_per_actor: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Resident memory of the process of one actor."""
    gpus_per_actor: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Accelerators of one actor; a fraction if actors share one, 0 to use none."""
    batch_tokens: Annotated[int, Field(ge=16)] | Auto = "auto"
    """Tokens of one batch, including padding; `auto`: 512 on CPUs; on accelerators 8192, and 32768 for models
    with fewer than 1.5 billion prunable weights."""
    node_labels: Annotated[dict[LabelName, LabelSelector], AfterValidator(NodeLabels)] = NodeLabels()
    """Nodes of a cluster that may be used, by their labels in Ray, such as `{ray.io/accelerator-type: H100}`. A value
    is `VALUE`, `!VALUE`, `in(A, B)` or `!in(A, B)`."""

    object_store_gib: Annotated[float, Field(ge=0.1)] | Auto = "auto"
    """Memory of the object store of the Ray that a run starts on this machine, through which its actors exchange data;
    `auto`: a tenth of the free memory, at most 1."""
    spill_dir: str | None = None
    """Folder where that Ray writes objects that do not fit in its object store, such as a local disk with much space;
    by default a folder of the session below /tmp/ray."""

    @model_validator(mode="after")
    def _gpus_are_whole_or_a_part(self) -> "ComputeConfig":
        gpus = self.gpus_per_actor
        if gpus != "auto" and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_actor above 1 has to be an integer, got {gpus}")
        return self

    @model_validator(mode="after")
    def _device_fits_gpus(self) -> "ComputeConfig":
        gpus = self.gpus_per_actor
        if gpus != "auto" and self.device != "auto" and (gpus > 0) != (self.device == "cuda"):
            expected = "above 0" if self.device == "cuda" else "0"
            raise ValueError(f"device {self.device} needs gpus_per_actor {expected} or auto, got {gpus:g}")
        return self

    def planned_batch_tokens(self, device: DeviceName, n_prunable: int | None) -> int:
        """Return the batch size that the plan uses on a kind of device.

        Args:
            n_prunable: prunable weights of the model; None if they are not known, as if it were large.
        """
        if self.batch_tokens != "auto":
            return self.batch_tokens
        is_small = device == "cuda" and n_prunable is not None and n_prunable < SMALL_MODEL
        return SMALL_MODEL_BATCH_TOKENS if is_small else AUTO_BATCH_TOKENS[device]


class BaseModelFields(Model):
    """The base model."""

    path: Annotated[str, Field(min_length=1)]
    """A local Hugging Face folder, or the id of a model on the hub."""
    revision: str = "main"
    """Branch, tag or commit of a hub id; resolved to a commit before ids are computed."""
    dtype: Annotated[Literal[DtypeName, "auto"], BeforeValidator(full_dtype)] = "auto"
    """Dtype in which the model computes; `fp32`, `bf16` and `fp16` are short names. Statistics are float32 or wider in
    any case. `auto`: bfloat16 on accelerators that have it, otherwise float32, whatever the dtype of the checkpoint."""


if TYPE_CHECKING:
    BaseModelConfig = BaseModelFields
else:
    BaseModelConfig = with_import_key("BaseModelConfig", BaseModelFields)


class CorpusConfig(Model):
    """Source of sentences."""

    kind: Literal["parallel_text", "cldr"]
    """`parallel_text`: sentences in several languages, in any layout of docs/data.md. `cldr`: the built-in corpus."""
    path: str | None = None
    """parallel_text: the file or folder, as it was published; not allowed for cldr."""
    split: str | None = None
    """parallel_text: the split of a text that has several, such as `dev` or `devtest`; `dev` if left out."""
    columns: LanguageNames = ()
    """parallel_text: language -> its column in `.csv` or `.tsv` tables with other names (`{ace: acehnese}`); only these
    languages are read."""
    lines: Annotated[int, Field(ge=1, le=5000)] = 1000
    """cldr: number of lines."""
    seed: Seed = 0
    """cldr: seed that selects the lines."""
    leave_out_evaluated: bool = False
    """Skip sentences and task items that an evaluation uses, instead of refusing the recipe."""

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> "CorpusConfig":
        refuse_keys_of_others(self, "kind", KEYS_OF_CORPORA, self.kind)
        if self.kind == "parallel_text" and self.path is None:
            raise ValueError("kind parallel_text needs a path")
        return self


class Recipe(Model):
    """All settings of a run."""

    name: RecipeName
    """Name of the recipe in the catalog's table `names`. Ids of the work do not depend on it."""
    model: BaseModelConfig
    """The base model that is pruned."""
    corpus: CorpusConfig
    """Source of sentences."""
    plugins: tuple[str, ...] = ()
    """Files of plug-ins for a quick try; each has to be named with `--allow-plugins` too."""
    demonstrations: tuple[DemonstrationConfig, ...] = ()
    """Demonstration sets that scores read; a list in an entry multiplies out."""
    variants: tuple[VariantConfig, ...] = ()
    """Pruned variants; a list in an entry multiplies out."""
    baselines: Annotated[tuple[BaselineConfig, ...], OfCapability("baselines")] = ()
    """Models and methods that variants are compared with, in addition to the dense model."""
    tasks: tuple[DescribedTask, ...] = ()
    """Tasks that the recipe defines for its evaluations."""
    data_sets: tuple[HubSet, ...] = ()
    """Descriptions of data sets of a hub, for paths such as `hub:NAME`."""
    evaluations: tuple[EvaluationConfig, ...] = ()
    """Evaluations of the variants and the dense model."""
    questions: tuple[QuestionConfig, ...] = ()
    """Questions that the results are to answer. `mlprune plan` says what the items can show."""
    searches: Annotated[tuple[SearchConfig, ...], OfCapability("search")] = ()
    """Searches for the best variant on one split, which is reported on another one."""
    sensitivity: Annotated[tuple[SensitivityConfig, ...], OfCapability("sensitivity")] = ()
    """What each language loses when one block or layer alone is pruned."""
    analyses: AnalysesConfig = AnalysesConfig()
    """Further analyses."""
    compute: ComputeConfig = ComputeConfig()
    """Resources and batch size."""
    folder: Path = Path()
    """Folder at which relative paths start; set by `load_recipe`."""
    n_excluded: int = 0
    """Number of combinations of variants that `exclude` removed; set by `load_recipe`."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Recipe":
        sets = {entry.name for entry in self.demonstrations}
        entries = {entry.name for entry in self.variants if entry.name}
        baselines = [entry.name for entry in self.baselines if entry.name]
        for name in [*repeated(baselines), *entries.intersection(baselines)]:
            raise ValueError(f"a baseline has the same name as another entry: {name!r}")
        evaluated = entries | set(baselines)
        tasks = [task.name for task in self.tasks]
        if len(set(tasks)) != len(tasks):
            raise ValueError(f"two tasks have the same name: {tasks}")
        data_sets = [data_set.name for data_set in self.data_sets]
        if len(set(data_sets)) != len(data_sets):
            raise ValueError(f"two data sets have the same name: {data_sets}")
        check_names(self, {"sets": sets, "variants": entries, "evaluated": evaluated})
        check_described_files(self.tasks, self.evaluations)
        check_questions(self.questions, self.evaluations, entries=evaluated)
        errors = self.analyses.layer_errors
        compared = (name for entry in self.baselines for name in names_of(entry.against))
        read = (*compared, *self.analyses.neuron_variants, *(errors.variants if errors else ()))
        check_searched_schedules(self.variants, self.searches, self.questions, names=read)
        check_searches(self.searches, self.evaluations, sets=self.demonstrations, entries=evaluated)
        names = [*evaluated, *(search.name for search in self.searches)]
        check_sensitivity(self.sensitivity, self.evaluations, sets=self.demonstrations, entries=names)
        return self

    @model_validator(mode="after")
    def _neurons_have_languages(self) -> "Recipe":
        check_counted_sets(self)
        return self

    def resolve(self, path: str) -> Path:
        """Return a path of the recipe as an absolute path."""
        return (self.folder / path).absolute()

    def template_task(self, name: str) -> TemplateTask | None:
        """Return the recipe's task of a name; None for a built-in task."""
        return next((task for task in self.tasks if task.name == name), None)

    def sets_named(self, name: str) -> tuple[DemonstrationConfig, ...]:
        """Return all demonstration sets of one name."""
        return tuple(entry for entry in self.demonstrations if entry.name == name)


def called_methods(recipe: "Recipe") -> Iterator[tuple[PluginKind, str]]:
    """Yield kind and name of the methods that a recipe names."""
    for entry in recipe.variants:
        yield from _of_keys({"score": entry.score, "structure": entry.group, "refine": entry.refine})
    for _, key, value, _ in keys_in_mappings(recipe):
        yield from _of_keys({key: value})


def _of_keys(keys: Mapping[str, object]) -> Iterator[tuple[PluginKind, str]]:
    for key, kind in KINDS.items():
        value = keys.get(key)
        if isinstance(value, str):
            yield kind, value
