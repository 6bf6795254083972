"""mLAMA: a folder per language with the triples of each relation, `fr/P19.jsonl`, and `fr/templates.jsonl`.

The candidates of a triple are the different objects of its relation in its language, in the order of the SHA-256 of
their texts. They differ between languages, so ids contain the language and no rank consistency is computed. An item's
cluster is its subject, `sub_uri`, and its category the relation.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.evaluation.tasks.builtin.facts import MASK
from mlprune.evaluation.tasks.items import CATEGORY, CLUSTER, SKIPPED, Row, is_blank, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.json_values import JsonObject

logger = logging.getLogger(__name__)

SUBJECT, OBJECT = "[X]", "[Y]"
KEYS = {"lineid", "sub_label", "obj_label"}
"""Keys of a triple."""


def find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the templates of each language that have triples next to them."""
    for file in layout.files_named(tree, rf"{layout.LANGUAGE}/templates\.jsonl", splits={}):
        if {"relation", "template"} <= set(layout.first_object(tree.file(file.name))) and _relations(tree, file):
            yield file


def _relations(tree: layout.FileTree, file: layout.TaskFile) -> list[str]:
    """Return the names of the files of triples next to the templates."""
    folder = file.name.rpartition("/")[0]
    return [name for name in tree.names if name.rpartition("/")[0] == folder and name != file.name and ".jsonl" in name]


def read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the triples of a language, each as a row of the task `facts`."""
    templates = {str(row["relation"]): str(row["template"]) for row in read_json_lines(tree.file(file.name))}
    rows: list[Row] = []
    unusable = []
    for name in _relations(tree, file):
        relation = name.rpartition("/")[2].partition(".")[0]
        template = templates.get(relation, "")
        with_keys = [row for row in read_json_lines(tree.file(name)) if set(row) >= KEYS]
        triples = [row for row in with_keys if not (is_blank(row["sub_label"]) or is_blank(row["obj_label"]))]
        rows += [{SKIPPED: "a blank subject or object"}] * (len(with_keys) - len(triples))
        objects = {text_of(row, "obj_label").strip() for row in triples}
        if SUBJECT in template and OBJECT in template and len(objects) > 1:
            rows += _rows(triples, template, relation=f"{file.language}:{relation}", objects=objects)
        else:
            unusable.append(relation)
    if unusable:
        logger.warning("%s: relations without a template or two objects skipped: %s", file.name, ", ".join(unusable))
    return rows


def _rows(triples: Sequence[JsonObject], template: str, *, relation: str, objects: set[str]) -> Iterator[Row]:
    candidates = sorted(objects, key=lambda text: hashlib.sha256(text.encode()).digest())
    for triple in triples:
        prompt = template.replace(SUBJECT, text_of(triple, "sub_label").strip()).replace(OBJECT, MASK)
        answer = candidates.index(text_of(triple, "obj_label").strip())
        row = {"id": f"{relation}:{triple['lineid']}", "prompt": prompt, "candidates": candidates, "answer": answer}
        subject = triple.get("sub_uri") or triple["sub_label"]
        yield {**row, CLUSTER: subject, CATEGORY: relation.rpartition(":")[2]}
