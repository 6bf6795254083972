"""Write demonstration sets, and check that the tokenizer knows their texts.

The tokenizer is checked on a sample of the texts while planning, and on all tokens when a set is made. With unknown
tokens, statistics describe the unknown token and not the language.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, cast

from mlprune.corpus import calibration
from mlprune.corpus.chat import ChatTemplate, chat_columns
from mlprune.corpus.demonstrations import Demonstration
from mlprune.counted import counted
from mlprune.errors import CorpusError
from mlprune.hashing import digest
from mlprune.json_values import JsonValue
from mlprune.models.loading import MAX_UNKNOWN_SHARE, MIN_REPRODUCED_SHARE, coverage, load_tokenizer, unknown_id
from mlprune.models.metadata_cache import cached_metadata
from mlprune.recipe.models import CorpusConfig
from mlprune.steps.job import ChainLoader, Identity, Job, JobCost, ModelRef, RecordKey, SetSize, SmallJob
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.steps.sets import SetSpec, SourceTexts, read_source_texts
from mlprune.store.parquet import Columns
from mlprune.store.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

N_TEXTS = 16
"""Texts of a sample, spread evenly over those that were drawn."""
MAX_CHARACTERS = 2000
"""Characters of a text that are checked; files of code can be long."""
MOST_CHECKED = 1000
"""Most demonstrations of a set that are tokenised while planning, only to count those without a target."""
WARNED_SHARE = 0.1
"""Least share of demonstrations without a target of which a warning is logged."""
PADDED = 1.25
"""Most tokens of padded batches per token; a batch has demonstrations of similar length."""


def sample_texts(texts: SourceTexts, groups: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return some of the texts of a set, with their labels.

    Args:
        groups: numbers of each demonstration's texts.
    """
    numbers = list(dict.fromkeys(chain.from_iterable(groups)))
    chosen = numbers[:: max(1, len(numbers) // N_TEXTS)][:N_TEXTS]
    written = (side(number, "")[:MAX_CHARACTERS] for number in chosen for side in texts.sides)
    return tuple(text for text in written if text)


def check_samples(model: Path, samples: Mapping[str, Sequence[str]]) -> None:
    """Check that the tokenizer of a model knows the samples of sets; the result is cached.

    Args:
        samples: name of the set in the recipe -> texts.
    Raises:
        CorpusError: the tokenizer does not know one of them.
    """
    cached_metadata(model, f"coverage {digest(samples)}", lambda: _checked(model, samples))


def _checked(model: Path, samples: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    tokenizer = load_tokenizer(model)
    for name, texts in samples.items():
        known = coverage(tokenizer, texts)
        if not known.is_sufficient:
            message = "the tokenizer does not know the texts of a demonstration set; use a model of their language"
            worst = min(texts, key=lambda text: coverage(tokenizer, [text]).reproduced_share)
            raise CorpusError(
                message,
                demonstrations=name,
                unknown_tokens=f"{known.unknown_share:.0%} (at most {MAX_UNKNOWN_SHARE:.0%})",
                reproduced_characters=f"{known.reproduced_share:.0%} (at least {MIN_REPRODUCED_SHARE:.0%})",
                text=worst[:80],
            )
    return {"is_sufficient": True}


def check_unknown_tokens(token_ids: Sequence[Sequence[int]], tokenizer: "PreTrainedTokenizerBase") -> None:
    """Check that few tokens of a set are unknown.

    Raises:
        CorpusError: more than `MAX_UNKNOWN_SHARE` are.
    """
    unknown = unknown_id(tokenizer)
    n_tokens = sum(len(ids) for ids in token_ids)
    n_unknown = sum(number == unknown for ids in token_ids for number in ids)
    if n_unknown > MAX_UNKNOWN_SHARE * n_tokens:
        message = "the tokenizer does not know the texts of a demonstration set; use a model of their language"
        expected = f"at most {MAX_UNKNOWN_SHARE:.0%} unknown tokens"
        raise CorpusError(message, expected=expected, got=f"{n_unknown} of {n_tokens}")


def set_columns(
    spec: SetSpec,
    texts: SourceTexts,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    samples: int | None,
    longer: calibration.LongerDemonstrations | None = None,
) -> calibration.DemonstrationColumns:
    """Draw, write and tokenise the demonstrations of a set. Those that are skipped are replaced by the next ones.

    Args:
        samples: number of demonstrations; None if a token budget decides.
        longer: counts the demonstrations that are longer than `max_tokens`.
    Raises:
        CorpusError: there are too few texts, or their tokens do not fill the budget.
    """
    longer = longer or calibration.LongerDemonstrations(spec.longer)
    columns = calibration.demonstration_columns(
        _written(spec, texts, tokenizer, samples=None if spec.longer == "skip" else samples),
        tokenizer,
        calibration.SetLimits(spec.max_tokens, spec.token_budget if spec.paired else None, samples),
        longer=longer,
        profile=spec.profile,
    )
    if samples is not None and len(columns["text"]) < samples:
        expected, got = f"{samples} demonstrations that fit max_tokens", f"{len(columns['text'])} and {longer.n} longer"
        raise CorpusError("the corpus is too short", expected=expected, got=got)
    return (
        columns if spec.paired or spec.token_budget is None else calibration.cut_to_budget(columns, spec.token_budget)
    )


def _written(
    spec: SetSpec, texts: SourceTexts, tokenizer: "PreTrainedTokenizerBase", *, samples: int | None
) -> Iterator[Demonstration]:
    """Draw and write the demonstrations of a set, as chats if they are."""
    if spec.chat is None:
        return texts.demonstrations(spec, samples=samples, end=tokenizer.eos_token)
    return map(ChatTemplate(tokenizer, spec.chat).demonstration, texts.demonstrations(spec, samples=samples, end=""))


@dataclass(frozen=True)
class CutTargets:
    """How many demonstrations of a set are cut before the first token of a target: a translation or an answer."""

    n: int = 0
    n_checked: int = 0
    """The first demonstrations of the set, at most `MOST_CHECKED`."""

    def warning(self, max_tokens: int) -> str:
        """Return a line about them; empty if they are few."""
        if self.n < max(1, WARNED_SHARE * self.n_checked):
            return ""
        return f"{self} lose their target: it begins after max_tokens ({max_tokens}); use more"

    def __str__(self) -> str:
        return f"{self.n} of {counted(self.n_checked, 'demonstration')}"


def cut_targets(spec: SetSpec, texts: SourceTexts, model: Path, *, set_id: str) -> CutTargets:
    """Count the demonstrations of a set without a token of a target; the result is cached.

    Args:
        model: folder of the model, whose tokenizer is only loaded if the set has targets.
        set_id: id of the set, which covers its texts and the tokenizer.
    """
    if spec.longer != "truncate_right" or len(texts.sides) == 1:
        return CutTargets()

    def count() -> dict[str, int]:
        tokenizer = load_tokenizer(model)
        n_checked = min(spec.samples, MOST_CHECKED)
        written = islice(_written(spec, texts, tokenizer, samples=spec.samples), n_checked)
        lose = (calibration.loses_target(tokenizer, each, max_tokens=spec.max_tokens) for each in written)
        return {"n": sum(lose), "n_checked": n_checked}

    return CutTargets(**cached_metadata(model, f"cut targets {set_id}", count))


@dataclass(frozen=True)
class FittingGroups:
    """The texts of a set whose longer demonstrations are not cut at the end, as the numbers of each demonstration."""

    kept: tuple[tuple[int, ...], ...]
    read: tuple[tuple[int, ...], ...]
    """With the demonstrations that are skipped."""
    n_longer: int = 0
    """Number of longer demonstrations; 0 if their end is cut off."""


def fitting_groups(spec: SetSpec, texts: SourceTexts, load: Callable[[], "PreTrainedTokenizerBase"]) -> FittingGroups:
    """Return the texts of the demonstrations of a set. They are tokenised only if longer ones are not cut at the end.

    Args:
        load: loads the tokenizer, which takes seconds.

    Raises:
        CorpusError: there are too few texts, or a demonstration is too long and that is refused.
    """
    if spec.longer == "truncate_right":
        groups = tuple(texts.draw_groups(spec, samples=spec.samples))
        return FittingGroups(groups, groups)
    longer = calibration.LongerDemonstrations(spec.longer)
    set_columns(spec, texts, load(), samples=spec.samples, longer=longer)
    drawn = texts.draw_groups(spec, samples=None if spec.longer == "skip" else spec.samples)
    return FittingGroups(tuple(drawn[number] for number in longer.kept), tuple(drawn[: longer.n_read]), longer.n)


def fit_token_budget(spec: SetSpec, texts: SourceTexts, tokenizer: "PreTrainedTokenizerBase") -> SetSpec:
    """The set with the number of demonstrations that its token budget needs.

    A set without pairs has as many demonstrations as the set with pairs, and so the same sentences. It has more only if
    `max_tokens` truncates so much of them that they do not fill the budget.

    Raises:
        CorpusError: there are too few tokens; the message says how many there are.
    """
    samples = len(set_columns(replace(spec, paired=True), texts, tokenizer, samples=None)["text"])
    if spec.paired:
        return replace(spec, samples=samples)
    whole = replace(spec, token_budget=None)
    largest = len(texts.draw_groups(spec, samples=None))
    while samples < largest:
        token_ids = set_columns(whole, texts, tokenizer, samples=samples)["token_ids"]
        if sum(len(ids) for ids in token_ids) >= (spec.token_budget or 0):
            break
        samples += 1
    return replace(spec, samples=samples)


@dataclass(frozen=True)
class DemonstrateJob(SmallJob):
    """Write a demonstration set."""

    step: ClassVar[str] = "demonstrate"
    planned_cpu_s: ClassVar[float] = 0.3
    model: ModelRef
    corpus: CorpusConfig
    spec: SetSpec
    n_longer: int = field(default=0, compare=False)
    """Number of demonstrations that are longer than `max_tokens`, if it is counted; for people only."""
    cut: CutTargets = field(default=CutTargets(), compare=False)
    """Demonstrations without a target; for people only."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """No records: the texts are read from the corpus or from files."""
        return ()

    def source_texts(self, store: Store) -> SourceTexts:
        """Read the texts that the set can draw from; see `read_source_texts`."""
        return read_source_texts(self.spec, self.corpus)

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, JobCost]) -> Iterable[PlanLine]:
        """One line per set with demonstrations that are too long, then one per set with some without a target."""
        named = [
            (" ".join(filter(None, (one.spec.kind, "-".join(one.spec.languages)))), one) for one, _ in planned.pending
        ]
        for name, one in named:
            if one.n_longer:
                n_longer = counted(one.n_longer, "demonstration")
                yield PlanLine("texts", f"longer than max_tokens: {n_longer} of {name}: {one.spec.longer}")
        for name, one in named:
            if one.cut.n:
                limit = f"max_tokens {one.spec.max_tokens}"
                yield PlanLine("texts", f"cut before the target: {one.cut} of {name}: {limit}")

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Draw, write and tokenise the demonstrations."""
        tokenizer = load_tokenizer(Path(self.model.path))
        texts = self.source_texts(store)
        longer = calibration.LongerDemonstrations(self.spec.longer)
        columns = set_columns(self.spec, texts, tokenizer, samples=self.spec.samples, longer=longer)
        check_unknown_tokens(columns["token_ids"], tokenizer)
        _write_set(store, self.identity, cast("Columns", columns), self.spec, n_longer=longer.n)


@dataclass(frozen=True)
class MixJob(SmallJob):
    """Write a set that joins the first demonstrations of other sets."""

    step: ClassVar[str] = "demonstrate"
    parts: tuple[str, ...]
    taken: tuple[int, ...]
    """Number of demonstrations from each part."""
    spec: SetSpec

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The parts."""
        return tuple(("demonstration_sets", part) for part in self.parts)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Join the parts."""
        tables = [store.read_table(store.require("demonstration_sets", part).artefacts[0]) for part in self.parts]
        columns: dict[str, list[object]] = {
            name: [value for table, n in zip(tables, self.taken, strict=True) for value in table[name][:n]]
            for name in calibration.SCHEMA
        }
        columns["demonstration"] = list(range(sum(self.taken)))
        part_rows: list[dict[str, JsonValue]] = [
            {"demonstration_set_id": self.identity.id, "part_id": part, "share": n / sum(self.taken)}
            for part, n in zip(self.parts, self.taken, strict=True)
        ]
        _write_set(store, self.identity, columns, self.spec, part_rows=part_rows)


def _write_set(
    store: Store,
    identity: Identity,
    columns: Columns,
    spec: SetSpec,
    *,
    n_longer: int = 0,
    part_rows: Sequence[dict[str, JsonValue]] = (),
) -> None:
    """Write the artefact, then the record."""
    artefact = store.write_table(f"demonstrations/{identity.id}.parquet", columns, calibration.SCHEMA)
    row: dict[str, JsonValue] = {
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
        **({} if spec.draw == "hashed" else {"draw": spec.draw}),
        **({} if spec.paired else {"paired": False}),
        **({} if spec.longer == "truncate_right" else {"longer": spec.longer, "n_longer": n_longer}),
        **chat_columns(spec.chat),
    }
    rows: dict[str, list[dict[str, JsonValue]]] = {"demonstration_sets": [row]}
    if part_rows:
        rows["demonstration_set_parts"] = list(part_rows)
    store.write_record(identity.record(artefacts=(artefact,), rows=rows))


def set_sizes(jobs: Iterable[Job]) -> dict[str, SetSize]:
    """Upper bounds on the sizes of all demonstration sets that some jobs make, parts before the sets that mix them."""
    sizes: dict[str, SetSize] = {}
    max_tokens: dict[str, int] = {}
    for job in jobs:
        if isinstance(job, DemonstrateJob):
            max_tokens[job.identity.id] = job.spec.max_tokens
            n_tokens = job.spec.samples * job.spec.max_tokens
            if job.spec.token_budget is not None:
                n_tokens = min(n_tokens, int(PADDED * job.spec.token_budget))
            sizes[job.identity.id] = SetSize(n_tokens, job.spec.samples)
        elif isinstance(job, MixJob):
            max_tokens[job.identity.id] = job.spec.max_tokens
            n_tokens = sum(n * max_tokens[part] for n, part in zip(job.taken, job.parts, strict=True))
            sizes[job.identity.id] = SetSize(n_tokens, sum(job.taken))
    return sizes
