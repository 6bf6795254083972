"""Evaluation in place: the tokenizer of a variant whose tokens keep their ids, and a chain without removed tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile

import torch
from torch import Tensor

from mlprune.atomic import replacing
from mlprune.cache_folders import user_cache_folder
from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.hashing import digest
from mlprune.json_values import JsonObject
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.shard import Shard
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import Job, ModelRef, RecordKey
from mlprune.steps.tasks.evaluation import prepared_task
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.variant_rows import n_tokens_of_base, stored_tokens
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.trimming.folder import read_tokenizer, write_tokenizer


@dataclass(frozen=True)
class SmallerVocabulary:
    """Evaluate a variant with its tokenizer, and without removed tokens."""

    variant_id: str

    @property
    def parents(self) -> JsonObject:
        """None: the variant is a parent of each of its evaluations."""
        return {}

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variant."""
        return (("variants", self.variant_id),)

    @contextmanager
    def active(self, chain: Chain, store: Store) -> Iterator[None]:
        """Give removed tokens no probability."""
        with without_tokens(chain, removed_mask(store, store.require("variants", self.variant_id))):
            yield

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task, tokenised with the tokens of the variant."""
        folder = tokenizer_folder(store, store.require("variants", self.variant_id), model)
        return prepared_task(task, replace(model, path=str(folder)), batch_tokens)


def require_prompts(jobs: Iterable[Job], store: Store) -> None:
    """Check that the texts of evaluations fit the model with those smaller vocabularies whose tokens are chosen.

    Raises:
        TaskFileError: a text has too many tokens.
    """
    for job in (job for job in jobs if isinstance(job, EvaluateJob)):
        for evaluation in job.evaluations:
            intervention = evaluation.intervention
            if isinstance(intervention, SmallerVocabulary) and store.read_record(*intervention.needs[0]) is not None:
                intervention.prepared(store, evaluation.task, job.model, batch_tokens=job.batch_tokens)


def removed_mask(store: Store, variant: Record) -> Tensor:
    """Return the tokens of the base model that a variant lacks, bool [vocab]."""
    removed = torch.ones(n_tokens_of_base(variant), dtype=torch.bool)
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
