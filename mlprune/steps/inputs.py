"""Inputs of a recipe: open and check the model, tokenizer and corpus before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlprune.corpus.layouts.parallel_text import PAGE, TEXT_LAYOUTS
from mlprune.corpus.sources import ParallelCorpus
from mlprune.corpus.text_files import listed_names
from mlprune.errors import CorpusError, RecipeError
from mlprune.hashing import digest
from mlprune.importing import read_import_record
from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.loading import check_tokenizer, inspect_model, resolve_model
from mlprune.recipe import Recipe
from mlprune.steps.base_model import base_model_identity
from mlprune.steps.corpus_ref import CorpusRef, open_corpus
from mlprune.steps.devices import device_and_dtype
from mlprune.steps.job import Identity, ModelRef
from mlprune.steps.loss_records import LossRecord
from mlprune.vocabulary import DeviceName, DtypeName


@dataclass(frozen=True)
class OpenedModel:
    """A base model that was opened and checked."""

    ref: ModelRef
    base: Identity
    row: JsonObject
    """Its catalog row."""
    content: Mapping[str, str]
    """File -> SHA-256."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a recipe, opened and checked."""

    model: ModelRef
    base: Identity
    base_row: JsonObject
    """The base model's catalog row."""
    tokenizer_content: str
    """SHA-256 of the tokenizer's files."""
    corpus_ref: CorpusRef
    losses: tuple[LossRecord, ...] = ()
    """Planned sensitivity analyses of the recipe, which schedules read."""

    @property
    def corpus(self) -> ParallelCorpus:
        """The recipe's corpus."""
        return open_corpus(self.corpus_ref)


def open_inputs(recipe: Recipe) -> Inputs:
    """Resolve, open and check all inputs of a recipe except task files.

    An automatic device or dtype is that of this machine; `build_plan` resolves them for the machines of a run before.

    Raises:
        ModelError: the model or its tokenizer cannot be used.
        CorpusError: the corpus cannot be used.
        RecipeError: demonstrations are longer than the model's positions.
    """
    device, dtype = device_and_dtype(recipe)
    opened = open_model(recipe, recipe.model.path, revision=recipe.model.revision, dtype=dtype, device=device)
    _check_lengths(recipe, opened.ref)
    tokenizer_files = {name: sha for name, sha in opened.content.items() if Path(name).name in TOKENIZER_FILES}
    return Inputs(opened.ref, opened.base, opened.row, digest(tokenizer_files), corpus_ref(recipe))


def open_model(recipe: Recipe, path: str, *, revision: str, dtype: DtypeName, device: DeviceName) -> OpenedModel:
    """Resolve, open and check a base model of a recipe.

    Raises:
        ModelError: the model or its tokenizer cannot be used.
    """
    local = recipe.resolve(path)
    folder = resolve_model(str(local) if local.exists() else path, revision)
    info = inspect_model(folder)
    check_tokenizer(folder)
    base = base_model_identity(info)
    imported = _import_columns(folder)
    row: JsonObject = {
        "base_model_id": base.id,
        "source": imported.get("imported_from") or (local.name if local.exists() else path),
        "family": info.family,
        "n_blocks": info.n_blocks,
        "hidden_size": info.hidden_size,
        "n_prunable": info.n_prunable,
        **imported,
    }
    ref = ModelRef(
        base_model_id=base.id,
        path=str(folder.absolute()),
        family=info.family,
        n_blocks=info.n_blocks,
        max_positions=info.max_positions,
        dtype=dtype,
        device=device,
        tf32=recipe.compute.tf32 and device == "cuda",
    )
    return OpenedModel(ref, base, row, info.content)


def _import_columns(folder: Path) -> JsonObject:
    """Return the columns about the import of a base model; none if it was not imported."""
    record = read_import_record(folder)
    if record is None:
        return {}
    return {
        "imported_from": record.source,
        "imported_revision": record.origin.commit if record.origin else None,
        "import_sources": {name: file.sha256 for name, file in record.files.items()},
    }


def corpus_ref(recipe: Recipe) -> CorpusRef:
    """The recipe's corpus as plain values.

    Raises:
        CorpusError: the path is not parallel text, or has no such split.
    """
    config = recipe.corpus
    if config.kind == "cldr":
        return CorpusRef("cldr", lines=config.lines, seed=config.seed)
    return text_ref(recipe.resolve(config.path or ""), config.split, needs_split=config.split is not None)


def text_ref(path: Path, split: str | None, *, needs_split: bool = False) -> CorpusRef:
    """Parallel text as plain values.

    Args:
        split: as in `choose_split`.
        needs_split: whether a text without splits is refused.
    Raises:
        CorpusError: the path is not parallel text, or has no such split.
    """
    ref = CorpusRef("parallel_text", path=str(path), split=split)
    corpus = open_corpus(ref)
    if not corpus.recognised.sources:
        expected = list(TEXT_LAYOUTS)
        raise CorpusError(
            "the path is not parallel text", path=str(path), expected=expected, got=listed_names(path), page=PAGE
        )
    if needs_split and not corpus.split:
        raise CorpusError("the text has no splits", path=str(path), key="split", expected="no split", got=split)
    return replace(ref, split=corpus.split or None)


def _check_lengths(recipe: Recipe, model: ModelRef) -> None:
    for entry in (entry for entry in recipe.demonstrations if entry.kind != "mixed"):
        if model.max_positions is not None and entry.max_tokens > model.max_positions:
            raise RecipeError(
                "demonstrations are longer than the model's positions",
                demonstrations=entry.name,
                expected=f"max_tokens at most {model.max_positions}",
                got=entry.max_tokens,
            )
