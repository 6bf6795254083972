"""Model card of an exported variant: its origin and its measurements, from the records of the store.

Equal records give equal text, without time, host or path.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import yaml

from mlprune.json_values import JsonObject, as_float, as_str
from mlprune.methods import AGGREGATIONS, REFINERS, SCHEDULES, SCORES, STRUCTURES, Method
from mlprune.methods.method import LAPE, PLUG_AND_PLAY
from mlprune.steps.variants.calibration_tokens import CalibrationTokens, calibration_tokens, token_line, token_rows
from mlprune.steps.variants.variant import ROLES_OF_PARENT
from mlprune.steps.variants.variant_rows import has_fewer_tokens, stored_masks
from mlprune.steps.variants.variant_text import value_words
from mlprune.store.records import Record
from mlprune.store.store import Store

Row = Mapping[str, Any]
Form = Literal["zeros", "smaller", "packed", "smaller_packed", "published"]
"""Content of the folder: dense weights with zeros, weights without the removed units, packed codes with zeros or
without the removed units, or masks without weights."""
_SET_COLUMNS = ("kind", "source_language", "target_language", "shots", "samples", "max_tokens", "n_tokens", "seed")
_FURTHER_SET_COLUMNS = (
    *("weight", "n_sentences", "profile", "template", "token_budget", "task", "paired", "draw"),
    *("chat_template_sha256", "chat_system"),
)
"""Columns that are shown if some set has a value."""
_STATISTICS_COLUMNS = (
    "statistics_id",
    "demonstration_set_id",
    "propagation",
    "token_scope",
    "n_demonstrations",
    "n_tokens",
)
_TOKEN_COLUMNS = ("role", "language", "n_tokens", "fewest_at_an_expert", "block", "expert", "read_by")
_PARENT_COLUMNS = ("role", "variant_id", "score", "structure", "propagation", "sparsity", "achieved_sparsity")
_CHOICES = (
    "score",
    "score_parameters",
    "refiner",
    "refiner_parameters",
    "seed",
    "structure",
    "removes",
    "schedule",
    "schedule_parameters",
    "scope",
    "profile",
    "propagation",
    "token_scope",
    "aggregation",
    "aggregation_parameters",
    "n_demonstrations",
    "resample_seed",
    "combination",
    "neurons",
    "reconstruction",
    "recovery",
    "quantisation",
    "bits",
    "quantisation_group",
    "sparsity",
    "achieved_sparsity",
    "mask_sha256",
)
"""Properties of a variant, in the order of the card. Older records lack newer properties."""
_METRIC_COLUMNS = ("task", "language", "split", "metric", "value", "ci_low", "ci_high", "n", "chance")
_TAG = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?")
"""A stored language tag: a code, with a script if it is not the default of the language."""
_CITED: Mapping[str, Mapping[str, Method]] = {
    "score": SCORES,
    "refiner": REFINERS,
    "structure": STRUCTURES,
    "schedule": SCHEDULES,
    "aggregation": AGGREGATIONS,
}
"""Column of a variant -> the registry of its values."""


def section(title: str, body: str) -> tuple[str, ...]:
    """A heading and its body; nothing if the body is empty."""
    return (f"## {title}\n", body.rstrip("\n") + "\n") if body else ()


def rows_table(columns: Sequence[str], rows: Sequence[JsonObject]) -> str:
    """Some columns of catalog rows."""
    names = [name.replace("_", " ") for name in columns]
    return table(names, [[row.get(name) for name in columns] for row in rows]) if rows else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines)


def cell(value: object) -> str:
    """A value as a table cell. None is an empty cell; pipes are escaped and line breaks become spaces."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", r"\|").split())


def with_ancestors(store: Store, records: Sequence[Record]) -> list[Record]:
    """Records and all records that they depend on, each once."""
    kinds = {record_id: kind for kind, record_id in store.record_names()}
    waiting, collected = list(records), dict[str, Record]()
    while waiting:
        record = waiting.pop(0)
        if record.id not in collected:
            collected[record.id] = record
            parents = [(role, parent) for role, parent in _parent_ids(store, record) if parent not in collected]
            waiting += [store.require(kinds.get(parent, role), parent) for role, parent in parents]
    return list(collected.values())


