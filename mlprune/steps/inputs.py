"""Inputs of a recipe: open and check the model, its device, tokenizer and corpus first.

The id of a base model is a hash of its files, so two folders with equal files are the same base model. The device and
the dtype are part of ids, so they are resolved when a recipe is planned, from the machines of its run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from mlprune.corpus.chat import Chat, folder_template_sha256, inspect_chat
from mlprune.corpus.layouts.parallel_text import PAGE, TEXT_LAYOUTS
from mlprune.corpus.sources import CldrCorpus, ParallelCorpus
from mlprune.corpus.text_files import listed_names, nearest_layout
from mlprune.errors import BadInputError, CorpusError, ModelError, RecipeError
from mlprune.hashing import digest
from mlprune.json_values import JsonObject, as_object
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.import_record import read_import_record
from mlprune.models.loading import ModelInfo, check_tokenizer, inspect_model, load_tokenizer, resolve_model
from mlprune.models.metadata_cache import cached_metadata
from mlprune.models.model_layers import ModelLayer
from mlprune.recipe.base import ChatConfig
from mlprune.recipe.models import ComputeConfig, CorpusConfig, Recipe
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.steps.loss_records import LossRecord
from mlprune.store.store import Store
from mlprune.vocabulary import DeviceName, DtypeName

BFLOAT16_CAPABILITY = (8, 0)
"""First compute capability of CUDA (Ampere) with products in bfloat16."""


def base_model_identity(info: ModelInfo) -> Identity:
    """The identity of a base model from the contents of its files."""
    return make_identity("base_models", contents=info.content)


def require_base_model(folder: Path, base_model_id: str) -> ModelInfo:
    """Inspect the folder of a base model and check its id.

    Raises:
        BadInputError: the folder contains another model.
        ModelError: the model cannot be read.
    """
    info = inspect_model(folder)
    folder_id = base_model_identity(info).id
    if folder_id != base_model_id:
        message = "the folder contains another model than the variant was made from"
        raise BadInputError(message, path=str(folder), expected=base_model_id, got=folder_id)
    return info


def find_base_model(store: Store, base_model_id: str, *, option: str = "--base-model PATH") -> Path:
    """The newest folder where a run of this store used a base model and where it still is, unchanged.

    Args:
        option: how the user names another folder, for messages.
    Raises:
        BadInputError: there is no such folder; the message asks for the option.
    """
    folders = list(dict.fromkeys(_folders_of_runs(store, base_model_id)))
    for folder in folders:
        try:
            require_base_model(Path(folder), base_model_id)
        except (BadInputError, ModelError):
            continue
        return Path(folder)
    raise BadInputError(
        "the base model is not in a folder where a run of this store used it",
        next=f"pass its folder with {option}",
        base_model_id=base_model_id,
        tried=folders,
    )


def _folders_of_runs(store: Store, base_model_id: str) -> Iterator[str]:
    """Folders of a base model in the run files, newest run first: run ids begin with the time."""
    for path in reversed(store.list("runs")):
        if path.endswith("/run.json"):
            try:
                folder = as_object(as_object(store.read_json(path))["models"])[base_model_id]
            except (OSError, ValueError, LookupError, TypeError):
                continue
            if isinstance(folder, str):
                yield folder


@cache
def open_corpus(ref: CorpusConfig) -> ParallelCorpus:
    """The corpus. Lines stay in memory once they are read."""
    if ref.kind == "cldr":
        return CldrCorpus(n_lines=ref.lines, seed=ref.seed)
    return ParallelCorpus(Path(ref.path or ""), ref.split, columns=ref.columns)


def is_same_text(first: CorpusConfig, second: CorpusConfig, language: str) -> bool:
    """Whether two corpora read the same file in a language, so that equal line numbers are equal sentences."""
    if first == second:
        return True
    if "cldr" in (first.kind, second.kind):
        return False
    try:
        sources = [open_corpus(ref).source(language) for ref in (first, second)]
    except CorpusError:
        return False
    return sources[0].code == sources[1].code and sources[0].path.samefile(sources[1].path)


class Accelerators(NamedTuple):
    """Accelerators of the machines that run a recipe."""

    exist: bool
    """Whether any machine has one."""
    have_bfloat16: bool
    """Whether all of them compute in bfloat16; True without any."""


def local_accelerators() -> Accelerators:
    """Return the accelerators of this machine."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Accelerators(n_gpus > 0, all(map(has_bfloat16, range(n_gpus))))


def has_bfloat16(number: int) -> bool:
    """Return whether an accelerator of this machine computes in bfloat16."""
    return torch.version.hip is not None or torch.cuda.get_device_capability(number) >= BFLOAT16_CAPABILITY


def with_devices(recipe: Recipe, accelerators: Accelerators) -> Recipe:
    """Return the recipe with its kind of device and its dtype in place of `auto`."""
    device = resolved_device(recipe.compute, accelerators)
    dtype = resolved_dtype(recipe.model.dtype, device, accelerators)
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"dtype": dtype}),
            "compute": recipe.compute.model_copy(update={"device": device}),
        }
    )


