"""What a recipe says, as frozen typed models: every key with its type, range and a sentence.

Reading a file, multiplying entries out and wording complaints is done in `reading.py`.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mlprune.terms import (
    SCORES_THAT_READ_STATISTICS,
    DemonstrationKind,
    DtypeName,
    PropagationName,
    ScoreName,
    SplitName,
    TaskName,
    language_tag,
)

Language = Annotated[str, Field(min_length=2), AfterValidator(language_tag)]
PAIR = re.compile(r"(?P<source>[A-Za-z]{2,3}([-_][A-Za-z]{4})?)-(?P<target>[A-Za-z]{2,3}([-_][A-Za-z]{4})?)")
Auto = Literal["auto"]
AUTO_BATCH_TOKENS = 4096


class Model(BaseModel):
    """Base of all recipe models: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


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


class DemonstrationConfig(Model):
    """One demonstration set."""

    name: Annotated[str, Field(min_length=1)]
    """What variants call it."""
    kind: DemonstrationKind
    source: Language | None = None
    """Source language of a translation set."""
    target: Language | None = None
    """Target language of a translation set."""
    language: Language | None = None
    """Language of a monolingual set."""
    path: str | None = None
    """Folder of a code set: its `**/*.py` files."""
    parts: tuple[str, ...] = ()
    """Names of the sets a mixed set unites."""
    shares: Literal["equal", "proportional"] = "proportional"
    """Mixed: `equal` takes as many demonstrations of every part as the smallest has, `proportional` takes all."""
    shots: Annotated[int, Field(ge=1)] = 4
    """Sentences (translation: sentence pairs) in one demonstration."""
    samples: Annotated[int, Field(ge=1)] = 100
    """Demonstrations in the set."""
    max_tokens: Annotated[int, Field(ge=2)] = 512
    """Tokens after which a demonstration is cut, special tokens included."""
    seed: int = 0
    """Orders the sentences or files; sets of equal seed and shots use the same sentences in every language."""

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "DemonstrationConfig":
        wanted: dict[str, set[str]] = {
            "translation": {"source", "target"},
            "monolingual": {"language"},
            "code": {"path"},
            "mixed": {"parts"},
        }
        given = {field for field in ("source", "target", "language", "path", "parts") if getattr(self, field)}
        if given != wanted[self.kind]:
            raise ValueError(f"kind {self.kind} takes {sorted(wanted[self.kind])}, got {sorted(given)}")
        if self.kind == "translation" and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}")
        return self


class VariantConfig(Model):
    """One variant."""

    name: str | None = None
    """Optional name of the entry, for `against` and for an evaluation's `variants`."""
    demonstrations: str | None = None
    """Name of the demonstration sets whose statistics the score reads."""
    contrast: str | None = None
    """Name of the sets a contrast score holds against them; sets of equal seed pair up."""
    score: ScoreName
    """How worth keeping a weight is."""
    sparsity: Annotated[float, Field(ge=0, lt=1)]
    """Fraction of weights removed in each comparison group."""
    structure: Annotated[str, Field(pattern=r"^(row|[1-9][0-9]*:[1-9][0-9]*)$")] = "row"
    """Comparison group: one output row, or `N:M`, which removes N of every M consecutive inputs."""
    propagation: PropagationName = "sequential"
    """What a block is observed behind: pruned blocks (`sequential`) or the dense model (`dense`)."""
    seed: int | None = None
    """Seed of the random score."""
    against: tuple[str, ...] = ()
    """Names of other entries to compare with, besides dense: where sparsity, structure, propagation, language agree."""

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_n_m(cls, values: Any) -> Any:
        if not isinstance(values, dict) or ":" not in str(values.get("structure", "")):
            return values
        n, _, m = str(values["structure"]).partition(":")
        if not (n.isdigit() and m.isdigit() and 0 < int(n) < int(m)):
            raise ValueError(f"structure N:M removes N of M with 0 < N < M, got {values['structure']}")
        share = int(n) / int(m)
        if values.setdefault("sparsity", share) != share:
            raise ValueError(f"structure {values['structure']} has sparsity {share}, got {values['sparsity']}")
        return values

    @model_validator(mode="after")
    def _sets_fit_score(self) -> "VariantConfig":
        if self.sparsity and self.score in SCORES_THAT_READ_STATISTICS and self.demonstrations is None:
            raise ValueError(f"score {self.score} needs demonstrations")
        if (self.score == "contrast") != (self.contrast is not None):
            raise ValueError("score contrast needs contrast, and no other score takes it")
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
            self.pair_languages(pair)
        return self

    @staticmethod
    def pair_languages(pair: str) -> tuple[str, str]:
        """`fr-en` as (fr, en), both as stored tags; `zh-Hant-en` and `zho_Hant-eng_Latn` are (zh-Hant, en)."""
        found = PAIR.fullmatch(pair)
        if found is None:
            raise ValueError(f"a pair is written fr-en, got {pair!r}")
        source, target = language_tag(found["source"]), language_tag(found["target"])
        if source == target:
            raise ValueError(f"source and target of the pair {pair!r} are both {source}")
        return source, target


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

    @model_validator(mode="after")
    def _names_are_known(self) -> "Recipe":
        sets = {entry.name for entry in self.demonstrations}
        entries = {entry.name for entry in self.variants if entry.name}
        for entry in self.demonstrations:
            _require_known("parts", entry.parts, sets - {entry.name})
        for variant in self.variants:
            _require_known("demonstrations", filter(None, [variant.demonstrations]), sets)
            _require_known("contrast", filter(None, [variant.contrast]), sets)
            _require_known("against", variant.against, entries)
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
