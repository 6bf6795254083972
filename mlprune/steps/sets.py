"""Demonstration sets: their description, source texts, and the planned sets of a recipe.

Corpora, plain text, code and the items of evaluation tasks all become numbered texts here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlprune.corpus.chat import Chat, split_answer
from mlprune.corpus.demonstrations import (
    Demonstration,
    Side,
    build_demonstration,
    check_scope,
    draw_groups,
    drawing_order,
    scopes_of,
    unpaired_targets,
)
from mlprune.corpus.sources import ParallelCorpus, code_digest, code_files
from mlprune.corpus.templates import LABELLED, PLAIN, fill_template
from mlprune.corpus.text_files import read_documents
from mlprune.errors import CorpusError, RecipeError
from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task_files import CORPUS, ItemSelection, corpus_items, read_items, skipped_lines
from mlprune.hashing import digest
from mlprune.json_values import JsonValue
from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.recipe.models import CorpusConfig
from mlprune.steps.inputs import open_corpus
from mlprune.steps.job import Identity, Job
from mlprune.vocabulary import (
    DemonstrationKind,
    DrawName,
    LongerDemonstration,
    OrderName,
    ProfileName,
    TokenScope,
)

DEFAULT_TEMPLATES: Mapping[str, str] = {
    "translation": LABELLED,
    "monolingual": LABELLED,
    "text": PLAIN,
    "task": PLAIN,
    "generated": PLAIN,
    "code": "{text}",
}
"""Kind of set -> template of one side of a shot."""
READS_THE_CORPUS: tuple[DemonstrationKind, ...] = ("translation", "monolingual")
"""Kinds of set that draw sentences from the recipe's corpus."""
PlannedSets = Mapping[str, tuple["PlannedSet", ...]]
"""Name in the recipe -> its sets."""