def _parent_ids(store: Store, record: Record) -> list[tuple[str, str]]:
    """(role, id) of what a record was made from; of a variant also its ordering or composition."""
    stored = stored_masks(store, record) if record.kind == "variants" else None
    source = (stored.composition or stored.record) if stored else None
    parents = {**record.parents, **({source.kind: source.id} if source else {})}
    return [
        (role, parent) for role, ids in sorted(parents.items()) for parent in ([ids] if isinstance(ids, str) else ids)
    ]


def lineage_table(store: Store, records: Sequence[Record]) -> str:
    """Records with the version of their step and their parents."""
    lines = [
        [record.kind, record.id, record.step_version, ", ".join(" ".join(pair) for pair in _parent_ids(store, record))]
        for record in records
    ]
    return table(("kind", "id", "step version", "made from"), lines)


def method(row: Row) -> str | None:
    """What made the masks: a score, a combination or a choice of neurons; None for the dense variant."""
    name: str | None = row.get("combination") or row["score"] or (row.get("neurons") and row["structure"])
    return name


def is_permuted(row: Row) -> bool:
    """Whether the inputs of layers were permuted before N:M."""
    return bool((row.get("score_parameters") or {}).get("permute"))


def title(variant: Record, base: Row) -> str:
    """The base model, and what was done to it in a few words."""
    row: Row = variant.rows["variants"][0]
    name = method(row)
    bits = f"{row['bits']} bits" if row.get("bits") else None
    structure = None if name == row["structure"] else row["structure"]
    tokens = "fewer tokens" if has_fewer_tokens(variant) else None
    words = (name or "dense", f"{row['sparsity']:g}" if name else None, structure, bits, tokens)
    return f"{cell(base['source'])}: " + " ".join(word for word in words if word)


def introduction(row: Row, base: Row, *, form: Form) -> str:
    """What was removed and rounded, and what stayed."""
    source, quantised = cell(base["source"]), _quantisation_text(row, form=form)
    if not method(row):
        return f"The dense model `{source}` with {'quantised' if quantised else 'its original'} weights.{quantised}\n"
    share = f"{row['achieved_sparsity']:.2%}"
    changed = (
        " The remaining weights of the pruned layers have new values. They were computed in the dtype of the run, and "
        "rounded to the dtype of the base model's files if that is narrower."
        if row["weights_changed"] and not quantised
        else quantised
    )
    permuted = (
        f" The mask is {row['structure']} only after a permutation of the inputs of each layer; it is not applied here."
        if is_permuted(row)
        else ""
    )
    changed += _bias_text(row) + _sublayer_text(row)
    if form in ("smaller", "smaller_packed"):
        return f"`{source}` without {share} of the weights in the linear layers of its blocks.{changed}\n"
    stored = "" if form in ("packed", "published") else " The weights are stored densely, with zeros."
    return (
        f"`{source}` with {share} of the weights in the linear layers of its blocks set to exactly 0."
        f"{changed}{permuted} All other tensors, the config and the tokenizer are those of the base model.{stored}\n"
    )


def _checkpoint_text(base: Row, checkpoints: Sequence[JsonObject]) -> str:
    """What a quantised checkpoint from elsewhere has codes of; empty for other variants."""
    for row in checkpoints:
        of_others = (f"the {part} ({cell(row[part])})" for part in ("embedding", "head") if row[part])
        parts = ", ".join((f"{as_float(row['layers_share']):.0%} of the layers of the blocks", *of_others))
        return (
            f"`{cell(base['source'])}` with the values of a quantised checkpoint from elsewhere, "
            f"`{cell(row['source'])}` ({cell(row['format'])}, {cell(row['kinds'])}). It has codes of {parts}; their "
            "values are stored densely. What text its quantiser read is unknown.\n"
        )
    return ""


def _bias_text(row: Row) -> str:
    """Which biases have new values, beginning with a space; empty for none."""
    if not row.get("biases_changed"):
        return ""
    if (row.get("reconstruction") or {}).get("biases"):
        return " The biases of the pruned layers were fitted together with the weights."
    if row.get("removed_sublayers"):
        return " The biases of the last layers of removed sub-layers are 0."
    return " The biases of the layers after removed units have new values, which contain their mean outputs."


