"""A small, complete, artificial store: every table has rows, every foreign key has a row, every artefact exists.

The numbers are made up but not arbitrary: translation demonstrations beat monolingual ones outside English, random
pruning loses, and everything gets worse with the sparsity. Tests compute what they expect from the records themselves.
"""

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from mlprune.corpus.calibration import SCHEMA as DEMONSTRATIONS_SCHEMA
from mlprune.evaluation.scoring.predictions import CHOICE_SCHEMA
from mlprune.languages import resource_class_of
from mlprune.steps.questions.declaring_records import EarlierResults
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Artefact, Record, identity
from mlprune.store.store import Store
from mlprune.vocabulary import is_higher_better

LANGUAGES = ("en", "fr", "es", "sw")
PAIRS = ("fr-en", "es-en")
SPARSITIES = (0.1, 0.3, 0.5)
LAYERS = ("attention.q", "fc1")
N_BLOCKS = 2
N_ITEMS = 40
N_NEURONS = 40
N_EXPERTS = 6
DENSE_ACCURACY = {"en": 0.8, "fr": 0.6, "es": 0.55, "sw": 0.35}
STARTED = "2026-02-03T22:15:00"
ENVIRONMENT_ID = "e0e0e0e0e0e0e0e0e0e0"


@dataclass(frozen=True)
class Variant:
    """What the made-up numbers depend on."""

    id: str
    name: str
    score: str | None
    set_name: str | None
    sparsity: float
    propagation: str | None
    seed: int | None


def fill_store(store: Store, *, sparsities: Sequence[float] = SPARSITIES) -> None:
    """Write all records, artefacts and run files; the same files at every call."""
    base_id = _base_model(store)
    sets = _demonstration_sets(store)
    statistics = {name: _statistics(store, base_id, name=name, set_id=set_id) for name, set_id in sets.items()}
    variants = [
        _variant(store, base_id, plan=plan, sets=sets, statistics=statistics, sparsities=sparsities)
        for plan in _planned_variants(sparsities)
    ]
    metrics = {variant.id: _evaluations(store, variant) for variant in variants}
    _comparisons(store, variants, metrics=metrics)
    _choice(store, variants, metrics=metrics)
    for variant in variants:
        _rank_consistency(store, variant, dense=variants[0], metrics=metrics[variant.id])
    _seed_components(store, variants, metrics=metrics)
    _mask_overlaps(store, variants)
    _refined_layers(store, variants, sets=sets)
    _reconstructed_blocks(store, variants, sets=sets)
    _quantised_layers(store, variants, sets=sets)
    _layer_errors(store, variants, sets=sets)
    _feature_overlaps(store, base_id, sets=sets, statistics=statistics)
    for name in LANGUAGES:
        _neuron_activity(store, base_id, name=name, set_id=sets[name])
        _token_shares(store, name=name, set_id=sets[name])
        _block_influence(store, base_id, name=name, set_id=sets[name])
        _routing_entropy(store, base_id, name=name, set_id=sets[name])
    of_experts = [_expert_statistics(store, base_id, name=name, set_id=sets[name]) for name in LANGUAGES]
    _expert_overlap(store, base_id, sets=sets, statistics=of_experts[:2])
    _sensitivity(store, variants)
    questions = _answers(store, variants)
    search_id = _search(store, variants)
    _recipe(store, base_id, sets=sets, variants=variants, questions=questions, search_id=search_id)
    _run_files(store, variants)


def _unit(*key: Any) -> float:
    """A number in [0, 1) that depends on nothing but the key."""
    return int(hashlib.sha256(repr(key).encode()).hexdigest()[:8], 16) / 2**32


def write_rows(
    store: Store,
    kind: str,
    *,
    parameters: dict[str, Any],
    rows: dict[str, list[dict[str, Any]]],
    parents: dict[str, Any] | None = None,
    artefacts: Sequence[Artefact] = (),
    step_version: int | None = None,
) -> str:
    """Write a record whose rows may say `"@id"` for its own id.

    Args:
        step_version: the first one whose rows the catalog shows if it is left out.
    """
    step_version = step_version or RECORD_KINDS[kind].shown_since
    record_id = identity(kind, step_version=step_version, parameters=parameters, parents=parents)
    filled = {
        table: [{key: record_id if value == "@id" else value for key, value in row.items()} for row in table_rows]
        for table, table_rows in rows.items()
    }
    record = Record(kind, record_id, step_version, parameters, parents or {}, artefacts=tuple(artefacts), rows=filled)
    store.write_record(record)
    return record_id


