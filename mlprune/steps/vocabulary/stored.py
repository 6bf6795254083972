"""Kept tokens of a variant in the store, its tokenizer in place, and a chain without its removed tokens."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile

import torch
from torch import Tensor

from mlprune.atomic import replacing
from mlprune.cache_folders import user_cache_folder
from mlprune.hashing import digest
from mlprune.json_values import as_int
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.shard import Shard
from mlprune.steps.job import ModelRef
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.trimming.folder import read_tokenizer, write_tokenizer


def stored_tokens(store: Store, variant: Record) -> list[int]:
    """Return the kept tokens of a variant, ascending.

    Raises:
        DamagedArtefactError: their file is missing or damaged.
    """
    return [int(number) for number in store.read_table(variant.artefacts[0])["token_id"]]


def n_rows_of(variant: Record) -> int:
    """Return the tokens of the embedding of the base model."""
    return as_int(variant.rows["vocabularies"][0]["n_tokens"])


def removed_mask(store: Store, variant: Record) -> Tensor:
    """Return the tokens of the base model that a variant lacks, bool [vocab]."""
    removed = torch.ones(n_rows_of(variant), dtype=torch.bool)
    removed[stored_tokens(store, variant)] = False
    return removed


def tokenizer_folder(store: Store, variant: Record, model: ModelRef) -> Path:
    """Return a folder of this machine's cache with the config of a model and a variant's tokenizer, in place."""
    return in_place_folder(variant.contents, variant.artefacts[0], model, stored_tokens(store, variant))


def in_place_folder(contents: Mapping[str, str], artefact: Artefact, model: ModelRef, kept: Sequence[int]) -> Path:
    """Return the folder of `tokenizer_folder`; variants with the same tokens share it, and so their tokenised tasks.

    Args:
        contents: of the id of the variant, with the hash of the tokenizer.
        artefact: the file of its tokens.
    """
    name = digest([model.base_model_id, contents["tokenizer"], artefact.sha256])[:20]
    folder = user_cache_folder() / "tokenizers" / name
    if not folder.exists():
        with replacing(folder) as temporary:
            temporary.mkdir()
            write_in_place(model, temporary, kept)
    return folder


def write_in_place(model: ModelRef, folder: Path, kept: Sequence[int]) -> None:
    """Write the config of a model and a tokenizer with some tokens, which keep their ids, to an empty folder."""
    base = Path(model.path)
    copyfile(base / "config.json", folder / "config.json")
    write_tokenizer(base, folder, kept, source=read_tokenizer(load_tokenizer(base)))


@contextmanager
def without_tokens(chain: Chain, removed: Tensor | None) -> Iterator[None]:
    """Give removed tokens no probability until the context ends."""
    chain.everywhere(Shard.set_removed_tokens, removed)
    try:
        yield
    finally:
        chain.everywhere(Shard.set_removed_tokens, None)
