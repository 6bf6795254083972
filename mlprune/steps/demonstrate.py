"""Step `demonstrate`: corpus -> tokenised demonstration set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from mlprune.corpus.calibration import SCHEMA, demonstration_columns
from mlprune.corpus.demonstrations import (
    Demonstration,
    chosen_files,
    chosen_lines,
    code_demonstrations,
    monolingual_demonstrations,
    translation_demonstrations,
)
from mlprune.corpus.sources import CldrCorpus, ParallelCorpus, code_files
from mlprune.models.loading import load_tokenizer
from mlprune.steps.jobs import ChainLoader, Identity, Job, ModelRef, RecordKey
from mlprune.storage import Store


@dataclass(frozen=True)
class CorpusRef:
    """A corpus as jobs pass it around."""

    kind: str
    path: str = ""
    lines: int = 0
    seed: int = 0


@cache
def open_corpus(ref: CorpusRef) -> ParallelCorpus:
    """The corpus itself; lines read once stay in memory."""
    if ref.kind == "cldr":
        return CldrCorpus(n_lines=ref.lines, seed=ref.seed)
    return ParallelCorpus(Path(ref.path))


@dataclass(frozen=True)
class SetSpec:
    """A demonstration set as plain values."""

    kind: str
    source: str | None
    """Source language of a translation set, the language of a monolingual one."""
    target: str | None
    shots: int | None
    samples: int
    max_tokens: int
    seed: int
    code_path: str = ""
    left_out: tuple[int, ...] = ()
    """Corpus lines that evaluations use."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages whose sentences the set holds."""
        return tuple(language for language in (self.source, self.target) if language)

    @property
    def parameters(self) -> dict[str, Any]:
        """What was chosen, for the id."""
        return {
            "kind": self.kind,
            "source": self.source,
            "target": self.target,
            "shots": self.shots,
            "samples": self.samples,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "left_out": list(self.left_out),
        }


def lines_of(spec: SetSpec, corpus: ParallelCorpus) -> list[tuple[int, ...]]:
    """The corpus lines of each demonstration of a translation or monolingual set."""
    n_lines = len(corpus.lines(spec.languages[0]))
    return chosen_lines(
        n_lines, shots=spec.shots or 1, samples=spec.samples, seed=spec.seed, left_out=set(spec.left_out)
    )


def files_of(spec: SetSpec) -> tuple[dict[str, str], list[str]]:
    """All files a code set may use, and those it does, in order."""
    files = dict(code_files(Path(spec.code_path)))
    return files, chosen_files(list(files), samples=spec.samples, seed=spec.seed)


def _demonstrations(spec: SetSpec, corpus: CorpusRef, end: str) -> Sequence[Demonstration]:
    """The texts of a set."""
    if spec.kind == "code":
        return code_demonstrations(*files_of(spec))
    opened = open_corpus(corpus)
    lines = lines_of(spec, opened)
    if spec.kind == "monolingual":
        language = spec.languages[0]
        return monolingual_demonstrations(language, opened.lines(language), lines=lines, end=end)
    source, target = spec.languages
    return translation_demonstrations(
        (source, target), (opened.lines(source), opened.lines(target)), lines=lines, end=end
    )


@dataclass(frozen=True)
class DemonstrateJob(Job):
    """Write a demonstration set."""

    step: ClassVar[str] = "demonstrate"
    identity: Identity
    model: ModelRef
    corpus: CorpusRef
    spec: SetSpec

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The set's record."""
        return (self.identity.key,)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Nothing: it reads the corpus."""
        return ()

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose, write out and tokenise."""
        tokenizer = load_tokenizer(Path(self.model.path))
        found = _demonstrations(self.spec, self.corpus, tokenizer.eos_token)
        columns = demonstration_columns(found, tokenizer, max_tokens=self.spec.max_tokens)
        _write_set(store, self.identity, columns, self.spec)


@dataclass(frozen=True)
class MixJob(Job):
    """Write a set that unites others, part after part."""

    step: ClassVar[str] = "demonstrate"
    identity: Identity
    parts: tuple[str, ...]
    shares: str
    spec: SetSpec

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The set's record."""
        return (self.identity.key,)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The parts."""
        return tuple(("demonstration_sets", part) for part in self.parts)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Join the parts; equal shares take as many demonstrations of each as the smallest has."""
        tables = [store.read_table(store.require("demonstration_sets", part).artefacts[0]) for part in self.parts]
        sizes = [len(table["text"]) for table in tables]
        taken = [min(sizes)] * len(sizes) if self.shares == "equal" else sizes
        columns = {
            name: [value for table, n in zip(tables, taken, strict=True) for value in table[name][:n]]
            for name in SCHEMA
        }
        columns["demonstration"] = list(range(sum(taken)))
        part_rows = [
            {"demonstration_set_id": self.identity.id, "part_id": part, "share": n / sum(taken)}
            for part, n in zip(self.parts, taken, strict=True)
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
        "seed": spec.seed,
    }
    rows = {"demonstration_sets": [row], **({"demonstration_set_parts": part_rows} if part_rows else {})}
    store.write_record(identity.record(artefacts=(artefact,), rows=rows))
