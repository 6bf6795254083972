"""Step `demonstrate`: corpus -> tokenised demonstration set.

What a set draws on, and which texts it draws, is in `set_material.py`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from mlprune.corpus.calibration import SCHEMA, demonstration_columns
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.demonstrate.source_texts import CorpusRef, SetSpec, SourceTexts, read_source_texts
from mlprune.steps.job import ChainLoader, Identity, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.store.store import Store


def set_columns(spec: SetSpec, found: SourceTexts, tokenizer: Any, *, samples: int | None) -> dict[str, list[Any]]:
    """The artefact of a set: chosen, written out and tokenised.

    Args:
        samples: demonstrations; None where a token budget decides.
    Raises:
        CorpusError: there are too few texts, or they have too few tokens for the budget.
    """
    groups = found.draw_groups(spec, samples=samples)
    demonstrations = (found.demonstration(spec, numbers, end=tokenizer.eos_token) for numbers in groups)
    return demonstration_columns(
        demonstrations,
        tokenizer,
        max_tokens=spec.max_tokens,
        token_budget=spec.token_budget,
        profile=spec.profile,
    )


def fit_token_budget(spec: SetSpec, found: SourceTexts, tokenizer: Any) -> SetSpec:
    """The set with the number of demonstrations that its token budget takes.

    Raises:
        CorpusError: there are too few tokens; the message says how many there are.
    """
    return replace(spec, samples=len(set_columns(spec, found, tokenizer, samples=None)["text"]))


@dataclass(frozen=True)
class DemonstrateJob(RecordJob):
    """Write a demonstration set."""

    step: ClassVar[str] = "demonstrate"
    model: ModelRef
    corpus: CorpusRef
    spec: SetSpec

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Nothing: it reads the corpus."""
        return ()

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose, write out and tokenise."""
        tokenizer = load_tokenizer(Path(self.model.path))
        found = read_source_texts(self.spec, self.corpus)
        columns = set_columns(self.spec, found, tokenizer, samples=self.spec.samples)
        _write_set(store, self.identity, columns, self.spec)


@dataclass(frozen=True)
class MixJob(RecordJob):
    """Write a set that unites others, part after part."""

    step: ClassVar[str] = "demonstrate"
    parts: tuple[str, ...]
    taken: tuple[int, ...]
    """Demonstrations of each part, its first ones."""
    spec: SetSpec

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The parts."""
        return tuple(("demonstration_sets", part) for part in self.parts)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Join the parts."""
        tables = [store.read_table(store.require("demonstration_sets", part).artefacts[0]) for part in self.parts]
        columns = {
            name: [value for table, n in zip(tables, self.taken, strict=True) for value in table[name][:n]]
            for name in SCHEMA
        }
        columns["demonstration"] = list(range(sum(self.taken)))
        part_rows = [
            {"demonstration_set_id": self.identity.id, "part_id": part, "share": n / sum(self.taken)}
            for part, n in zip(self.parts, self.taken, strict=True)
        ]
        _write_set(store, self.identity, columns, self.spec, part_rows=part_rows)


def _write_set(
    store: Store,
    identity: Identity,
    columns: dict[str, list[Any]],
    spec: SetSpec,
    *,
    part_rows: list[dict[str, Any]] | None = None,
) -> None:
    """Artefact, then record."""
    artefact = store.write_table(f"demonstrations/{identity.id}.parquet", columns, SCHEMA)
    row = {
        "demonstration_set_id": identity.id,
        "kind": spec.kind,
        "source_language": spec.source,
        "target_language": spec.target,
        "shots": spec.shots,
        "samples": len(columns["text"]),
        "max_tokens": spec.max_tokens,
        "n_tokens": sum(len(ids) for ids in columns["token_ids"]),
        "seed": spec.stored_seed,
        "profile": spec.profile,
        "template": spec.template,
        "token_budget": spec.token_budget,
        "task": spec.task,
    }
    rows = {"demonstration_sets": [row], **({"demonstration_set_parts": part_rows} if part_rows else {})}
    store.write_record(identity.record(artefacts=(artefact,), rows=rows))
