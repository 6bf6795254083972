"""What a recipe says, as frozen typed models: every key with its type, range and a sentence.

Reading a file, multiplying entries out and wording complaints is done in `reading.py`.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlprune.recipe.base import Language, Model, pair_languages
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.variants import VariantConfig
from mlprune.terms import DtypeName, SplitName, TaskName

Auto = Literal["auto"]
AUTO_BATCH_TOKENS = 512


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
    """Folder of a parallel text."""
    lines: Annotated[int, Field(ge=1, le=5000)] = 1000
    """Lines of the built-in corpus."""
    seed: int = 0
    """Seed of the built-in corpus."""
    leave_out_evaluated: bool = False
    """Leave sentences that an evaluation uses out of the demonstrations; otherwise such a recipe is refused."""

    @model_validator(mode="after")
    def _path_fits_kind(self) -> "CorpusConfig":
        if (self.kind == "parallel_text") != (self.path is not None):
            raise ValueError("parallel_text needs a path, cldr takes none")
        return self


class EvaluationConfig(Model):
    """One task in some languages."""

    task: TaskName
    path: Annotated[str, Field(min_length=1)]
    """Folder of task files, or `corpus` for the recipe's corpus."""
    languages: tuple[Language, ...] = ()
    """Languages, for all tasks but translation."""
    pairs: tuple[str, ...] = ()
    """Language pairs such as `fr-en`, for translation."""
    split: str = "test"
    """Split of the task files; of the corpus: dev or test."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Keep this many items, the same in every language."""
    seed: int = 0
    """Which items a limit keeps."""
    shots: Annotated[int, Field(ge=0)] = 4
    """Translation: demonstrations in the prompt."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """Translation: tokens generated at most."""
    variants: tuple[str, ...] = ()
    """Names of the variant entries to evaluate (dense always is); empty: all."""

    @model_validator(mode="after")
    def _languages_fit_task(self) -> "EvaluationConfig":
        wanted, other = ("pairs", "languages") if self.task == "translation" else ("languages", "pairs")
        if not getattr(self, wanted) or getattr(self, other):
            raise ValueError(f"task {self.task} takes {wanted}, not {other}")
        if self.path == "corpus" and self.split not in SplitName.__args__:  # type: ignore[attr-defined]
            raise ValueError(f"the corpus has the splits dev and test, got {self.split!r}")
        for pair in self.pairs:
            pair_languages(pair)
        return self


class ComputeConfig(Model):
    """Where and in what portions the work is done; only batch_tokens may change a result, in its last bits."""

    replicas: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Copies of the model that work side by side."""
    shards: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Actors a replica is cut into."""
    memory_gib_per_actor: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Memory one actor may use."""
    batch_tokens: Annotated[int, Field(ge=16)] | Auto = "auto"
    """Tokens in one batch, padding included."""

    @property
    def planned_batch_tokens(self) -> int:
        """The batch size in force."""
        return AUTO_BATCH_TOKENS if self.batch_tokens == "auto" else self.batch_tokens


class Recipe(Model):
    """Everything a run does."""

    name: Annotated[str, Field(min_length=1)]
    model: BaseModelConfig
    corpus: CorpusConfig
    demonstrations: tuple[DemonstrationConfig, ...] = ()
    variants: tuple[VariantConfig, ...] = ()
    evaluations: tuple[EvaluationConfig, ...] = ()
    compute: ComputeConfig = ComputeConfig()
    folder: Path = Path()
    """Folder that relative paths start at; set by `load_recipe`."""
    n_excluded: int = 0
    """Combinations of variants that `exclude` left out; set by `load_recipe`."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Recipe":
        sets = {entry.name for entry in self.demonstrations}
        entries = {entry.name for entry in self.variants if entry.name}
        for entry in self.demonstrations:
            _require_known("parts", entry.parts, sets - {entry.name})
        for variant in self.variants:
            _require_known("demonstrations", filter(None, [variant.demonstrations]), sets)
            _require_known("contrast", filter(None, [variant.contrast]), sets)
            _require_known("over", variant.over, sets)
            _require_known("against", variant.against, entries)
            _require_known("of", variant.of, entries - {variant.name})
        for evaluation in self.evaluations:
            _require_known("evaluations.variants", evaluation.variants, entries)
        return self

    def resolve(self, path: str) -> Path:
        """A path of the recipe as one that can be opened."""
        return (self.folder / path).absolute()

    def sets_named(self, name: str) -> tuple[DemonstrationConfig, ...]:
        """All demonstration sets of one name."""
        return tuple(entry for entry in self.demonstrations if entry.name == name)


def _require_known(field: str, names: Any, known: set[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f", nearest: {near[0]!r}" if near else ""
            raise ValueError(f"{field} names {name!r}, expected one of {sorted(known)}{hint}")
