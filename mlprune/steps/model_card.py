"""The model card of an exported variant: where it comes from and what was measured, as the store's records have it.

Equal records give equal text: there is no clock, host or path in it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import yaml

from mlprune.records import Record
from mlprune.storage import Store

Row = Mapping[str, Any]

_SET_COLUMNS = ("kind", "source_language", "target_language", "shots", "samples", "max_tokens", "n_tokens", "seed")
_METRIC_COLUMNS = ("task", "language", "split", "metric", "value", "ci_low", "ci_high", "n")
_TAG = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?")
"""A stored language tag: a code, with a script only where it is not the usual one."""
_CITATIONS = {
    "contrast": "H. Kim, J. Suzuki, T. Hirasawa, M. Komachi, *Pruning Multilingual Large Language Models for "
    "Multilingual Inference*, arXiv:2409.16911",
    "wanda": "M. Sun, Z. Liu, A. Bair, J. Z. Kolter, *A Simple and Effective Pruning Approach for Large Language "
    "Models*, arXiv:2306.11695",
}


def model_card(store: Store, variant: Record) -> str:
    """The README of an exported variant: YAML front matter, then Markdown.

    Raises:
        StoreError: the store lacks a record the variant was made from.
    """
    row = variant.rows["variants"][0]
    base = store.require("base_models", row["base_model_id"]).rows["base_models"][0]
    sets = [_set_row(store, one) for one in variant.rows.get("variant_demonstrations", [])]
    evaluations = _evaluations(store, variant.id)
    metrics = [metric for record in evaluations for metric in record.rows.get("metrics", [])]
    ordering = [store.require("masks", row["ordering_id"])] if row["ordering_id"] else []
    parts = (
        _front_matter(row, base, _languages(sets, metrics)),
        f"# {_title(row, base)}\n",
        _introduction(row, base),
        *_section("What it is", _table(("property", "value"), list(_properties(row, base)))),
        *_section("Removed weights by layer", _layers_table(variant.rows.get("variant_layers", []))),
        *_section("Demonstrations the score read", _rows_table(("role", "id", *_SET_COLUMNS), sets)),
        *_section("Evaluations", _rows_table(_METRIC_COLUMNS, metrics)),
        *_section("Lineage", _lineage_table(store, [variant, *ordering, *evaluations])),
        *_section("Method", _CITATIONS.get(row["score"], "")),
    )
    return "\n".join(parts)


def _set_row(store: Store, link: Row) -> Row:
    """A demonstration set with the role it had."""
    set_id = link["demonstration_set_id"]
    found = store.require("demonstration_sets", set_id).rows["demonstration_sets"][0]
    return {"role": link["role"], "id": set_id, **found}


def _evaluations(store: Store, variant_id: str) -> list[Record]:
    """The records of a variant's evaluations, in the order of what they evaluate."""
    found = [
        (str([row[name] for name in ("task", "split", "language")]), record.id, record)
        for record in store.records("evaluations")
        for row in record.rows.get("evaluations", [])
        if row["variant_id"] == variant_id
    ]
    return [record for *_, record in sorted(found, key=lambda one: one[:2])]


def _languages(sets: Sequence[Row], metrics: Sequence[Row]) -> list[str]:
    """Languages of the demonstrations and evaluations, sorted; a pair `fr-en` is two, `zh-Hant` is one."""
    shown = [row[side] for row in sets for side in ("source_language", "target_language") if row[side]]
    evaluated = [row["language"] for row in metrics]
    return sorted({tag for text in (*shown, *evaluated) for tag in _TAG.findall(text)})


def _front_matter(row: Row, base: Row, languages: list[str]) -> str:
    """What a model hub reads, and the ids under a key of our own."""
    names = ("variant_id", "base_model_id", "score", "structure", "propagation", "sparsity", "achieved_sparsity")
    value = {
        "base_model": base["source"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": languages,
        "tags": ["mlprune", *(["pruned"] if row["score"] else [])],
        "mlprune": {name: row[name] for name in names},
    }
    filled = {key: inner for key, inner in value.items() if inner != []}
    return f"---\n{yaml.safe_dump(filled, sort_keys=False, allow_unicode=True)}---\n"


def _title(row: Row, base: Row) -> str:
    words = (row["score"] or "dense", str(row["sparsity"]) if row["score"] else None, row["structure"])
    return f"{_cell(base['source'])}: " + " ".join(word for word in words if word)


def _introduction(row: Row, base: Row) -> str:
    source = _cell(base["source"])
    if not row["score"]:
        return f"The dense model `{source}`: its weights as they were published.\n"
    share = f"{row['achieved_sparsity']:.2%}"
    return (
        f"`{source}` with {share} of the weights in its blocks' linear maps set to exactly 0. All other tensors, the "
        "config and the tokenizer are the base model's. The weights are stored densely, zeros included.\n"
    )


def _properties(row: Row, base: Row) -> Iterator[Sequence[Any]]:
    """What is known of the variant and its base model, where it is known."""
    yield "base model", base["source"]
    yield "family", base["family"]
    yield "blocks", base["n_blocks"]
    yield "prunable weights", base["n_prunable"]
    for name in ("score", "seed", "structure", "propagation", "sparsity", "achieved_sparsity"):
        if row[name] is not None:
            yield name.replace("_", " "), row[name]


def _layers_table(rows: Sequence[Row]) -> str:
    """The removed fraction, one row a block and one column a layer."""
    if not rows:
        return ""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    lines = []
    for block, group in groupby(rows, key=lambda row: row["block"]):
        shares = {row["layer"]: f"{row['n_removed'] / row['n_weights']:.4f}" for row in group}
        lines.append([block, *(shares.get(layer) for layer in layers)])
    return _table(("block", *layers), lines)


def _lineage_table(store: Store, records: Sequence[Record]) -> str:
    """Records and everything they were made from, each once."""
    kinds = {record_id: kind for kind, record_id in store.record_names()}
    waiting, lines = list(records), {}
    while waiting:
        record = waiting.pop(0)
        if record.id in lines:
            continue
        parents = [(role, parent) for role, found in sorted(record.parents.items()) for parent in _ids(found)]
        lines[record.id] = [record.kind, record.id, ", ".join(f"{role} {parent}" for role, parent in parents)]
        waiting += [store.require(kinds.get(parent, role), parent) for role, parent in parents if parent not in lines]
    return _table(("kind", "id", "made from"), list(lines.values()))


def _ids(parents: Any) -> list[str]:
    return [parents] if isinstance(parents, str) else list(parents)


def _section(title: str, body: str) -> tuple[str, ...]:
    """A heading and what stands below it, or nothing where that is empty."""
    return (f"## {title}\n", body.rstrip("\n") + "\n") if body else ()


def _rows_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Some columns of catalog rows."""
    names = [name.replace("_", " ") for name in columns]
    return _table(names, [[row[name] for name in columns] for row in rows]) if rows else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: Any) -> str:
    """A value in a table; None is an empty cell, and no text ends the cell or the line."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", r"\|").split())
