"""Shots of translation: the sentence pairs in a prompt, none of which is evaluated."""

from itertools import islice
from typing import cast

from mlprune.corpus.sources import ParallelCorpus
from mlprune.evaluation.tasks.items import TranslationItem
from mlprune.hashing import digest, ordered_by_hash
from mlprune.steps.corpus_ref import open_corpus
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec

PUBLISHED_SHOT_LENGTH = 100
"""Characters that a source sentence must stay below to be a shot of profile `paper`."""


def shot_lines(spec: TaskSpec) -> tuple[int, ...]:
    """Return the corpus lines of a prompt's shots: the first in seeded order that are not evaluated.

    Profile `paper` takes them in the order of the file and skips long source sentences, as the published code does.
    """
    lines, evaluated = shot_text(spec).lines(spec.sides[0]), _evaluated_lines(spec)
    unused = (line for line in range(len(lines)) if line not in evaluated)
    if spec.profile == "paper":
        return tuple(islice((line for line in unused if len(lines[line]) < PUBLISHED_SHOT_LENGTH), spec.shots))
    return tuple(ordered_by_hash(spec.shot_seed, unused)[: spec.shots])


def _evaluated_lines(spec: TaskSpec) -> frozenset[int]:
    """Return the lines that are evaluated; if shots are from another text, its lines with an evaluated sentence."""
    items = cast("tuple[TranslationItem, ...]", task_data(spec).items)
    if spec.shot_corpus is None:
        return frozenset(int(item.example_id) for item in items)
    sources, references = {item.source for item in items}, {item.reference for item in items}
    pairs = zip(*(shot_text(spec).lines(side) for side in spec.sides), strict=True)
    return frozenset(line for line, (x, y) in enumerate(pairs) if x in sources or y in references)


def shot_text(spec: TaskSpec) -> ParallelCorpus:
    """Return the text that shots are taken from."""
    corpus = spec.shot_corpus or spec.corpus
    assert corpus is not None, "translation reads a corpus"
    return open_corpus(corpus)


def shot_contents(spec: TaskSpec) -> dict[str, str]:
    """Return the hash of another text that shots are taken from, for an id; nothing if there is none."""
    if spec.shot_corpus is None:
        return {}
    text = shot_text(spec)
    return {"shots": digest([text.content(side) for side in spec.sides])}