def _sublayer_text(row: Row) -> str:
    """Which sub-layers were removed, beginning with a space; empty for none."""
    removed = row.get("removed_sublayers")
    if not removed:
        return ""
    names = ", ".join(f"`{name}`" for name in removed)
    return f" Whole sub-layers were removed, by block from 0: {names}. They add exactly 0 to the hidden states."


def _quantisation_text(row: Row, *, form: Form) -> str:
    """What happened to the weights of a quantised variant, beginning with a space; empty for other variants."""
    if not row.get("bits"):
        return ""
    is_compensated = (row.get("quantisation") or {}).get("method") == "gptq"
    levels = "a level, and the others changed to compensate (GPTQ)" if is_compensated else "the nearest level"
    size = row["quantisation_group"]
    content = (
        "packed codes"
        if form in ("packed", "smaller_packed")
        else "dequantised weights, and are as large as those of the base model"
    )
    return (
        f" All weights of the linear layers of its blocks were rounded to {levels}. There are {2 ** row['bits']} "
        f"levels for each {'row' if size is None else f'group of {size} consecutive inputs of a row'}. The "
        f"files contain {content}."
    )


def model_card(store: Store, variant: Record, *, form: Form = "zeros") -> str:
    """The README of an exported or published variant: YAML front matter, then Markdown.

    Raises:
        StoreError: the store lacks a record that the variant depends on.
        DamagedArtefactError: the file of a demonstration set is missing or damaged.
    """
    row = variant.rows["variants"][0]
    base = store.require("base_models", variant.parent("base_model")).rows["base_models"][0]
    sets = [_set_row(store, link) for link in variant.rows.get("variant_demonstrations", [])]
    evaluations = _evaluations(store, variant.id)
    metrics = [metric for record in evaluations for metric in record.rows.get("metrics", [])]
    lineage = with_ancestors(store, [variant, *evaluations])
    parts = (
        _front_matter(row, base, _languages(sets, metrics), form=form),
        f"# {title(variant, base)}\n",
        _checkpoint_text(base, variant.rows.get("quantised_checkpoints", [])) or introduction(row, base, form=form),
        *section("Properties", table(("property", "value"), list(_properties(row, base)))),
        *section("Removed weights by layer", _layers_table(variant.rows.get("variant_layers", []))),
        *section(
            "Parents" if any(role in variant.parents for role in ROLES_OF_PARENT) else "Combined variants",
            rows_table(_PARENT_COLUMNS, _parents(store, variant)),
        ),
        *section("Demonstrations of the score", rows_table(_set_columns(sets), sets)),
        *section("Calibration tokens", _tokens_text(calibration_tokens(store, variant))),
        *section("Activation statistics", rows_table(_STATISTICS_COLUMNS, _rows_of(lineage, "statistics"))),
        *section("Evaluations", rows_table(_METRIC_COLUMNS, metrics)),
        *section("Lineage", lineage_table(store, lineage)),
        *section("Method", _citations(_rows_of(lineage, "variants"))),
    )
    return "\n".join(parts)


def _tokens_text(tokens: CalibrationTokens) -> str:
    """The tokens by language that reached the layers and experts, in one line and a table."""
    rows = token_rows(tokens)
    columns = [name for name in _TOKEN_COLUMNS if any(row.get(name) is not None for row in rows)]
    shown = columns if len({row["read_by"] for row in rows}) > 1 else [name for name in columns if name != "read_by"]
    return "\n\n".join(filter(None, (token_line(tokens), rows_table(shown, rows))))


def _set_row(store: Store, link: Row) -> Row:
    """A demonstration set with its role, weight and number of sentences."""
    set_id = link["demonstration_set_id"]
    record = store.require("demonstration_sets", set_id)
    sentences = store.read_table(record.artefacts[0], columns=("sentence_ids",))["sentence_ids"]
    n_sentences = sum(len(ids) for ids in sentences)
    link_columns = {"role": link["role"], "id": set_id, "weight": link["weight"], "n_sentences": n_sentences or None}
    return {**link_columns, **record.rows["demonstration_sets"][0]}