def write_base_and_sets(store: Store, languages: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Write a base model and one monolingual demonstration set per language; return the ids, sets by language."""
    sets = {}
    for language in languages:
        row = {"demonstration_set_id": "@id", "kind": "monolingual", "source_language": language, "seed": 0}
        rows = {"demonstration_sets": [row]}
        sets[language] = write_rows(store, "demonstration_sets", parameters={"language": language}, rows=rows)
    model = {"base_model_id": "@id", "source": "tiny", "n_blocks": 2}
    return write_rows(store, "base_models", parameters={}, rows={"base_models": [model]}), sets


def _base_model(store: Store) -> str:
    row = {"base_model_id": "@id", "source": "tiny", "family": "xglm", "n_blocks": N_BLOCKS, "hidden_size": 8}
    rows = {"base_models": [{**row, "n_prunable": 4096}], "model_layers": _model_layers()}
    return write_rows(store, "base_models", parameters={"source": "tiny"}, rows=rows)


def _model_layers() -> list[dict[str, object]]:
    """Two pruned layers and a dense parameter in each block."""
    pruned = {"input": LAYERS[0], "n_out": 32, "n_in": 32, "n_weights": 1024, "is_pruned": True}
    dense = {"layer": "conv.weight", "n_weights": 64, "is_pruned": False, "reason": "no linear layer"}
    rows = [*({**pruned, "layer": layer} for layer in LAYERS), dense]
    return [{"base_model_id": "@id", "block": block, **row} for block in range(N_BLOCKS) for row in rows]


def _demonstration_sets(store: Store) -> dict[str, str]:
    """Set name -> id: two pairs, their and two other languages alone, code, and a mixture of the pairs."""
    sets = {}
    for pair in PAIRS:
        source, target = pair.split("-")
        sets[pair] = _demonstration_set(store, pair, kind="translation", languages=(source, target))
    for language in LANGUAGES:
        sets[language] = _demonstration_set(store, language, kind="monolingual", languages=(language, None))
    sets["py"] = _demonstration_set(store, "py", kind="code", languages=(None, None))
    parts = [sets[pair] for pair in PAIRS]
    sets["both"] = _demonstration_set(store, "both", kind="mixed", languages=(None, None), parts=parts)
    return sets


def _demonstration_set(
    store: Store, name: str, *, kind: str, languages: tuple[str | None, str | None], parts: Sequence[str] = ()
) -> str:
    parameters = {"name": name, "seed": 0}
    parents = {"parts": list(parts)}
    set_id = identity("demonstration_sets", step_version=1, parameters=parameters, parents=parents)
    columns = {"demonstration": [0, 1], "kind": [kind] * 2, "text": [name, name * 2]}
    columns |= {"token_ids": [[5, 7], [5, 7, 9]], "sentence_ids": [[], []] if kind == "code" else [[3, 1], [0, 2]]}
    schema = {one: DEMONSTRATIONS_SCHEMA[one] for one in columns}
    artefact = store.write_table(f"demonstrations/{set_id}.parquet", columns, schema)
    row = {"demonstration_set_id": "@id", "kind": kind, "source_language": languages[0]}
    row |= {"target_language": languages[1], "shots": 4, "samples": 2, "max_tokens": 64, "n_tokens": 100, "seed": 0}
    part_rows = [{"demonstration_set_id": "@id", "part_id": part, "share": 1 / len(parts)} for part in parts]
    rows = {"demonstration_sets": [row], "demonstration_set_parts": part_rows}
    return write_rows(
        store, "demonstration_sets", parameters=parameters, parents=parents, rows=rows, artefacts=[artefact]
    )


def _statistics(store: Store, base_id: str, *, name: str, set_id: str) -> str:
    parents = {"base_model": base_id, "demonstration_set": set_id}
    parameters = {"propagation": "dense"}
    statistics_id = identity("statistics", step_version=1, parameters=parameters, parents=parents)
    columns = {"block": [0, 0], "sum_sq": [[1.0, 2.0], [3.0, 4.0]]}
    path = f"statistics/{statistics_id}/block-000.part-0.parquet"
    artefact = store.write_table(path, columns, {"block": "int32", "sum_sq": "list<float>"})
    features = {"kind": ["translation"], "depth": [0], "magnitude": [1.5]}
    schema = {"kind": "string", "depth": "int32", "magnitude": "float"}
    artefacts = [artefact, store.write_table(f"features/{statistics_id}.parquet", features, schema)]
    keys = {"statistics_id": "@id", "base_model_id": base_id, "demonstration_set_id": set_id}
    magnitudes = [
        {**keys, "depth": depth, "rank": rank, "feature": int(8 * _unit(name, depth)) + rank, "magnitude": 10.0 / rank}
        for depth in range(N_BLOCKS + 1)
        for rank in range(1, 6)
    ]
    row = {**keys, "propagation": "dense", "n_demonstrations": 2, "n_tokens": 100}
    rows = {"statistics": [row], "feature_magnitudes": magnitudes}
    return write_rows(store, "statistics", parameters=parameters, parents=parents, rows=rows, artefacts=artefacts)


def _planned_variants(sparsities: Sequence[float]) -> list[Variant]:
    """Dense, wanda under both propagations, contrast, magnitude, and random with two seeds."""
    plans = [Variant("", "dense", None, None, 0.0, None, None)]
    for sparsity in sparsities:
        for set_name in (*PAIRS, "fr", "es"):
            for propagation in ("dense", "sequential"):
                name = f"{set_name} wanda {sparsity} row {propagation}"
                plans.append(Variant("", name, "wanda", set_name, sparsity, propagation, None))
        for pair in PAIRS:
            plans.append(
                Variant("", f"{pair} contrast {sparsity} row dense", "contrast", pair, sparsity, "dense", None)
            )
        plans.append(Variant("", f"magnitude {sparsity} row", "magnitude", None, sparsity, None, None))
        for seed in (0, 1):
            plans.append(Variant("", f"random {sparsity} row {seed}", "random", None, sparsity, None, seed))
    return plans


def _variant(
    store: Store,
    base_id: str,
    *,
    plan: Variant,
    sets: dict[str, str],
    statistics: dict[str, str],
    sparsities: Sequence[float],
) -> Variant:
    set_id = sets[plan.set_name] if plan.set_name else None
    contrast_id = sets["py"] if plan.score == "contrast" else None
    used = [statistics[name] for name in (plan.set_name, "py" if contrast_id else None) if name]
    roles = {"base_model": base_id, "demonstration_set": set_id, "contrast_set": contrast_id}
    parents = {role: parent for role, parent in roles.items() if parent}
    if plan.score:
        _ordering(store, base_id, plan=plan, statistics=used, parents=parents, sparsities=sparsities)
    row = {
        "variant_id": "@id",
        "base_model_id": base_id,
        "demonstration_set_id": set_id,
        "contrast_set_id": contrast_id,
    }
    row |= {"score": plan.score, "structure": "row" if plan.score else None, "propagation": plan.propagation}
    row |= {"sparsity": plan.sparsity, "achieved_sparsity": plan.sparsity, "weights_changed": False}
    row |= {"intervention": None, "seed": plan.seed}
    sources = {"demonstrations": set_id, "contrast": contrast_id}
    rows = {
        "variants": [row],
        "variant_layers": _layer_rows(plan),
        "variant_demonstrations": [
            {"variant_id": "@id", "demonstration_set_id": source, "role": role, "weight": 1.0}
            for role, source in sources.items()
            if source
        ],
        "variant_parents": [],
        "variant_experts": _expert_rows(plan) if plan.score == "magnitude" else [],
        "pruned_units": _unit_rows(plan) if plan.score == "magnitude" else [],
        "recovery_losses": _recovery_rows(plan, set_id),
    }
    parameters = _variant_parameters(plan, plan.sparsity)
    variant_id = write_rows(store, "variants", parameters=parameters, parents=parents, rows=rows)
    return Variant(variant_id, plan.name, plan.score, plan.set_name, plan.sparsity, plan.propagation, plan.seed)


def _variant_parameters(plan: Variant, sparsity: float) -> dict[str, Any]:
    return {"score": plan.score, "sparsity": sparsity, "propagation": plan.propagation, "seed": plan.seed}


def _layer_rows(plan: Variant) -> list[dict[str, Any]]:
    removed = int(plan.sparsity * 1000)
    keys = [{"variant_id": "@id", "block": block, "layer": layer} for block in range(N_BLOCKS) for layer in LAYERS]
    return [{**key, "n_weights": 1000, "n_removed": removed} for key in keys]


def _expert_rows(plan: Variant) -> list[dict[str, Any]]:
    """As if experts had been removed."""
    n_removed = int(plan.sparsity * N_EXPERTS)
    return [
        {"variant_id": "@id", "block": block, "n_experts": N_EXPERTS, "n_unused": 1, "n_removed": n_removed}
        | {"removed": list(range(n_removed))}
        for block in range(N_BLOCKS)
    ]


def _unit_rows(plan: Variant) -> list[dict[str, Any]]:
    """As if whole heads and neurons had been removed."""
    sizes = {"heads": 10, "neurons": 40}
    keys = [{"variant_id": "@id", "block": block, "kind": kind} for block in range(N_BLOCKS) for kind in sizes]
    return [{**key, "n_units": (n := sizes[str(key["kind"])]), "n_removed": int(plan.sparsity * n)} for key in keys]


def _ordering(
    store: Store,
    base_id: str,
    *,
    plan: Variant,
    statistics: list[str],
    parents: dict[str, str],
    sparsities: Sequence[float],
) -> None:
    """Write one ordering for all sparsities, or with sequential propagation one for each sparsity.

    Args:
        parents: of the variants that it contains.
        sparsities: of the variants that a dense ordering contains.
    """
    own = plan.sparsity if plan.propagation == "sequential" else None
    parameters = {"score": plan.score, "propagation": plan.propagation, "seed": plan.seed, "sparsity": own}
    ordering_parents = {"base_model": base_id, "statistics": statistics}
    ordering_id = identity("masks", step_version=1, parameters=parameters, parents=ordering_parents)
    levels = (own,) if own else sparsities
    variant_ids = [
        identity("variants", step_version=1, parameters=_variant_parameters(plan, sparsity), parents=parents)
        for sparsity in levels
    ]
    columns = {"layer": list(LAYERS), "levels": [b"\x01", b"\x02"]}
    path = f"masks/{ordering_id}/block-000.parquet"
    artefact = store.write_table(path, columns, {"layer": "string", "levels": "binary"})
    row = {"ordering_id": "@id", "base_model_id": base_id, "score": plan.score, "n_levels": len(levels)}
    rows = {
        "orderings": [{**row, "n_bytes": artefact.n_bytes}],
        "ordering_variants": [
            {"ordering_id": "@id", "variant_id": variant_id, "level": level}
            for level, variant_id in enumerate(variant_ids)
        ],
    }
    write_rows(store, "masks", parameters=parameters, parents=ordering_parents, rows=rows, artefacts=[artefact])


def _quality(variant: Variant, language: str) -> float:
    """How far the variant's accuracy lies from dense in one language, before noise."""
    if variant.score is None:
        return 0.0
    if variant.score == "random":
        return -0.6 * variant.sparsity
    bonus = 0.1 if variant.set_name in PAIRS and language != "en" else 0.0
    own = 0.05 if variant.set_name and variant.set_name.split("-")[0] == language else 0.0
    better_sweep = 0.025 if variant.propagation == "sequential" else 0.0
    return bonus + own + better_sweep - 0.25 * variant.sparsity


def _evaluations(store: Store, variant: Variant) -> list[dict[str, Any]]:
    """All metric rows of a variant."""
    rows = []
    for language in LANGUAGES:
        for split in ("dev", "test"):
            noise = 0.1 * (_unit(variant.name, language, split) - 0.5) if variant.score else 0.0
            accuracy = round(N_ITEMS * (DENSE_ACCURACY[language] + _quality(variant, language) + noise)) / N_ITEMS
            values = {"accuracy": accuracy, "ece": 1 - accuracy}
            rows += evaluation_of(store, variant.id, task="facts", language=language, split=split, values=values)
        perplexity = {"perplexity": 20 / DENSE_ACCURACY[language] * math.exp(-_quality(variant, language))}
        rows += evaluation_of(store, variant.id, task="perplexity", language=language, split="test", values=perplexity)
    for pair in PAIRS:
        chrf = 30 + 20 * _quality(variant, pair[:2])
        values = {"bleu": chrf / 3, "chrf": chrf, "exact_match": 0.0}
        rows += evaluation_of(store, variant.id, task="translation", language=pair, split="test", values=values)
    return rows


def evaluation_of(
    store: Store, variant_id: str, *, task: str, language: str, split: str, values: dict[str, float]
) -> list[dict[str, Any]]:
    """Write one evaluation of a variant with some metrics, and return the metric rows."""
    parameters = {"task": task, "language": language, "split": split, "scoring_rule": "mean"}
    parents = {"variant": variant_id}
    evaluation_id = identity("evaluations", step_version=1, parameters=parameters, parents=parents)
    columns = _choices(evaluation_id) if task == "facts" else {"example_id": ["0", "1"], "log_likelihood": [-1.0, -2.0]}
    schema = {name: CHOICE_SCHEMA[name] for name in columns}
    artefact = store.write_table(f"predictions/{evaluation_id}.parquet", columns, schema)
    keys = {
        "evaluation_id": evaluation_id,
        "variant_id": variant_id,
        "task": task,
        "language": language,
        "split": split,
    }
    evaluation = {**keys, "scoring_rule": "mean", "prompt_language": language[:2], "example_limit": None}
    evaluation |= default_protocol(task) | {"items_id": items_of(store, task, language, split)}
    metrics = [
        {**keys, "metric": metric, "value": value, "ci_low": value - 0.05, "ci_high": value + 0.05, "n": N_ITEMS}
        | {"higher_is_better": is_higher_better(metric)}
        for metric, value in values.items()
    ]
    rows = {"evaluations": [{**evaluation, "n_examples": N_ITEMS}], "metrics": metrics}
    write_rows(store, "evaluations", parameters=parameters, parents=parents, rows=rows, artefacts=[artefact])
    return metrics


def items_of(store: Store, task: str, language: str, split: str) -> str:
    """Write the items of an evaluation and how many were left out, and return their id."""
    keys = {"task": task, "language": language, "split": split}
    tasks = [{"items_id": "@id", **keys, "profile": "corrected", "prompts": "en", "n": N_ITEMS, "n_clusters": N_ITEMS}]
    items_id = write_rows(store, "task_items", parameters=keys, rows={"tasks": tasks})
    left_out = {"n_blank": 1, "n_equal_candidates": 0, "n_unusable": 0, "n_without_item": 0, "n_other_half": 3}
    flow = {"items_id": items_id, **keys, **left_out, "n_beyond_limit": 2, "n_items": N_ITEMS, "n_read": N_ITEMS + 6}
    write_rows(store, "item_flows", parameters={}, parents={"items": items_id}, rows={"item_flows": [flow]})
    return items_id


def default_protocol(task: str) -> dict[str, Any]:
    """Columns of a protocol with nothing but defaults."""
    return {"protocol_id": f"protocol of {task}", "prompts": "en", "limit_seed": 0}


def _choices(evaluation_id: str) -> dict[str, list[Any]]:
    """Predictions on examples of three candidates, the second of which is right; now and then two score the same."""
    drawn = [[int(4 * _unit(evaluation_id, example, one)) for one in range(3)] for example in range(N_ITEMS)]
    ranks = [1 + sum(other > score for other in scores) for scores in drawn for score in scores]
    return {
        "example_id": [str(example) for example in range(N_ITEMS) for _ in range(3)],
        "candidate_index": [0, 1, 2] * N_ITEMS,
        "candidate": ["a", "b", "c"] * N_ITEMS,
        "is_gold": [False, True, False] * N_ITEMS,
        "log_likelihood": [float(score) - 5 for scores in drawn for score in scores],
        "n_tokens": [1] * len(ranks),
        "candidate_log_likelihood": [float(score) - 5 for scores in drawn for score in scores],
        "candidate_n_tokens": [1] * len(ranks),
        "alone_log_likelihood": [None] * len(ranks),
        "rank": ranks,
        "cluster": [str(example // 2) for example in range(N_ITEMS) for _ in range(3)],
        "category": [("even", "odd")[example % 2] for example in range(N_ITEMS) for _ in range(3)],
    }


def _comparisons(store: Store, variants: list[Variant], *, metrics: dict[str, list[dict[str, Any]]]) -> None:
    """Every variant against dense; wanda on a pair also against its language alone and against random pruning."""
    dense = variants[0]
    for variant in variants[1:]:
        for task, split in (("facts", "dev"), ("facts", "test"), ("perplexity", "test"), ("translation", "test")):
            _comparison(store, metrics[variant.id], metrics[dense.id], task=task, split=split)
        for opponent in variants[1:] if variant.score == "wanda" and variant.set_name in PAIRS else ():
            if opponent.sparsity == variant.sparsity and _is_opponent(variant, opponent):
                _comparison(store, metrics[variant.id], metrics[opponent.id], task="facts", split="test")


def _is_opponent(variant: Variant, opponent: Variant) -> bool:
    alone = variant.set_name.split("-")[0] if variant.set_name else ""
    monolingual = opponent.score == "wanda" and opponent.set_name == alone
    return opponent.score == "random" or (monolingual and opponent.propagation == variant.propagation)


def _comparison(
    store: Store, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], *, task: str, split: str
) -> None:
    baselines = {(row["task"], row["split"], row["language"], row["metric"]): row for row in theirs}
    pairs = [
        (row, baselines[task, split, row["language"], row["metric"]])
        for row in ours
        if (row["task"], row["split"]) == (task, split)
    ]
    by_metric = {
        metric: [_compared(*pair) for pair in pairs if pair[0]["metric"] == metric]
        for metric in sorted({row["metric"] for row, _ in pairs})
    }
    rows = {"comparison_results": [row for of_metric in by_metric.values() for row in of_metric]}
    rows["aggregate_results"] = [
        _aggregate(
            [pair for pair in pairs if pair[0]["language"] in languages and pair[0]["metric"] == metric], kind, name
        )
        for metric in by_metric
        for kind, name, languages in _groups(sorted({row["language"] for row, _ in pairs} - {"en"}))
    ]
    rows["aggregate_results"] += [
        row for metric in by_metric for row in _gaps([pair for pair in pairs if pair[0]["metric"] == metric])
    ]
    parents = {
        "evaluations": sorted({row["evaluation_id"] for row, _ in pairs}),
        "baseline_evaluations": sorted({row["evaluation_id"] for _, row in pairs}),
    }
    rows["pooled_languages"] = [row for pairs_of in by_metric.values() for row in _pooled(pairs_of)]
    write_rows(store, "comparisons", parameters={"n_resamples": 1000}, parents=parents, rows=rows)


REACH = math.log(40) / (2 * N_ITEMS)
"""Difference with the p-value 0.05."""


def _p_value(difference: float) -> float:
    """A p-value that falls with the size of the difference."""
    return min(1.0, 2 * math.exp(-2 * N_ITEMS * abs(difference)))


def _compared(row: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    difference = row["value"] - baseline["value"]
    keys = {key: row[key] for key in ("variant_id", "evaluation_id", "task", "language", "split", "metric")}
    keys |= {"baseline_id": baseline["variant_id"], "baseline_evaluation_id": baseline["evaluation_id"]}
    scale, test = "difference", "tango"
    if row["metric"] == "perplexity":
        difference, scale, test = math.log(row["value"] / baseline["value"]), "log_ratio", "sign_flip"
    values = {"difference": difference, "scale": scale, "p_value": _p_value(difference), "test": test}
    values |= {"ci_low": difference - 0.04, "ci_high": difference + 0.04, "standard_error": 0.02, "n": N_ITEMS}
    conditions = {"scoring_rule": "mean", "example_limit": None, "protocol_id": f"protocol of {row['task']}"}
    return {"comparison_id": "@id", **keys, **values, **conditions}


def _pooled(compared: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model over the languages outside English."""
    foreign = [row for row in compared if row["language"] != "en"]
    if len(foreign) < 3:
        return []
    kept = ("comparison_id", "variant_id", "baseline_id", "evaluation_id", "baseline_evaluation_id", "task", "language")
    kept += ("split", "metric", "scale", "difference")
    mean = statistics.fmean(row["difference"] for row in foreign)
    model = {"n_languages": len(foreign), "error": 0.02, "mean": mean, "deviation": 0.01}
    model |= {"mean_ci_low": mean - 0.03, "mean_ci_high": mean + 0.03, "deviation_ci_low": 0.0}
    model |= {"new_language_ci_low": mean - 0.1, "new_language_ci_high": mean + 0.1, "deviation_ci_high": 0.1}
    shrunken = [(row["difference"] + mean) / 2 for row in foreign]
    return [
        {
            **{key: row[key] for key in kept},
            **model,
            "pooled": one,
            "pooled_ci_low": one - 0.03,
            "pooled_ci_high": one + 0.03,
        }
        for row, one in zip(foreign, shrunken, strict=True)
    ]


def _groups(languages: Sequence[str]) -> list[tuple[str, str, Sequence[str]]]:
    """Kind, name and languages of each group."""
    classes: dict[str, list[str]] = defaultdict(list)
    for language in languages:
        classes[str(resource_class_of(language[:2]))].append(language)
    of_class = [("resource_class", name, members) for name, members in sorted(classes.items())]
    return [("outside_english", "", languages), ("worst", "", languages), ("script", "Latn", languages), *of_class]


def _aggregate(pairs: list[tuple[dict[str, Any], dict[str, Any]]], kind: str, name: str) -> dict[str, Any]:
    """The mean, or the lowest, of the values and differences of some languages."""
    rows = [_compared(*pair) for pair in pairs]
    is_ratio = rows[0]["scale"] == "log_ratio"
    pooled = min if kind == "worst" else statistics.geometric_mean if is_ratio else statistics.fmean
    value, baseline_value = (pooled([pair[side]["value"] for pair in pairs]) for side in (0, 1))
    difference = math.log(value / baseline_value) if is_ratio else value - baseline_value
    kept = ("comparison_id", "variant_id", "baseline_id", "task", "split", "metric", "scoring_rule", "protocol_id")
    languages = sorted(row["language"] for row in rows)
    group = {"group_kind": kind, "group_name": name, "languages": " ".join(languages), "n_languages": len(languages)}
    values = {"difference": difference, "scale": rows[0]["scale"], "p_value": _p_value(difference), "n_items": N_ITEMS}
    values["test"] = "sign_flip"
    values |= {"ci_low": difference - REACH, "ci_high": difference + REACH, "profile": "corrected"}
    values |= {"value": value, "baseline_value": baseline_value}
    return {**{key: rows[0][key] for key in kept}, **group, **values}


def _choice(store: Store, variants: list[Variant], *, metrics: dict[str, list[dict[str, Any]]]) -> None:
    """The choice on dev of facts among dense and all pruned variants, by each criterion."""
    candidates = [variants[0], *sorted(variants[1:], key=lambda variant: (variant.sparsity, variant.id))]
    table = {
        (variant.id, row["language"], row["split"]): row
        for variant in variants
        for row in metrics[variant.id]
        if (row["task"], row["metric"]) == ("facts", "accuracy")
    }
    criteria: list[tuple[str, str, tuple[str, ...]]] = [("language", name, (name,)) for name in LANGUAGES]
    criteria += [("outside_english", "", LANGUAGES[1:]), ("worst", "", LANGUAGES)]
    keys = {"choice_id": "@id", "baseline_id": variants[0].id, "task": "facts", "metric": "accuracy"}
    keys |= {"scoring_rule": "mean", "protocol_id": "protocol of facts", "dev_limit": None, "example_limit": None}
    rows = [
        {**keys, **row}
        for kind, name, languages in criteria
        for row in _criterion(candidates, table, kind=kind, name=name, languages=languages)
    ]
    pareto = [{**keys, **row} for row in _pareto(candidates, table)]
    parents = {
        f"{split}_evaluations": sorted(row["evaluation_id"] for key, row in table.items() if key[2] == split)
        for split in ("dev", "test")
    }
    tables = {"choices": rows, "pareto_chances": pareto}
    write_rows(store, "choices", parameters={"metric": "accuracy"}, parents=parents, rows=tables)


Accuracies = dict[tuple[str, str, str], dict[str, Any]]
"""(variant, language, split) -> metric row."""


def _mean(table: Accuracies, variant: Variant, languages: Sequence[str], *, split: str, kind: str = "") -> float:
    values = [float(table[variant.id, language, split]["value"]) for language in languages]
    return min(values) if kind == "worst" else sum(values) / len(values)


def _criterion(
    candidates: list[Variant], table: Accuracies, *, kind: str, name: str, languages: Sequence[str]
) -> list[dict[str, Any]]:
    dev, test = (
        [_mean(table, variant, languages, split=split, kind=kind) for variant in candidates]
        for split in ("dev", "test")
    )
    best = max(round(value, 9) for value in dev)
    chosen = next(index for index, value in enumerate(dev) if round(value, 9) == best)
    rows: list[dict[str, Any]] = []
    for index, variant in enumerate(candidates):
        row: dict[str, Any] = {"variant_id": variant.id, "group_kind": kind, "group_name": name}
        row |= {"languages": " ".join(sorted(languages)), "n_languages": len(languages)}
        row |= {"n_candidates": len(candidates), "dev_value": dev[index], "dev_difference": dev[index] - dev[0]}
        row |= {"n_tied": sum(round(value, 9) == best for value in dev), "is_chosen": index == chosen}
        row |= {"win_share": 0.61 if index == chosen else 0.39 / (len(candidates) - 1)}
        row |= {"test_value": test[index], "test_dense_value": test[0], "scale": "difference"}
        if index == chosen:
            difference = test[index] - test[0]
            row |= {"difference": difference, "optimism": dev[index] - dev[0] - difference}
            if index:
                row |= {"ci_low": difference - 0.04, "ci_high": difference + 0.04, "p_value": _p_value(difference)}
        if kind == "language":
            row |= {
                f"{split}_evaluation_id": table[variant.id, name, split]["evaluation_id"] for split in ("dev", "test")
            }
        rows.append({**row, "n_items": N_ITEMS, "dev_n_items": N_ITEMS, "n_shared_items": 0, "shared_clusters": 0.25})
    return rows


def _pareto(candidates: list[Variant], table: Accuracies) -> list[dict[str, Any]]:
    points = {
        split: [
            (_mean(table, variant, ("en",), split=split), round(_mean(table, variant, LANGUAGES[1:], split=split), 9))
            for variant in candidates
        ]
        for split in ("dev", "test")
    }
    rows = []
    for index, variant in enumerate(candidates):
        row: dict[str, Any] = {"variant_id": variant.id, "languages": " ".join(sorted(LANGUAGES)), "n_others": 3}
        row |= {"n_candidates": len(candidates), "probability": _unit("front", variant.name)}
        for split, of_split in points.items():
            point, dense = of_split[index], of_split[0]
            beaten = any(a >= point[0] and b >= point[1] and (a, b) != point for a, b in of_split)
            row |= {f"{split}_english_value": point[0], f"{split}_others_value": point[1]}
            row |= {
                f"on_front_{split}": not beaten,
                f"keeps_both_{split}": point[0] >= dense[0] and point[1] >= dense[1],
            }
        rows.append({**row, "keeps_both_probability": _unit("both", variant.name)})
    return rows


Pair = tuple[dict[str, Any], dict[str, Any]]
"""Metric row of a variant, and of its baseline."""


def _gaps(pairs: list[Pair]) -> list[dict[str, Any]]:
    """The differences of each language and of their mean, minus that of English, for one metric."""
    english = [pair for pair in pairs if pair[0]["language"] == "en"]
    others = [pair for pair in pairs if pair[0]["language"] != "en"] if english else []
    gaps = []
    for name, members in {"": others, **{pair[0]["language"]: [pair] for pair in others}}.items() if others else ():
        value, baseline_value = (
            statistics.fmean(pair[side]["value"] for pair in members) - english[0][side]["value"] for side in (0, 1)
        )
        difference = value - baseline_value
        numbers = {"value": value, "baseline_value": baseline_value, "difference": difference, "scale": "difference"}
        numbers |= {"ci_low": difference - REACH, "ci_high": difference + REACH, "p_value": _p_value(difference)}
        gaps.append(_aggregate([*members, *english], "gap", name) | numbers)
    return gaps


def _rank_consistency(store: Store, variant: Variant, *, dense: Variant, metrics: list[dict[str, Any]]) -> None:
    evaluation = {(row["language"], row["split"]): row["evaluation_id"] for row in metrics if row["task"] == "facts"}
    rows = []
    for split in ("dev", "test"):
        for pair in [("es", "en"), ("es", "fr"), ("es", "sw"), ("fr", "en"), ("fr", "sw"), ("sw", "en")]:
            value, dense_value = (0.5 + 0.3 * _unit(name, *pair, split) for name in (variant.name, dense.name))
            keys = {"variant_id": variant.id, "task": "facts", "protocol_id": "protocol of facts", "split": split}
            keys |= dict(zip(("language", "reference_language"), pair, strict=True))
            ids = (evaluation[language, split] for language in pair)
            keys |= dict(zip(("evaluation_id", "reference_evaluation_id"), ids, strict=True))
            numbers = {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "chance": 0.3}
            numbers |= {"corrected": (value - 0.3) / 0.7, "expected": 0.4, "above_expected": value - 0.4}
            row = {**keys, "n_items": N_ITEMS, "n_skipped": 1, "n_clusters": N_ITEMS, **numbers}
            if variant.score:
                row |= {"baseline_id": dense.id, "difference": value - dense_value}
                row |= {"p_value": _unit("p", variant.name, *pair, split)}
            rows.append(row)
    parents = {"evaluations": sorted({row["evaluation_id"] for row in metrics if row["task"] == "facts"})}
    write_rows(
        store, "rank_consistency", parameters={"task": "facts"}, parents=parents, rows={"rank_consistency": rows}
    )


def _seed_components(store: Store, variants: list[Variant], *, metrics: dict[str, list[dict[str, Any]]]) -> None:
    """Both seeds of random pruning at each sparsity."""
    by_sparsity: dict[float, list[Variant]] = defaultdict(list)
    for variant in variants:
        if variant.seed is not None:
            by_sparsity[variant.sparsity].append(variant)
    for sparsity, seeds in by_sparsity.items():
        rows = [_seed_row([variants[0], *seeds], language=language, metrics=metrics) for language in LANGUAGES]
        write_rows(store, "seed_components", parameters={"sparsity": sparsity}, rows={"seed_components": rows})


def _seed_row(variants: list[Variant], *, language: str, metrics: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Row of one language for dense and the seeds after it."""
    keys = {"task": "facts", "split": "test", "metric": "accuracy"}
    wanted = {**keys, "language": language}
    dense, *values = (
        next(row["value"] for row in metrics[variant.id] if wanted.items() <= row.items()) for variant in variants
    )
    differences = [value - dense for value in values]
    mean, ids = statistics.fmean(differences), [variant.id for variant in variants[1:]]
    numbers = {"difference": mean, "ci_low": mean - 0.1, "ci_high": mean + 0.1, "interval": "t", "scale": "difference"}
    sizes = {"n_languages": 1, "n_seeds": len(ids), "n_items": N_ITEMS, "n_clusters": N_ITEMS}
    group = {"group_kind": "language", "group_name": language, "languages": language, "seed_of": "score"}
    seeds = {"variant_id": ids[0], "variant_ids": ids, "seeds": [variant.seed for variant in variants[1:]]}
    row = {"seed_components_id": "@id", "baseline_id": variants[0].id, "protocol_id": "protocol of facts"}
    row |= {"scoring_rule": "mean", "profile": "corrected"}
    return {**row, **keys, **group, **sizes, **seeds, **numbers, "sd_seed": statistics.stdev(differences)}


def _mask_overlaps(store: Store, variants: list[Variant]) -> None:
    for first in variants:
        for second in variants:
            if first.id < second.id and _can_overlap(first, second):
                keys = {"variant_a": first.id, "variant_b": second.id}
                rows = [
                    {**keys, "block": block, "layer": layer, "jaccard": _unit(first.name, second.name, block, layer)}
                    for block in range(N_BLOCKS)
                    for layer in LAYERS
                ]
                parents = {"variants": [first.id, second.id]}
                write_rows(store, "mask_overlaps", parameters={}, parents=parents, rows={"mask_overlaps": rows})


def _refined_layers(store: Store, variants: list[Variant], *, sets: dict[str, str]) -> None:
    """As if the masks of sequential wanda had been refined, which helps the language of the set more than Swahili."""
    for variant in variants:
        if variant.propagation == "sequential" and variant.set_name in ("fr", "es"):
            for block in range(N_BLOCKS):
                keys = {"variant_id": variant.id, "block": block, "n_swaps": 20, "n_rows_changed": 8}
                rows = [
                    {**keys, "layer": layer, "demonstration_set_id": sets[name], "error_before": before}
                    | {"error_after": before * (0.5 if name == variant.set_name else 1.1)}
                    for layer in LAYERS
                    for name in (variant.set_name, "sw")
                    for before in [0.01 + 0.1 * _unit(variant.name, layer, name, block)]
                ]
                parameters = {"variant": variant.name, "block": block}
                write_rows(store, "mask_blocks", parameters=parameters, rows={"refined_layers": rows})


def _reconstructed_blocks(store: Store, variants: list[Variant], *, sets: dict[str, str]) -> None:
    """As if the blocks of sequential wanda had been reconstructed, which helps the later blocks less."""
    for variant in variants:
        if variant.propagation == "sequential" and variant.set_name == "fr":
            for block in range(N_BLOCKS):
                before = 0.01 + 0.1 * _unit(variant.name, "block", block)
                row = {"variant_id": variant.id, "block": block, "demonstration_set_id": sets["fr"], "n_steps": 100}
                row |= {"loss_before": before, "loss_after": before * (0.25 + 0.25 * block)}
                parameters = {"reconstructed": variant.name, "block": block}
                write_rows(store, "mask_blocks", parameters=parameters, rows={"reconstructed_blocks": [row]})


def _recovery_rows(plan: Variant, set_id: str | None) -> list[dict[str, Any]]:
    """As if sequential wanda of French had been recovered in two steps, of which the first is the better one."""
    if (plan.score, plan.propagation, plan.set_name) != ("wanda", "sequential", "fr"):
        return []
    return [
        {"variant_id": "@id", "step": step, "demonstration_set_id": set_id, "is_held_out": is_held_out}
        | {"n_positions": 100, "divergence": divergence, "cross_entropy": 3.0, "is_stored": is_held_out and step == 1}
        for is_held_out in (True, False)
        for step, divergence in enumerate((0.5, 0.25, 0.375))
        if is_held_out or step
    ]


def _quantised_layers(store: Store, variants: list[Variant], *, sets: dict[str, str]) -> None:
    """As if the weights of sequential wanda had been rounded by GPTQ on two sets."""
    for variant in variants:
        if variant.propagation == "sequential" and variant.set_name == "fr":
            for block in range(N_BLOCKS):
                keys: dict[str, Any] = {"variant_id": variant.id, "block": block, "layer": LAYERS[0]}
                codes = {
                    "method": "gptq",
                    "bits": 4,
                    "quantisation_group": 64,
                    "is_symmetric": True,
                    "is_reached": True,
                }
                layer = {
                    **keys,
                    **codes,
                    "is_reached": True,
                    "n_weights": 4096,
                    "n_bytes": 2304,
                    "n_dead_features": 0,
                    "n_dampings": 0,
                }
                errors = [
                    {**keys, "demonstration_set_id": sets[name], "error": 0.02 + unquantised}
                    | {"unquantised_error": unquantised}
                    for name in ("fr", "sw")
                    for unquantised in [0.1 * _unit(variant.name, "codes", name, block)]
                ]
                rows = {"quantised_layers": [layer], "quantisation_errors": errors}
                write_rows(store, "mask_blocks", parameters={"codes": variant.name, "block": block}, rows=rows)


def _layer_errors(store: Store, variants: list[Variant], *, sets: dict[str, str]) -> None:
    """Errors of the sparsest variants on two sets."""
    matrices = {
        name: write_rows(store, "gram_matrices", parameters={}, parents={"demonstration_set": sets[name]}, rows={})
        for name in ("fr", "sw")
    }
    for variant in variants:
        for name in matrices if variant.sparsity == max(SPARSITIES) else ():
            keys = {"variant_id": variant.id, "demonstration_set_id": sets[name], "n_weights": 64}
            rows = [
                {
                    **keys,
                    "block": block,
                    "layer": layer,
                    "error": 0.4 * _unit("error", variant.name, name, block, layer),
                }
                for block in range(N_BLOCKS)
                for layer in LAYERS
            ]
            parents = {"variant": variant.id, "demonstration_set": sets[name], "gram_matrices": matrices[name]}
            write_rows(store, "layer_errors", parameters={}, parents=parents, rows={"layer_errors": rows})


def _can_overlap(first: Variant, second: Variant) -> bool:
    mine, other = ((v.score, v.sparsity, v.propagation) for v in (first, second))
    return mine == other and first.score in ("wanda", "contrast")


def _feature_overlaps(store: Store, base_id: str, *, sets: dict[str, str], statistics: dict[str, str]) -> None:
    names = sorted((*PAIRS, *LANGUAGES), key=lambda name: sets[name])
    for pair, share in product(combinations(names, 2), (0.1, 0.3)):
        rows = [
            {"base_model_id": base_id, "set_a": sets[a], "set_b": sets[b], "depth": depth, "share": share}
            | {"value": 0.5 * share * _unit(a, b, depth)}
            for a, b in (pair, pair[::-1])
            for depth in range(N_BLOCKS + 1)
        ]
        parents = {"statistics": [statistics[name] for name in pair]}
        rows_of = {"feature_overlaps": rows}
        write_rows(store, "feature_overlaps", parameters={"share": share}, parents=parents, rows=rows_of)


def _neuron_activity(store: Store, base_id: str, *, name: str, set_id: str) -> None:
    """Counts in which each of the first neurons of a block belongs to one language, the others to all or none."""
    own = LANGUAGES.index(name)
    rows = [
        {"neuron_activity_id": "@id", "base_model_id": base_id, "demonstration_set_id": set_id, "block": block}
        | {"n_tokens": 100, "n_active": [_fired(name, block, neuron, own=neuron == own) for neuron in range(N_NEURONS)]}
        for block in range(N_BLOCKS)
    ]
    parents = {"base_model": base_id, "demonstration_set": set_id}
    write_rows(store, "neuron_activity", parameters={}, parents=parents, rows={"neuron_activity": rows})


def _token_shares(store: Store, *, name: str, set_id: str) -> None:
    row = {"token_shares_id": "@id", "demonstration_set_id": set_id, "side": "source", "language": name}
    counts = {"n_tokens": 2000, "n_distinct": 300 + LANGUAGES.index(name), "distinct_of_1000": 250.5}
    write_rows(
        store,
        "token_shares",
        parameters={},
        parents={"demonstration_set": set_id},
        rows={"token_shares": [row | counts]},
    )


def _fired(name: str, block: int, neuron: int, *, own: bool) -> int:
    chance = _unit("neuron", block, neuron, name if neuron % 2 else "")
    return int(60 + 40 * chance) if own else int((5 if neuron < len(LANGUAGES) else 55) * chance)


def _expert_statistics(store: Store, base_id: str, *, name: str, set_id: str) -> str:
    """As if the model had experts, of which one belongs to each language and the last one is unused."""
    rows = [
        {"expert_statistics_id": "@id", "base_model_id": base_id, "demonstration_set_id": set_id, "block": block}
        | {"expert": expert, "role": "source", "language": name, "n_tokens": 100, "n_routed": n_routed}
        | {"gate_sum": 0.5 * n_routed, "norm_sum": 2.0 * n_routed, "square_norm_sum": 4.0 * n_routed}
        | {"gate_norm_sum": 1.0 * n_routed, "gate_square_norm_sum": 2.0 * n_routed}
        for block in range(N_BLOCKS)
        for expert in range(N_EXPERTS)
        for n_routed in [_routed(name, block, expert)]
    ]
    parents = {"base_model": base_id, "demonstration_set": set_id}
    return write_rows(store, "expert_statistics", parameters={}, parents=parents, rows={"expert_statistics": rows})


def _routed(name: str, block: int, expert: int) -> int:
    if expert == N_EXPERTS - 1:
        return 0
    if expert < len(LANGUAGES):
        return 60 if LANGUAGES[expert] == name else 0
    return int(10 + 30 * _unit("expert", block, expert, name))


def _expert_overlap(store: Store, base_id: str, *, sets: dict[str, str], statistics: list[str]) -> None:
    first, second = LANGUAGES[:2]
    parents = {"expert_statistics": statistics if sets[first] < sets[second] else statistics[::-1]}
    rows = [
        {"base_model_id": base_id, "set_a": sets[first], "set_b": sets[second], "block": block, "share": 0.3}
        | {"n_top": 2, "jaccard": 1 / 3, "by_chance": 0.2, "weighted": 0.5, "p_value": 0.001}
        for block in range(N_BLOCKS)
    ]
    rows_of = {"expert_overlaps": rows}
    write_rows(store, "expert_overlaps", parameters={"share": 0.3}, parents=parents, rows=rows_of)


def _routing_entropy(store: Store, base_id: str, *, name: str, set_id: str) -> None:
    """As if the model had experts that languages use less evenly in the last block."""
    rows = [
        {"routing_entropy_id": "@id", "base_model_id": base_id, "demonstration_set_id": set_id, "block": block}
        | {"role": "source", "language": name, "n_experts": N_EXPERTS, "scoring": "softmax"}
        | {"n_demonstrations": 3, "n_tokens": 100}
        | {
            column: entropy
            for measure in ("entropy_of_mean", "mean_entropy", "entropy_of_use")
            for value in [0.9 - 0.2 * block - 0.1 * _unit(measure, name, block)]
            for column, entropy in (
                (measure, value),
                (f"{measure}_ci_low", value - 0.1),
                (f"{measure}_ci_high", value + 0.1),
            )
        }
        for block in range(N_BLOCKS)
    ]
    parents = {"base_model": base_id, "demonstration_set": set_id}
    write_rows(store, "routing_entropy", parameters={}, parents=parents, rows={"routing_entropy": rows})


def _block_influence(store: Store, base_id: str, *, name: str, set_id: str) -> None:
    rows = [
        {"block_influence_id": "@id", "base_model_id": base_id, "demonstration_set_id": set_id, "block": block}
        | {"n_demonstrations": 3, "n_tokens": 100, "standard_error": 0.05}
        | {"influence": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
        for block, value in enumerate(0.2 + 0.5 * _unit("influence", name, block) for block in range(N_BLOCKS))
    ]
    parents = {"base_model": base_id, "demonstration_set": set_id}
    write_rows(store, "block_influence", parameters={}, parents=parents, rows={"block_influence": rows})


def _sensitivity(store: Store, variants: list[Variant]) -> None:
    """The first two pruned variants stand for probes of the two blocks."""
    analysis = {"sensitivity_id": "@id", "baseline_id": variants[0].id, "unit_kind": "block", "sparsity": 0.5}
    analysis |= {"task": "facts", "split": "dev", "metric": "accuracy", "scoring_rule": "mean", "profile": "corrected"}
    analysis |= {"protocol_id": "protocol of facts"}
    sizes = {"n_weights": 100, "n_removed": 50, "removed_share": 0.25, "n_items": N_ITEMS, "n_clusters": N_ITEMS}
    rows = [
        {**analysis, **sizes, "variant_id": variants[1 + block].id, "unit": str(block), "block": block, "layer": None}
        | {"group_kind": "language", "group_name": language, "languages": language, "n_languages": 1}
        | {"loss": loss, "ci_low": loss - 0.1, "ci_high": loss + 0.1, "scale": "difference", "interval": "tango"}
        | {"p_value": 0.01 if loss > 0.2 else 0.5, "p_max_t": 0.02 if loss > 0.2 else 0.7, "test": "tango"}
        for block in range(N_BLOCKS)
        for language, loss in ((name, 0.4 * _unit("loss", name, block)) for name in LANGUAGES)
    ]
    agreement = [
        {**analysis, "language": first, "other_language": second, "n_units": 9 + (first == "en"), "n_clusters": N_ITEMS}
        | {"rank_correlation": 0.5, "corrected": 0.6, "ci_low": -0.2, "ci_high": 0.9}
        for first in sorted(LANGUAGES)
        for second in sorted(LANGUAGES)
        if first < second
    ]
    tables = {"sensitivity": rows, "sensitivity_agreement": agreement}
    write_rows(store, "sensitivities", parameters={"units": "block"}, rows=tables)


ASKED: tuple[dict[str, Any], ...] = (
    {"name": "", "is_declared": False, "declared_after": None, "claim": "gain", "over": "each"},
    {"name": "together", "is_primary": True, "claim": "equivalent", "margin": 0.05, "over": "mean"},
    {"name": "late", "declared_after": 3, "claim": "noninferior", "margin": 0.05, "over": "each"},
)
"""Questions of the recipe about every variant and dense, outside English."""


def _answers(store: Store, variants: list[Variant]) -> list[dict[str, Any]]:
    """Answer the questions of the recipe; return their rows."""
    dense, *pruned = variants
    comparisons = [record for record in store.records("comparisons") if _is_of(record, dense.id)]
    rows = [_aggregates(record) for record in comparisons]
    questions = []
    for asked in ASKED:
        criterion = {"metric": "accuracy", "group_kind": "outside_english", "group_name": "", **asked}
        mean = {**rows[0], "comparison_id": "", "variant_id": None, "n_variants": len(pruned)}
        kept = rows if asked["over"] == "each" else [mean]
        answers = [{**row, "question_id": "@id"} for row in kept]
        parents = {"comparisons": [record.id for record in comparisons]}
        question_id = write_rows(store, "answers", parameters=criterion, parents=parents, rows={"answers": answers})
        values = {"task": "facts", "split": "test", "variants": "", "against": "dense", "margin": None}
        flags = {"declared_after": 0, "is_declared": True, "is_primary": False, "criterion_id": question_id}
        questions.append({**values, **flags, **criterion, "question_id": question_id, "recipe": "artificial"})
    assert len(comparisons) == len(pruned)
    return questions


def _is_of(record: Record, dense_id: str) -> bool:
    row = record.rows["comparison_results"][0]
    return (row["baseline_id"], row["task"], row["split"]) == (dense_id, "facts", "test")


def _aggregates(record: Record) -> dict[str, Any]:
    """The columns of an answer that the comparison has."""
    wanted = ("comparison_id", "variant_id", "baseline_id", "difference", "scale", "p_value", "n_items")
    rows = record.rows["aggregate_results"]
    row = next(row for row in rows if (row["metric"], row["group_kind"]) == ("accuracy", "outside_english"))
    difference, p_value = row["difference"], row["p_value"]
    more = {"n_variants": 1, "n_languages": row["n_languages"], "n_clusters": N_ITEMS, "chance": 1 / 3}
    more |= {"ci_low": difference - REACH, "ci_high": difference + REACH}
    more |= {"ci90_low": difference - 0.03, "ci90_high": difference + 0.03, "p_margin": p_value}
    more |= {"conditional_on_one_draw": True, "dtype": "float32"}
    return {name: row[name] for name in wanted} | more


SEARCH = "blocks"
"""Name of the search."""
N_TRIALS = 6


def _search(store: Store, variants: list[Variant]) -> str:
    """Two batches whose trials are pruned variants: the accuracy in Swahili on dev. Return the id of the search."""
    search_id = identity("searches", step_version=1, parameters={"search": SEARCH})
    records = [record for record in store.records("evaluations") if _is_dev_fact(record)]
    trials = variants[1 : 1 + N_TRIALS]
    values = [round(0.3 + 0.2 * _unit("trial", variant.id), 3) for variant in trials]
    batches: list[str] = []
    for batch in (0, 1):
        numbers = range(batch * N_TRIALS // 2, (batch + 1) * N_TRIALS // 2)
        best = max(range(numbers.stop), key=lambda number: (values[number], -number))
        rows = [
            {"search_id": search_id, "batch_id": "@id", "number": number, "batch": batch, "rung": 0, "parent": None}
            | {"item_limit": None, "variant_id": trials[number].id, "point": {"0": 0.1 * number, "score": "wanda"}}
            | {"n_items": 80, "n_new_items": 80, "n_items_so_far": 80 * (number + 1), "objective": values[number]}
            | {"ci_low": values[number] - 0.1, "ci_high": values[number] + 0.1, "dense_objective": 0.35}
            | {"violation": 0.0, "is_feasible": True, "p_worse": None if number == best else 0.2}
            | {"status": "kept" if number == best else "stopped", "reason": "made up"}
            for number in numbers
        ]
        wanted = {variants[0].id, *(trials[number].id for number in numbers)}
        parents = {"evaluations": [one.id for one in records if one.rows["evaluations"][0]["variant_id"] in wanted]}
        parameters = {"search": search_id, "batch": batch}
        tables = {"search_trials": rows}
        batches.append(write_rows(store, "search_batches", parameters=parameters, parents=parents, rows=tables))
    winner = max(range(N_TRIALS), key=lambda number: (values[number], -number))
    _search_result(store, search_id, trials, winner=winner, value=values[winner])
    return search_id


def _search_result(store: Store, search_id: str, trials: list[Variant], *, winner: int, value: float) -> None:
    report = {"result_id": "@id", "search_id": search_id, "direction": "maximise", "objective": "sw", "seed": 0}
    report |= {"constraints": [], "method": "random", "method_parameters": {}, "budget": {"n_variants": N_TRIALS}}
    report |= {"rungs": [None], "n_trials": N_TRIALS, "n_variants": N_TRIALS, "n_items": 360}
    report |= {"n_items_if_all_were_scored": 480, "variant_id": trials[winner].id, "number": winner}
    report |= {"dev_value": value, "dev_dense_value": 0.35, "test_value": value - 0.05, "test_dense_value": 0.34}
    report |= {"optimism": 0.04, "optimism_ci_low": -0.02, "optimism_ci_high": 0.1}
    key = {"result_id": "@id", "search_id": search_id}
    finalists = [
        {**key, "role": "winner", "variant_id": trials[winner].id, "test_value": value - 0.05},
        {**key, "role": "uniform", "variant_id": compared_with(trials, winner).id, "test_value": value - 0.07}
        | {"difference": 0.02, "ci_low": 0.005, "ci_high": 0.035, "p_worse": 0.01},
    ]
    write_rows(
        store, "searches", parameters={"search": SEARCH}, rows={"searches": [report], "search_finalists": finalists}
    )


def compared_with(trials: list[Variant], winner: int) -> Variant:
    """The trial that stands for uniform sparsity."""
    return trials[(winner + 1) % len(trials)]


def _is_dev_fact(record: Record) -> bool:
    row = record.rows["evaluations"][0]
    return (row["task"], row["split"], row["scoring_rule"]) == ("facts", "dev", "mean")


def _recipe(
    store: Store,
    base_id: str,
    *,
    sets: dict[str, str],
    variants: list[Variant],
    questions: list[dict[str, Any]],
    search_id: str,
) -> None:
    recipe = {"recipe": "artificial"}
    rows = [{**recipe, "kind": "base_model", "name": "tiny", "id": base_id}]
    rows += [{**recipe, "kind": "demonstration_set", "name": name, "id": set_id} for name, set_id in sets.items()]
    rows += [{**recipe, "kind": "variant", "name": variant.name, "id": variant.id} for variant in variants]
    rows.append({**recipe, "kind": "recipe", "name": "artificial", "id": "@id"})
    rows.append({**recipe, "kind": "search", "name": SEARCH, "id": search_id})
    covered = [
        {
            "question_id": question["question_id"],
            "variant_id": variant.id,
            "baseline_id": variants[0].id,
            "declared_after": 3 if question["declared_after"] and variant is variants[1] else 0,
        }
        for question in questions
        if question["is_declared"]
        for variant in variants[1:]
    ]
    primary = [{**recipe, "question_id": question["question_id"]} for question in questions if question["is_primary"]]
    tables = {"names": rows, "questions": questions, "question_variants": covered, "recipe_questions": primary}
    parameters = {"name": "artificial", **declared_parameters(questions, covered)}
    write_rows(store, "recipes", parameters=parameters, rows=tables)


def declared_parameters(questions: list[dict[str, Any]], covered: list[dict[str, Any]]) -> dict[str, Any]:
    """The parameters of a recipe's record about its questions.

    Args:
        covered: rows of `question_variants`.
    """
    return {"questions": [_declared(question, covered) for question in questions]}


def _declared(question: dict[str, Any], covered: list[dict[str, Any]]) -> list[Any]:
    """The parameter of a recipe's record about a question."""
    question_id = question["question_id"]
    if not question["is_declared"]:
        return [question_id]
    numbers = [EarlierResults.of_row(row).parameters for row in covered if row["question_id"] == question_id]
    config = [question.get(name) for name in ("name", "variants", "against", "is_primary")]
    title = {"title": question["title"]} if "title" in question else {}
    return [question_id, *config, numbers, *([title] if title else [])]


def _run_files(store: Store, variants: list[Variant]) -> None:
    run = {"run_id": "run-1", "recipe": "artificial", "started_at": STARTED, "environment_id": ENVIRONMENT_ID}
    store.write_run_file("run-1", "run", run)
    environment = {"environment_id": ENVIRONMENT_ID, "mlprune": "0.1.0", "code_sha256": "c0de", "git_commit": "c0ffee"}
    environment |= {"is_modified": False, "python": "CPython 3.11.7", "packages": {"torch": "2.9", "numpy": "2.4"}}
    store.write_run_file("run-1", f"environment-{ENVIRONMENT_ID}", environment)
    ended = {"how": "failed", "ended_at": STARTED, "n_done": 3, "n_failed": 1, "n_skipped": 0, "n_elsewhere": 0}
    store.write_run_file("run-1", "ended", ended)
    for n, variant in enumerate(variants[:4]):
        job = {"run_id": "run-1", "job_id": f"job-{n}", "step": "prune", "record_kind": "variants"}
        job["record_id"] = variant.id
        times: dict[str, Any] = {"started_at": STARTED, "elapsed_s": 1.5 + n, "cpu_s": 1.0, "peak_memory_gib": 0.25}
        done = {
            **job,
            "status": "failed" if n == 3 else "done",
            "attempt": 1,
            "host": "node-1",
            "worker": "w0",
            "environment_id": ENVIRONMENT_ID,
            **times,
        }
        store.write_run_file("run-1", f"job-{n}", done | times)
        if n == 3:
            error = {"error": "ShapeError", "message": "statistics do not fit the weight", "attempts": 1}
            store.write_run_file("run-1", "failure-0", {**job, **error, "failed_at": "2026-02-03T22:15:05"})
