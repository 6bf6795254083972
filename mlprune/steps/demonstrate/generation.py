"""Step `generate`: demonstrations that the dense model writes itself, and whether their language is right.

After self-calibration (Williams et al., arXiv:2410.17170), of which the abstract could be read. That paper samples from
the start token alone; here a prompt names the language. Texts are drawn at one temperature from the first token on.

Pass rates say whether the texts are in the language that their prompt names. No model runs for them. They are those of
translations (`mlprune.evaluation.languages`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mlprune.corpus.chat import Chat, ChatTemplate, chat_columns
from mlprune.errors import BadInputError, ModelError
from mlprune.evaluation.inference.estimates import MetricValue, interval_columns
from mlprune.evaluation.inference.methods import measure
from mlprune.evaluation.languages import has_word_rate
from mlprune.evaluation.scoring.translation import PreparedTranslation, Translations, decoding_batches
from mlprune.evaluation.task_metrics import PASS_RATES, Metric, task_metrics, with_detectors
from mlprune.json_values import JsonValue
from mlprune.languages import language_tag
from mlprune.models.inference.decoding import Sampling, StoppingCriteria, decode
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.steps import job
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.store.records import Record
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
class RatedTexts:
    """Result of rating generated texts."""

    record_ids: tuple[str, ...]
    """Ids of the records, including those that already existed."""
    n_new: int
    """Number of records written."""


def rate_generated_texts(store: Store, metrics: Sequence[str], *, language: str | None = None) -> RatedTexts:
    """Compute pass rates of stored generated texts, and record them.

    Args:
        metrics: names in `PASS_RATES`; empty for all that a language has.
        language: only texts of this language.
    Raises:
        BadInputError: a metric is not a pass rate or does not exist for a language, no texts are selected, or the
            language detector is not installed or does not know the language.
    """
    for name in metrics:
        if name not in PASS_RATES:
            raise BadInputError("not a metric of generated texts", expected=tuple(PASS_RATES), got=name)
    tag = None if language is None else language_tag(language)
    selected = [record for record in store.records("generated_texts") if tag in (None, _language(record))]
    if not selected:
        expected = "a set of kind generated in the recipe"
        raise BadInputError("no generated texts are stored", language=language, expected=expected, got=0)
    planned = [(record, _names(metrics, _language(record))) for record in selected]
    rated = [
        (record, _identity(record, names), task_metrics("translation", _language(record), names=names))
        for record, names in planned
    ]
    n_new = sum(_rate(store, record, identity, metrics=chosen) for record, identity, chosen in rated)
    return RatedTexts(tuple(sorted(identity.id for _, identity, _ in rated)), n_new)


def _language(record: Record) -> str:
    return str(record.rows["generated_texts"][0]["language"])


def _names(metrics: Sequence[str], language: str) -> tuple[str, ...]:
    """Return the metrics to compute, with their detectors."""
    every = (name for name in PASS_RATES if name != "word_pass_rate" or has_word_rate(language))
    return with_detectors(tuple(metrics) or tuple(every))


def _identity(record: Record, names: Sequence[str]) -> job.Identity:
    return job.make_identity("text_pass_rates", {"metrics": list(names)}, parents={"generated_texts": record.id})


def _rate(store: Store, record: Record, identity: job.Identity, *, metrics: Sequence[Metric]) -> bool:
    """Write one record unless it exists; return whether it was written."""
    if store.has_record(*identity.key):
        return False
    texts = generated_texts(store, record.id)
    numbers = tuple(map(str, range(len(texts))))
    values = measure(metrics, Translations(numbers, texts, ("",) * len(texts)))
    rows = [_row(record, identity, metric=metric, value=values[metric.name]) for metric in metrics]
    store.write_record(identity.record(rows={"text_pass_rates": rows}))
    return True


def _row(record: Record, identity: job.Identity, *, metric: Metric, value: MetricValue) -> dict[str, JsonValue]:
    source = record.rows["generated_texts"][0]
    return {
        "text_pass_rates_id": identity.id,
        "generated_texts_id": record.id,
        "base_model_id": source["base_model_id"],
        "language": source["language"],
        "metric": metric.name,
        "value": value.value,
        **interval_columns("ci", value.interval),
        "interval": value.method,
        "n": value.n,
        "detector": metric.signature,
    }
