"""Step `generate`, and demonstration sets of the texts that the dense model writes.

After self-calibration (Williams et al., arXiv:2410.17170), of which the abstract could be read. That paper samples from
the start token alone; here a prompt names the language. Texts are drawn at one temperature from the first token on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mlprune.capabilities.capability import Planned
from mlprune.corpus.chat import Chat, ChatTemplate, chat_columns
from mlprune.corpus.templates import fill_template
from mlprune.errors import ModelError, RecipeError
from mlprune.evaluation.scoring.translation import PreparedTranslation, decoding_batches
from mlprune.json_values import JsonValue
from mlprune.models.inference.decoding import Sampling, StoppingCriteria, decode
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.steps import job
from mlprune.steps.demonstrate.writing import DemonstrateJob
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.steps.sets import PlannedSet, SetSpec, SourceTexts, numbered_texts
from mlprune.store.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCHEMA = {"index": "int32", "text": "string", "token_ids": "list<int32>"}
"""Columns of a file of generated texts, one row per text; `token_ids` are the drawn tokens, without the prompt."""
DEFAULT_PROMPT = "{endonym}:"


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
    chat: Chat | None = None
    """The chat in which the prompt is the user's turn; None for plain text."""

    @property
    def columns(self) -> dict[str, JsonValue]:
        """The other parameters than the chat, which are columns of the catalog."""
        return {name: value for name, value in vars(self).items() if name != "chat"}

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters in the id."""
        return {**self.columns, **({} if self.chat is None else {"chat": self.chat.parameters})}


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str, *, chat: Chat | None = None) -> tuple[int, ...]:
    """Return the tokens that the model continues.

    Raises:
        CorpusError: the prompt of a chat has no text.
        ModelError: the prompt has no token and the tokenizer has no start token.
    """
    text = prompt if chat is None else ChatTemplate(tokenizer, chat).question(prompt)
    ids = [int(token) for token in tokenizer(text, add_special_tokens=chat is None)["input_ids"]]
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not ids and start is None:
        raise ModelError("a prompt has no token, and the tokenizer has no start token", expected="a prompt", got=prompt)
    return tuple(ids) if ids else (int(start),)


@dataclass(frozen=True)
class GenerateJob(job.RecordJob, job.ModelJob):
    """Let the dense model write texts in one language."""

    step: ClassVar[str] = "generate"
    model: job.ModelRef
    spec: GenerationSpec

    @property
    def chain_model(self) -> job.ModelRef:
        """The model that writes."""
        return self.model

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """No records."""
        return ()

    @cached_property
    def prepared(self) -> PreparedTranslation:
        """The prompts, all equal, and their batches."""
        ids = prompt_ids(load_tokenizer(Path(self.model.path)), self.spec.prompt, chat=self.spec.chat)
        n_new = self.spec.max_tokens - len(ids)
        batches = decoding_batches([self.spec.max_tokens] * self.spec.n_texts, self.batch_tokens)
        prompts = (self.spec.prompt,) * self.spec.n_texts
        return PreparedTranslation((), prompts, (ids,) * self.spec.n_texts, batches, n_new)

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """Cost of decoding all texts."""
        tasks = [self.prepared]
        cost = tasks_cost(self.step, sizes, tasks, batch_tokens=self.batch_tokens, device=self.model.device)
        return replace(cost, disk_bytes=8.0 * self.spec.n_texts * self.spec.max_tokens)

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Write the texts. Special tokens, the end of a text included, are never drawn, so all have the same length."""
        model, prepared = chain(), self.prepared
        model.everywhere(Shard.set_keep_masks, None)
        tokenizer = load_tokenizer(Path(self.model.path))
        special = tuple(sorted(int(token) for token in tokenizer.all_special_ids))
        outputs = decode(
            model,
            prepared.token_ids,
            StoppingCriteria(prepared.max_new_tokens, stop_id=-1),
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
            **self.spec.columns,
            **chat_columns(self.spec.chat),
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


@dataclass(frozen=True)
class GeneratedSetJob(DemonstrateJob):
    """Write a demonstration set of texts that the model wrote."""

    generated: str = field(kw_only=True)
    """Record of the texts."""

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The texts."""
        return (("generated_texts", self.generated),)

    def source_texts(self, store: Store) -> SourceTexts:
        """Read the texts; see `generated_texts`."""
        return _source_texts(self.spec, generated_texts(store, self.generated))


def filled_prompt(entry: DemonstrationConfig) -> str:
    """Return the prompt of a generated set, with the names of its language.

    Raises:
        CorpusError: the prompt has an unknown placeholder, or the language has no such name.
    """
    prompt = DEFAULT_PROMPT if entry.prompt is None else entry.prompt
    return fill_template(prompt + "{text}", "", language=entry.language, end="")


def plan_generated_set(planned: Planned, entry: DemonstrationConfig, spec: SetSpec) -> PlannedSet:
    """Plan the job that writes the texts, and the one that makes demonstrations of them.

    Raises:
        CorpusError: the prompt or the template is wrong.
        RecipeError: the prompt leaves no room for a text.
    """
    assert spec.source is not None, "a generated set has a language"
    inputs, model = planned.inputs, planned.inputs.model
    generation = GenerationSpec(
        spec.source,
        filled_prompt(entry),
        1.0 if entry.temperature is None else entry.temperature,
        seed=spec.seed,
        n_texts=spec.samples,
        max_tokens=spec.max_tokens,
        chat=spec.chat,
    )
    spec = replace(spec, own=(("prompt", generation.prompt), ("temperature", generation.temperature)))
    _source_texts(spec, ())  # checks the template
    n_prompt = len(prompt_ids(load_tokenizer(Path(model.path)), generation.prompt, chat=spec.chat))
    if n_prompt >= spec.max_tokens:
        expected = f"max_tokens above {n_prompt}"
        message = "a prompt leaves no room for a text"
        raise RecipeError(message, demonstrations=entry.name, expected=expected, got=spec.max_tokens)
    batch_tokens = model.batch_tokens(planned.recipe.compute)
    parameters = {**generation.parameters, **job.computed_parameters(model, batch_tokens=batch_tokens)}
    contents = {"tokenizer": inputs.tokenizer_content}
    base = {"base_model": model.base_model_id}
    written = job.make_identity("generated_texts", parameters, parents=base, contents=contents)
    texts = {"generated_texts": written.id}
    identity = job.make_identity("demonstration_sets", spec.parameters, parents=texts, contents=contents)
    generate = GenerateJob(written, model, generation, batch_tokens=batch_tokens)
    makes_set = GeneratedSetJob(identity, model, inputs.corpus_ref, spec, generated=written.id)
    return PlannedSet(entry.name, spec, identity, makes_set, entry.activations, jobs_before=(generate,))


def _source_texts(spec: SetSpec, texts: Sequence[str]) -> SourceTexts:
    """Number the texts; in a chat, the prompt is the user's turn, which the model continued."""
    prompt = str(dict(spec.own)["prompt"]) if spec.chat else ""
    return numbered_texts(spec, texts, unit="generated texts", prompt=prompt)