@dataclass(frozen=True)
class SetSpec:
    """A demonstration set as plain values."""

    kind: DemonstrationKind
    source: str | None
    """Source language of a translation set, or the language of another set."""
    target: str | None
    shots: int | None
    samples: int
    """Number of demonstrations; with a token budget, as many as it needs."""
    max_tokens: int
    seed: int
    path: str = ""
    """Path of code, plain text or task files, or empty for the built-in facts. The id has the contents instead."""
    hub: HubSource | None = None
    """Hub data set with the items of the task, instead of a path."""
    left_out: tuple[int | str, ...] = ()
    """Corpus lines, or ids of items, that are not drawn because evaluations use them."""
    profile: ProfileName = "corrected"
    draw: DrawName = "hashed"
    """Whether texts are drawn in the order of their hashes, or as the published code draws them."""
    template: str | None = None
    """None for the default of the kind."""
    token_budget: int | None = None
    task: str | None = None
    split: str | None = None
    part_kinds: tuple[DemonstrationKind, ...] = ()
    """Kinds of demonstrations in a mixed set."""
    own: tuple[tuple[str, JsonValue], ...] = ()
    """Parameters that only sets of its kind have."""
    paired: bool = True
    """Whether the sides of a shot are translations of each other."""
    longer: LongerDemonstration = "truncate_right"
    """What happens to a demonstration of more than `max_tokens`."""
    chat: Chat | None = None
    """The chat that a demonstration becomes, if it does."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the set's sentences."""
        return tuple(language for language in (self.source, self.target) if language)

    @property
    def kinds(self) -> tuple[DemonstrationKind, ...]:
        """Kinds of demonstrations in the set."""
        return self.part_kinds or (self.kind,)

    @property
    def order(self) -> OrderName:
        """The order in which texts are drawn. The published code shuffles sentences of one language, and code."""
        if self.draw == "published":
            return "file" if self.kind == "translation" else "shuffled"
        return "file" if self.profile == "paper" else "hashed"

    @property
    def skipped(self) -> int:
        """Texts skipped after each demonstration: 1 where texts come in the order of the file, as published."""
        return 1 if self.order == "file" and self.kind != "code" else 0

    @property
    def stored_seed(self) -> int | None:
        """The seed, or None if it has no effect: texts come in the order of the file."""
        return None if self.order == "file" and self.kind != "mixed" else self.seed

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters in the id."""
        return {
            "kind": self.kind,
            "source": self.source,
            "target": self.target,
            "shots": self.shots,
            "samples": None if self.token_budget else self.samples,
            "max_tokens": self.max_tokens,
            "seed": self.stored_seed,
            "left_out": list(self.left_out),
            "profile": self.profile,
            "template": self.template,
            "token_budget": self.token_budget,
            "task": self.task,
            "split": self.split,
            **({} if self.draw == "hashed" else {"draw": self.draw}),
            **({} if self.paired else {"paired": False}),
            **({} if self.longer == "truncate_right" else {"longer": self.longer}),
            **dict(self.own),
            **({} if self.chat is None else {"chat": self.chat.parameters}),
        }


@dataclass(frozen=True)
class SourceTexts:
    """The texts that a set can draw from, numbered."""

    unit: str
    """What the texts are, in the plural."""
    keys: Mapping[int, int | str]
    """Number -> key that orders the texts and can be left out: the number, the id of an item, or the path of a file."""
    sides: tuple[Side, ...]
    contents: Callable[[Sequence[int]], Mapping[str, str]]
    """Numbers of drawn texts -> hashes of their contents, for the id."""
    skipped: tuple[str, ...] = ()
    """Lines for people about rows of task files that are skipped."""

    def draw_groups(self, spec: SetSpec, *, samples: int | None) -> list[tuple[int, ...]]:
        """The numbers of each demonstration's texts. `samples` None means as many demonstrations as the texts allow.

        Raises:
            CorpusError: there are too few texts.
        """
        order = drawing_order(self.keys, seed=spec.seed, left_out=set(spec.left_out), order=spec.order)
        return draw_groups(order, shots=spec.shots or 1, samples=samples, skipped=spec.skipped, unit=self.unit)

    def demonstrations(self, spec: SetSpec, *, samples: int | None, end: str) -> Iterator[Demonstration]:
        """Draw and write the demonstrations of a set, one at a time; see `draw_groups`.

        Raises:
            CorpusError: there are too few texts, or a set without pairs has one shot in total.
        """
        groups = self.draw_groups(spec, samples=samples)
        targets = [()] * len(groups) if spec.paired else unpaired_targets(groups)
        return (
            build_demonstration(spec.kind, self.sides, numbers=numbers, end=end, targets=target_numbers)
            for numbers, target_numbers in zip(groups, targets, strict=True)
        )


def read_source_texts(spec: SetSpec, corpus: CorpusConfig) -> SourceTexts:
    """Read and check the texts of a set of a kind whose texts are there.

    Raises:
        CorpusError: the texts are missing or unusable, or the template is wrong.
        TaskFileError: the items of a task set are missing or wrong.
    """
    if spec.kind == "code":
        return _code(spec)
    if spec.kind == "text":
        return numbered_texts(spec, read_documents(Path(spec.path)))
    if spec.kind == "task":
        return _task(spec)
    assert spec.kind in READS_THE_CORPUS, f"the texts of a set of kind {spec.kind} are not read"
    return _sentences(spec, open_corpus(corpus))


def _side(spec: SetSpec, texts: Mapping[int, str], *, language: str | None) -> Side:
    """One side of every shot. Filling the template once here finds a wrong one while planning."""
    template = spec.template or DEFAULT_TEMPLATES[spec.kind]
    fill_template(template, "", language=language, end="")
    return lambda number, end: fill_template(template, texts[number], language=language, end=end)


def _sides(
    spec: SetSpec, texts: Mapping[int, str], *, language: str | None, starts: Mapping[int, int] | None = None
) -> tuple[Side, ...]:
    """The sides of every shot that are made of one text: the text, or, in a chat without pairs, two turns.

    The user's turn is what the template has before the text, and the text up to the answer.

    Args:
        starts: number of a text -> index of the first character of the answer; 0 if left out.
    Raises:
        CorpusError: the template is wrong, or has nothing before an answer that begins its text.
    """
    if spec.chat is None or spec.kind == "translation":
        return (_side(spec, texts, language=language),)
    mark = "\0"
    filled = fill_template(spec.template or DEFAULT_TEMPLATES[spec.kind], mark, language=language, end="")
    before, _, after = filled.partition(mark)

    def turns(number: int) -> tuple[str, str]:
        written = before + texts[number] + after.replace(mark, texts[number])
        return split_answer(written, len(before) + (starts or {}).get(number, 0))

    for number in () if before.strip() else texts:
        if not turns(number)[0]:
            expected = "words before {text} in the template, or before the answer of an item"
            message = "the user's turn of a chat has no text"
            raise CorpusError(message, line=number + 1, expected=expected, got=texts[number][:80])
    return (lambda number, _: turns(number)[0], lambda number, _: turns(number)[1])


def _context_and_answer(
    spec: SetSpec, texts: Mapping[int, str], *, language: str | None, starts: Mapping[int, int]
) -> tuple[Side, Side]:
    """The two parts of every shot of a task: what is written before the answer, and the answer with what follows it.

    Args:
        starts: number of a text -> index of the first character of the answer; 0 if left out.
    """
    side, template, mark = _side(spec, texts, language=language), spec.template or DEFAULT_TEMPLATES[spec.kind], "\0"

    def start(number: int, end: str) -> int:
        before = fill_template(template, mark, language=language, end=end).partition(mark)[0]
        return len(before) + starts.get(number, 0)

    return (
        lambda number, end: side(number, end)[: start(number, end)],
        lambda number, end: side(number, end)[start(number, end) :],
    )


def _sentences(spec: SetSpec, corpus: ParallelCorpus) -> SourceTexts:
    """The lines of the corpus."""
    lines = {language: dict(enumerate(corpus.lines(language))) for language in spec.languages}
    sides = [side for language, texts in lines.items() for side in _sides(spec, texts, language=language)]
    n_lines = len(corpus.lines(spec.languages[0]))
    contents = {language: corpus.content(language) for language in spec.languages}
    return SourceTexts("sentences", {line: line for line in range(n_lines)}, tuple(sides), lambda _: contents)


def _code(spec: SetSpec) -> SourceTexts:
    """The Python files below a folder, in the order of their paths."""
    files = code_files(Path(spec.path))
    names = sorted(files)
    side = _side(spec, {number: files[name] for number, name in enumerate(names)}, language=None)

    def contents(numbers: Sequence[int]) -> Mapping[str, str]:
        return {"code": code_digest(files, [names[number] for number in numbers])}

    return SourceTexts("Python files", dict(enumerate(names)), (side,), contents)


def numbered_texts(
    spec: SetSpec, documents: Sequence[str], *, unit: str = "documents", prompt: str = ""
) -> SourceTexts:
    """Texts that are given, in order.

    Args:
        prompt: what is before each document, and is part of the user's turn of a chat.
    Raises:
        CorpusError: the template is wrong.
    """
    texts = {number: prompt + document for number, document in enumerate(documents)}
    sides = _sides(spec, texts, language=spec.source, starts=dict.fromkeys(texts, len(prompt)))

    def contents(numbers: Sequence[int]) -> Mapping[str, str]:
        return {"text": digest({str(number): documents[number] for number in numbers})}

    return SourceTexts(unit, {number: number for number in range(len(documents))}, sides, contents)


def _task(spec: SetSpec) -> SourceTexts:
    """The items of an evaluation task, each with its right answer in the template of the task."""
    items, content, skipped = task_items(spec)
    texts = {line: item.texts[item.gold] for line, item in items.items()}
    starts = {line: item.starts[item.gold] for line, item in items.items() if item.starts}
    parts = _context_and_answer if spec.chat is None else _sides
    sides = parts(spec, texts, language=spec.source, starts=starts)
    keys = {line: item.example_id for line, item in items.items()}
    return SourceTexts("items", keys, sides, lambda _: {"items": content}, tuple(skipped))


def task_items(spec: SetSpec) -> tuple[Mapping[int, ChoiceItem], str, list[str]]:
    """The items of a task set: line (from 0) of the file or of the built-in facts -> item, and the hash of the source.

    Also lines about the rows that are skipped.

    Raises:
        TaskFileError: the items are missing or wrong.
    """
    assert spec.task, "a task set has a task"
    assert spec.source, "a task set has a language"
    selection = ItemSelection(spec.source, spec.split or "")
    if spec.hub or spec.path:
        data = read_items(spec.task, spec.hub or Path(spec.path), selection)
    else:
        data = corpus_items(spec.task, {}, selection)
    items = cast("tuple[ChoiceItem, ...]", data.items)
    skipped = skipped_lines({spec.source: data})
    return {data.lines[item.example_id]: item for item in items}, data.content_sha256, skipped


def task_folder(path: str, resolved: Path) -> str:
    """The folder of a task set as `SetSpec.path` has it: empty for the facts of the built-in corpus."""
    return "" if path == CORPUS else str(resolved)


@dataclass(frozen=True)
class PlannedSet:
    """One demonstration set with its job."""

    name: str
    spec: SetSpec
    identity: Identity
    job: Job
    activations: ActivationsConfig | None = None
    """Which raw activations are stored, if any."""
    sample: tuple[str, ...] = ()
    """Some of its texts; empty for a mixed set, and if a job makes the texts."""
    jobs_before: tuple[Job, ...] = ()
    """Jobs that make its texts, if they are not there."""
    lines: tuple[int, ...] = ()
    """Lines of the recipe's corpus that were drawn; those of a mixed set are in its parts."""
    parts: tuple["PlannedSet", ...] = ()
    """Sets that a mixed set joins."""

    @property
    def id(self) -> str:
        """The set's id."""
        return self.identity.id

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of its sentences, or of its parts."""
        return tuple(dict.fromkeys((*self.spec.languages, *(name for part in self.parts for name in part.languages))))

    @property
    def drawn_lines(self) -> frozenset[int]:
        """Lines of the recipe's corpus that it or its parts have."""
        return frozenset((*self.lines, *(line for part in self.parts for line in part.drawn_lines)))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The job of the set, after those that make its texts."""
        return (*self.jobs_before, self.job)

    @property
    def label(self) -> str:
        """A short description: "fr-en", "fr", "code", "text fr", "xnli fr", with options that are not the default."""
        spec, languages = self.spec, "-".join(self.spec.languages)
        parts = (
            spec.task or ("" if languages and spec.kind in READS_THE_CORPUS else spec.kind),
            languages,
            "" if spec.paired else "unpaired",
            "drawn as published" if spec.draw == "published" else "",
            f"{spec.token_budget} tokens" if spec.token_budget else "",
            "own template" if spec.template else "",
            "" if spec.chat is None else "chat with system text" if spec.chat.system else "chat",
            f"seed {spec.seed}" if spec.seed else "",
            "" if spec.longer == "truncate_right" else f"longer: {spec.longer}",
        )
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class DemonstrationPlan:
    """All demonstration sets of a recipe."""

    by_profile: Mapping[ProfileName, PlannedSets]
    """Profile -> sets. Profile `paper` only has the sets that its variants read."""

    @property
    def default(self) -> PlannedSets:
        """The sets in the default profile."""
        return self.by_profile["corrected"]

    @property
    def distinct(self) -> list[PlannedSet]:
        """All sets, each once."""
        return [*{planned.id: planned for sets in self.by_profile.values() for planned in distinct_sets(sets)}.values()]


def distinct_sets(sets: PlannedSets, names: Iterable[str] | None = None) -> list[PlannedSet]:
    """Return the sets of one profile that have one of the names, or all of its sets, each once."""
    named = sets if names is None else names
    return list({planned.id: planned for name in named for planned in sets[name]}.values())


def check_token_scope(planned: PlannedSet, token_scope: TokenScope) -> None:
    """Refuse a token scope without meaning for a set.

    Raises:
        RecipeError: the set's kind, the kind of one of its parts, or its profile does not have the scope.
    """
    for kind in planned.spec.kinds:
        try:
            check_scope(kind, token_scope, profile=planned.spec.profile, known=scopes_of(kind))
        except CorpusError as err:
            raise RecipeError(err.message, {"demonstrations": planned.name, **err.context}) from err
