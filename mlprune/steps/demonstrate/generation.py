"""Texts that the dense model writes itself, as demonstrations (step `generate`).

After self-calibration (Williams et al., arXiv:2410.17170), of which the abstract could be read. That paper samples from
the start token alone; here a prompt names the language. Texts are drawn at one temperature from the first token on.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mlprune.errors import ModelError
from mlprune.evaluation.scoring.translation import PreparedTranslation, decoding_batches
from mlprune.json_values import JsonValue
from mlprune.models.inference.decoding import decode
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.models.token_draws import Sampling
from mlprune.steps.evaluate.cost import tasks_cost
from mlprune.steps.job import ChainLoader, ModelJob, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.store.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCHEMA = {"index": "int32", "text": "string", "token_ids": "list<int32>"}
"""Columns of a file of generated texts, one row per text; `token_ids` are the drawn tokens, without the prompt."""


@dataclass(frozen=True)
class GenerationSpec:
    """Generated texts as plain values."""

    language: str
    prompt: str
    """Text that the model continues; empty: the start token alone."""
    temperature: float
    seed: int
    n_texts: int
    max_tokens: int
    """Tokens of the prompt and the text together."""

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters in the id."""
        return dict(vars(self))


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> tuple[int, ...]:
    """Return the tokens that the model continues.

    Raises:
        ModelError: the prompt has no token and the tokenizer has no start token.
    """
    ids = [int(token) for token in tokenizer(prompt)["input_ids"]]
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not ids and start is None:
        raise ModelError("a prompt has no token, and the tokenizer has no start token", expected="a prompt", got=prompt)
    return tuple(ids) if ids else (int(start),)


@dataclass(frozen=True)
class GenerateJob(RecordJob, ModelJob):
    """Let the dense model write texts in one language."""

    step: ClassVar[str] = "generate"
    model: ModelRef
    spec: GenerationSpec

    @property
    def chain_model(self) -> ModelRef:
        """The model that writes."""
        return self.model

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """No records."""
        return ()

    @cached_property
    def prepared(self) -> PreparedTranslation:
        """The prompts, all equal, and their batches."""
        ids = prompt_ids(load_tokenizer(Path(self.model.path)), self.spec.prompt)
        n_new = self.spec.max_tokens - len(ids)
        batches = decoding_batches([self.spec.max_tokens] * self.spec.n_texts, self.batch_tokens)
        prompts = (self.spec.prompt,) * self.spec.n_texts
        return PreparedTranslation((), prompts, (ids,) * self.spec.n_texts, batches, n_new)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of decoding all texts."""
        disk_bytes = 8.0 * self.spec.n_texts * self.spec.max_tokens
        device = self.model.device
        batch_tokens = self.batch_tokens
        return tasks_cost(
            self.step, sizes, [self.prepared], batch_tokens=batch_tokens, device=device, disk_bytes=disk_bytes
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the texts. Special tokens, the end of a text included, are never drawn, so all have the same length."""
        model, prepared = chain(), self.prepared
        model.everywhere(Shard.set_keep_masks, None)
        tokenizer = load_tokenizer(Path(self.model.path))
        special = tuple(sorted(int(token) for token in tokenizer.all_special_ids))
        outputs = decode(
            model,
            prepared.token_ids,
            max_new_tokens=prepared.max_new_tokens,
            stop_id=-1,
            pad_id=special[0] if special else 0,
            batches=prepared.batches,
            sampling=Sampling(self.spec.seed, self.spec.temperature, special),
        )
        self._write(store, outputs, [tokenizer.decode(tokens) for tokens in outputs])

    def _write(self, store: Store, outputs: list[list[int]], texts: list[str]) -> None:
        """Write every text, then the record."""
        columns: dict[str, list[object]] = {
            "index": list(range(len(texts))),
            "text": [*texts],
            "token_ids": [*outputs],
        }
        artefact = store.write_table(f"generated/{self.identity.id}.parquet", columns, SCHEMA)
        row: dict[str, JsonValue] = {
            "generated_texts_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            **self.spec.parameters,
            "n_tokens": sum(map(len, outputs)),
            "n_empty": sum(not text.strip() for text in texts),
            "n_distinct": len(set(texts)),
        }
        store.write_record(self.identity.record(artefacts=(artefact,), rows={"generated_texts": [row]}))


def generated_texts(store: Store, record_id: str) -> tuple[str, ...]:
    """Return the texts of a record, in order.

    Raises:
        DamagedArtefactError: the file of texts is missing or differs from the record.
    """
    table = store.read_table(store.require("generated_texts", record_id).artefacts[0])
    return tuple(map(str, table["text"]))