def device_and_dtype(recipe: Recipe) -> tuple[DeviceName, DtypeName]:
    """Return the kind of device and the dtype of a recipe.

    Automatic ones are resolved for this machine. Only then are its accelerators measured, which starts CUDA in this
    process.
    """
    device, dtype = recipe.compute.device, recipe.model.dtype
    if device != "auto" and dtype != "auto":
        return device, dtype
    accelerators = local_accelerators()
    device = resolved_device(recipe.compute, accelerators)
    return device, resolved_dtype(dtype, device, accelerators)


def resolved_device(compute: ComputeConfig, accelerators: Accelerators) -> DeviceName:
    """Return the kind of device that computes: what the recipe says, or accelerators if there are any."""
    if compute.device != "auto":
        return compute.device
    if compute.gpus_per_actor != "auto":
        return "cuda" if compute.gpus_per_actor > 0 else "cpu"
    return "cuda" if accelerators.exist else "cpu"


def resolved_dtype(dtype: DtypeName | str, device: DeviceName, accelerators: Accelerators) -> DtypeName:
    """Return the dtype of the model: what the recipe says, or bfloat16 on accelerators that have it, or float32.

    The dtype of the checkpoint does not matter. float16 is never chosen: activations of XGLM, among others, exceed it.
    """
    if dtype in ("float32", "bfloat16", "float16"):
        return dtype
    return "bfloat16" if device == "cuda" and accelerators.have_bfloat16 else "float32"


@dataclass(frozen=True)
class OpenedModel:
    """A base model that was opened and checked."""

    ref: ModelRef
    base: Identity
    row: JsonObject
    """Its catalog row."""
    layers: tuple[ModelLayer, ...]
    """Parameters of two or more dimensions in its blocks."""
    content: Mapping[str, str]
    """File -> SHA-256."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a recipe, opened and checked."""

    model: ModelRef
    base: Identity
    base_row: JsonObject
    """The base model's catalog row."""
    base_layers: tuple[ModelLayer, ...]
    """Parameters of two or more dimensions in the base model's blocks."""
    tokenizer_content: str
    """SHA-256 of the tokenizer's files."""
    corpus_ref: CorpusConfig
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
    return Inputs(opened.ref, opened.base, opened.row, opened.layers, digest(tokenizer_files), corpus_ref(recipe))


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
        n_prunable=info.n_prunable,
    )
    return OpenedModel(ref, base, row, info.layers, info.content)


def _import_columns(folder: Path) -> JsonObject:
    """Return the columns about the import of a base model; none if it was not imported.

    Several models can be imported from files of one name: the folder, the dtype and the chat template tell them apart.
    """
    record = read_import_record(folder)
    if record is None:
        return {}
    config = as_object(json.loads((folder / "config.json").read_bytes()))
    return {
        "folder": folder.absolute().name,
        "dtype": config.get("dtype", config.get("torch_dtype")),
        "chat_template_sha256": folder_template_sha256(folder),
        "imported_from": record.source,
        "imported_revision": record.origin.commit if record.origin else None,
        "import_sources": {name: file.sha256 for name, file in record.files.items()},
    }


def corpus_ref(recipe: Recipe) -> CorpusConfig:
    """The recipe's corpus, with an absolute path.

    Raises:
        CorpusError: the path is not parallel text, or has no such split.
    """
    config = recipe.corpus
    if config.kind == "cldr":
        return config
    path, needs_split = recipe.resolve(config.path or ""), config.split is not None
    return text_ref(path, config.split, needs_split=needs_split, columns=config.columns)


def text_ref(
    path: Path, split: str | None, *, needs_split: bool = False, columns: Sequence[tuple[str, str]] = ()
) -> CorpusConfig:
    """Parallel text in a file or folder.

    Args:
        split: as in `choose_split`.
        needs_split: whether a text without splits is refused.
        columns: (language, column) of tables whose header has other names for the languages.
    Raises:
        CorpusError: the path is not parallel text, or has no such split.
    """
    ref = CorpusConfig(kind="parallel_text", path=str(path), split=split, columns=tuple(columns))
    corpus = open_corpus(ref)
    if not corpus.recognised.sources:
        nearest = nearest_layout(path, {name: layout.example for name, layout in TEXT_LAYOUTS.items()})
        context = {"path": str(path), "expected": "a published layout", **nearest, "got": listed_names(path)}
        raise CorpusError("the path is not parallel text", context, page=PAGE)
    if needs_split and not corpus.split:
        raise CorpusError("the text has no splits", path=str(path), key="split", expected="no split", got=split)
    return ref.model_copy(update={"split": corpus.split or None})


def planned_chat(model: ModelRef, config: ChatConfig | None) -> Chat | None:
    """Describe the chat of an entry, if it has one, and check the chat template of the model; the result is cached.

    Raises:
        ModelError: the model has no chat template, or it refuses a turn or the system text.
    """
    if config is None:
        return None
    system, folder = config.system and config.system.strip(), Path(model.path)
    name = f"chat {digest(system)}"
    described = cached_metadata(folder, name, lambda: inspect_chat(load_tokenizer(folder), system).parameters)
    return Chat(**described)


def _check_lengths(recipe: Recipe, model: ModelRef) -> None:
    for entry in (entry for entry in recipe.demonstrations if entry.kind != "mixed"):
        if model.max_positions is not None and entry.max_tokens > model.max_positions:
            raise RecipeError(
                "demonstrations are longer than the model's positions",
                demonstrations=entry.name,
                expected=f"max_tokens at most {model.max_positions}",
                got=entry.max_tokens,
            )
