"""What a recipe says, as frozen typed models: every key with its type, range and a sentence.

Reading a file, multiplying entries out and wording complaints is done in `reading.py`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlprune.recipe.base import Model, Seed, unknown_name
from mlprune.recipe.baselines import BaselineConfig
from mlprune.recipe.compute import ComputeConfig
from mlprune.recipe.data_sets import DataSetConfig
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import AnalysesConfig, EvaluationConfig, TaskConfig
from mlprune.recipe.variants import VariantConfig
from mlprune.vocabulary import DtypeName


class BaseModelConfig(Model):
    """The base model."""

    path: Annotated[str, Field(min_length=1)]
    """A local Hugging Face folder, or a hub id."""
    revision: str = "main"
    """Branch, tag or commit of a hub id; resolved to a commit before anything is named."""
    dtype: DtypeName = "float32"
    """Type the model computes in; statistics are float32 or wider whatever this says."""


class CorpusConfig(Model):
    """Where sentences come from."""

    kind: Literal["parallel_text", "cldr"]
    """`parallel_text`: one file a language, line i says the same in all. `cldr`: the built-in corpus."""
    path: str | None = None
    """parallel_text: folder of its files; needed there, refused for cldr."""
    lines: Annotated[int, Field(ge=1, le=5000)] = 1000
    """cldr: number of lines."""
    seed: Seed = 0
    """cldr: which lines."""
    leave_out_evaluated: bool = False
    """Pass over sentences and task items that an evaluation uses, instead of refusing the recipe."""

    @model_validator(mode="after")
    def _path_fits_kind(self) -> "CorpusConfig":
        if (self.kind == "parallel_text") != (self.path is not None):
            raise ValueError("parallel_text needs a path, cldr takes none")
        return self


class Recipe(Model):
    """Everything a run does."""

    name: Annotated[str, Field(min_length=1)]
    """What the catalog calls this recipe in its table `names`; in no id, so renaming a recipe repeats no work."""
    model: BaseModelConfig
    """What is pruned."""
    corpus: CorpusConfig
    """Where sentences come from."""
    demonstrations: tuple[DemonstrationConfig, ...] = ()
    """What scores read; a list in an entry multiplies out."""
    variants: tuple[VariantConfig, ...] = ()
    """What is removed; a list in an entry multiplies out."""
    baselines: tuple[BaselineConfig, ...] = ()
    """What variants are held against, besides the dense model."""
    tasks: tuple[TaskConfig, ...] = ()
    """Tasks of the recipe's own, which evaluations name."""
    data_sets: tuple[DataSetConfig, ...] = ()
    """Data sets of a hub that the package does not know, which paths name as `hub:NAME`."""
    evaluations: tuple[EvaluationConfig, ...] = ()
    """What the variants, and the dense model, are asked."""
    analyses: AnalysesConfig = AnalysesConfig()
    """What is analysed besides."""
    compute: ComputeConfig = ComputeConfig()
    """In what portions the work is done."""
    folder: Path = Path()
    """Folder that relative paths start at; set by `load_recipe`."""
    n_excluded: int = 0
    """Combinations of variants that `exclude` left out; set by `load_recipe`."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Recipe":
        sets = {entry.name for entry in self.demonstrations}
        entries = {entry.name for entry in self.variants if entry.name}
        baselines = [entry.name for entry in self.baselines if entry.name]
        for name in baselines:
            if name in entries or baselines.count(name) > 1:
                raise ValueError(f"a baseline has the name of another entry: {name!r}")
        evaluated = entries | set(baselines)
        tasks = [task.name for task in self.tasks]
        if len(set(tasks)) != len(tasks):
            raise ValueError(f"two tasks have one name: {tasks}")
        data_sets = [one.name for one in self.data_sets]
        if len(set(data_sets)) != len(data_sets):
            raise ValueError(f"a data set is described twice: {data_sets}")
        for entry in self.demonstrations:
            _require_known("parts", entry.parts, sets - {entry.name})
        for variant in self.variants:
            _require_known("demonstrations", filter(None, [variant.demonstrations]), sets)
            _require_known("contrast", filter(None, [variant.contrast]), sets)
            _require_known("over", variant.over, sets)
            _require_known("against", variant.against, evaluated)
            _require_known("of", variant.of, entries - {variant.name})
        for baseline in self.baselines:
            _require_known("demonstrations", filter(None, [baseline.demonstrations]), sets)
            _require_known("against", baseline.against, evaluated - {baseline.name})
        for evaluation in self.evaluations:
            _require_known("evaluations.variants", evaluation.variants, evaluated)
        _require_known("analyses.neurons", self.analyses.neurons, sets)
        _require_known("analyses.neuron_variants", self.analyses.neuron_variants, entries)
        return self

    @model_validator(mode="after")
    def _neurons_have_languages(self) -> "Recipe":
        counted = [entry for name in self.analyses.neurons for entry in self.sets_named(name)]
        for entry in counted:
            if entry.kind == "mixed" or not (entry.language or entry.kind == "code"):
                raise ValueError(f"analyses.neurons takes sets of one language, got {entry.name!r}: {entry.kind}")
        if counted and len({entry.language or entry.kind for entry in counted}) == 1:
            raise ValueError(
                f"analyses.neurons compares languages: name sets of several, got {list(self.analyses.neurons)}"
            )
        return self

    def resolve(self, path: str) -> Path:
        """A path of the recipe as one that can be opened."""
        return (self.folder / path).absolute()

    def template_task(self, name: str) -> TaskConfig | None:
        """The recipe's own task of a name, None for one that comes with the package."""
        return next((task for task in self.tasks if task.name == name), None)

    def sets_named(self, name: str) -> tuple[DemonstrationConfig, ...]:
        """All demonstration sets of one name."""
        return tuple(entry for entry in self.demonstrations if entry.name == name)


def _require_known(key: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown_name(f"name in {key}", name, sorted(known), key=key)