def _set_columns(sets: Sequence[Row]) -> tuple[str, ...]:
    """The columns of demonstration sets: the fixed ones, and those in which some set has a value."""
    further = [name for name in _FURTHER_SET_COLUMNS if any(row.get(name) is not None for row in sets)]
    return ("role", "id", *_SET_COLUMNS, *further)


def _parents(store: Store, variant: Record) -> list[Row]:
    """The variants that a combination combines, in order, or the parents of a derived one."""
    links = variant.rows.get("variant_parents", [])
    parents = [store.require("variants", as_str(link["parent_variant_id"])).rows["variants"][0] for link in links]
    return [{**row, "role": link["role"]} for link, row in zip(links, parents, strict=True)]


def _evaluations(store: Store, variant_id: str) -> list[Record]:
    """The records of a variant's evaluations of profile corrected, ordered by task, split and language."""
    keyed = [
        (str([row[name] for name in ("task", "split", "language")]), record.id, record)
        for record in store.records("evaluations")
        for row in record.rows.get("evaluations", [])
        if row["variant_id"] == variant_id and row.get("profile", "corrected") == "corrected"
    ]
    return [record for *_, record in sorted(keyed, key=lambda entry: entry[:2])]


def _languages(sets: Sequence[Row], metrics: Sequence[Row]) -> list[str]:
    """Languages of the demonstrations and evaluations, sorted; a pair `fr-en` is two, `zh-Hant` is one."""
    shown = [row[side] for row in sets for side in ("source_language", "target_language") if row[side]]
    evaluated = [row["language"] for row in metrics]
    return sorted({tag for text in (*shown, *evaluated) for tag in _TAG.findall(text)})


def _front_matter(row: Row, base: Row, languages: list[str], *, form: Form) -> str:
    """Metadata for a model hub, with ids under the key `mlprune`. No library loads a published folder as it is."""
    names = ("variant_id", "base_model_id", *_CHOICES)
    value = {
        "base_model": base["source"],
        "library_name": [] if form == "published" else "transformers",
        "pipeline_tag": "text-generation",
        "language": languages,
        "tags": ["mlprune", *(["pruned"] if method(row) else []), *(["quantised"] if row.get("bits") else [])],
        "mlprune": {name: row[name] for name in names if name in row},
    }
    filled = {key: inner for key, inner in value.items() if inner != []}
    return f"---\n{yaml.safe_dump(filled, sort_keys=False, allow_unicode=True)}---\n"


def _properties(row: Row, base: Row) -> Iterator[Sequence[object]]:
    """The known properties of the variant and its base model."""
    yield "base model", base["source"]
    yield "family", base["family"]
    yield "blocks", base["n_blocks"]
    yield "prunable weights", base["n_prunable"]
    for name in _CHOICES:
        if row.get(name) is not None:
            yield name.replace("_", " "), value_words(row[name])
    for name, value in (row.get("intervention_parameters") or {}).items():
        yield name.replace("_", " "), value


def _layers_table(rows: Sequence[Row]) -> str:
    """The removed fraction, one row per block and one column per layer."""
    if not rows:
        return ""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    lines = []
    for block, group in groupby(rows, key=lambda row: row["block"]):
        shares = {row["layer"]: f"{row['n_removed'] / row['n_weights']:.4f}" for row in group}
        lines.append([block, *(shares.get(layer) for layer in layers)])
    return table(("block", *layers), lines)


def _rows_of(records: Sequence[Record], kind: str) -> list[Row]:
    """The rows of records of one kind in the table of the same name, ordered by id."""
    of_kind = sorted((record for record in records if record.kind == kind), key=lambda record: record.id)
    return [row for record in of_kind for row in record.rows.get(kind, [])]


def _citations(variants: Sequence[Row]) -> str:
    """Papers of the methods of a variant and of its combined variants, and of its permutation."""
    citations = [
        registry[str(row[column])].citation
        for row in variants
        for column, registry in _CITED.items()
        if str(row.get(column)) in registry
    ]
    citations += [PLUG_AND_PLAY for row in variants if is_permuted(row)]
    citations += [LAPE for row in variants if row.get("neurons")]
    return "\n\n".join(sorted({citation for citation in citations if citation}))
