"""Variants of all other kinds for the artificial store, with masks that are drawn.

Profiles, bootstraps, token scopes, schedules, several sets, combinations and changed weights: what their rows say of
numbers of weights and of overlaps is counted from the masks kept here, so tests can count again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.store.store import Store
from tests.catalog_data import LAYERS, N_BLOCKS, default_protocol, evaluation_of, write_rows

N_WEIGHTS = 1000
Removed = dict[tuple[int, str], NDArray[np.bool_]]
WANDA = {"score": "wanda", "structure": "row", "propagation": "dense", "sparsity": 0.5}
USUAL = {"removes": "lowest", "schedule": "uniform", "scope": None, "profile": "corrected"}
RATIOS = (0.02, 0.06)
"""Outlier ratio of each block."""

OF_OTHER_SEARCHES = {"removal_curve"}
"""Queries about a kind of search that the filled store has not; `test_removal_curve.py` has their rows."""


@dataclass
class Methods:
    """The variants by name: their ids, and what they remove."""

    base_id: str
    sets: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    removed: dict[str, Removed] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    outliers_id: str = ""
    block_values_id: str = ""


def add_methods(store: Store) -> Methods:
    """Add the records to a filled store; the same records at every call."""
    base_id = next(record.id for record in store.records("base_models"))
    made = Methods(base_id)
    _add_sets(store, made)
    _add_scored(store, made)
    _add_combined(store, made)
    _add_overlaps(store, made)
    for name in made.ids:
        _add_accuracy(store, made, name)
    _add_lrp2(store, made)
    _add_quantised(store, made)
    _add_without_neurons(store, made)
    _add_external(store, made)
    _add_vocabulary_accuracy(store, made)
    names = [{"recipe": "methods", "kind": "variant", "name": name, "id": key} for name, key in made.ids.items()]
    write_rows(store, "recipes", parameters={"name": "methods"}, rows={"names": names})
    return made


def _add_sets(store: Store, made: Methods) -> None:
    """fr-en and es-en by both profiles, and fr-en once more with a budget of tokens and once without pairs."""
    row: dict[str, Any] = {"demonstration_set_id": "@id", "kind": "translation", "target_language": "en", "shots": 2}
    row |= {"samples": 10, "max_tokens": 64, "n_tokens": 500, "seed": 0, "template": None, "task": None}
    for source in ("fr", "es"):
        for profile in ("corrected", "paper"):
            seed = None if profile == "paper" else 0
            found = {**row, "source_language": source, "profile": profile, "seed": seed, "token_budget": None}
            made.sets[f"{source} {profile}"] = _write_set(store, found)
    budget = {**row, "source_language": "fr", "profile": "corrected", "token_budget": 300}
    made.sets["fr budget"] = _write_set(store, budget)
    unpaired = {**row, "source_language": "fr", "profile": "corrected", "token_budget": None, "paired": False}
    made.sets["fr unpaired"] = _write_set(store, unpaired)
    task = {**row, "kind": "task", "source_language": "fr", "target_language": None, "profile": "corrected"}
    made.sets["task"] = _write_set(store, {**task, "token_budget": None, "task": "xnli"})


def _write_set(store: Store, row: dict[str, Any]) -> str:
    return write_rows(store, "demonstration_sets", parameters=row, rows={"demonstration_sets": [row]})


def _add_scored(store: Store, made: Methods) -> None:
    """One variant for each way to differ from the plain one."""
    ways: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
        "plain": ({}, {"fr corrected": 1.0}),
        "paper": ({"profile": "paper"}, {"fr paper": 1.0}),
        "spanish": ({}, {"es corrected": 1.0}),
        "spanish paper": ({"profile": "paper"}, {"es paper": 1.0}),
        "resampled 1": ({"resample_seed": 1}, {"fr corrected": 1.0}),
        "resampled 2": ({"resample_seed": 2}, {"fr corrected": 1.0}),
        "first 5": ({"n_demonstrations": 5}, {"fr corrected": 1.0}),
        "target": ({"token_scope": "target"}, {"fr corrected": 1.0}),
        "last shot, first 5": ({"token_scope": "last_shot", "n_demonstrations": 5}, {"fr corrected": 1.0}),
        "highest": ({"removes": "highest"}, {"fr corrected": 1.0}),
        "upper": ({"scope": {"blocks": [1]}}, {"fr corrected": 1.0}),
        "owl": ({"schedule": "owl", "schedule_parameters": {"spread": 0.1}}, {"fr corrected": 1.0}),
        "dlp": ({"schedule": "dlp"}, {"fr corrected": 1.0}),
        "given": ({"schedule": "given", "schedule_parameters": {"blocks": [[0, 0.25]]}}, {"fr corrected": 1.0}),
        "budget": ({}, {"fr budget": 1.0}),
        "unpaired": ({}, {"fr unpaired": 1.0}),
        "several": ({"aggregation": "mean"}, {"fr corrected": 0.25, "es corrected": 0.75}),
        "task": ({}, {"task": 1.0}),
        "in order": ({}, {"fr paper": 1.0}),
        "sparsegpt": ({"score": "sparsegpt", "structure": "matrix", "weights_changed": True}, {"fr corrected": 1.0}),
        "magnitude": ({"score": "magnitude", "propagation": None, "token_scope": None}, {}),
    }
    write_outliers(store, made)
    write_block_values(store, made)
    for name, (settings, sets) in ways.items():
        _add_variant(store, made, name, settings=settings, sets=sets)


def write_outliers(store: Store, made: Methods) -> None:
    """The ratios that schedule owl reads."""
    rows = [
        {"outliers_id": "@id", "base_model_id": made.base_id, "m": 5.0, "block": block, "ratio": ratio}
        for block, ratio in enumerate(RATIOS)
    ]
    parents = {"base_model": made.base_id}
    tables = {"outlier_ratios": rows}
    made.outliers_id = write_rows(store, "outliers", parameters={"m": 5.0}, parents=parents, rows=tables)


def write_block_values(store: Store, made: Methods) -> None:
    """The mean scores that schedule dlp reads."""
    row = {"block_values_id": "@id", "base_model_id": made.base_id, "name": "mean_score", "n_weights": 100}
    rows = [{**row, "block": block, "value": 50 * ratio} for block, ratio in enumerate(RATIOS)]
    parents = {"base_model": made.base_id}
    made.block_values_id = write_rows(
        store, "block_values", parameters={}, parents=parents, rows={"block_values": rows}
    )


def _write_ordering(store: Store, made: Methods, variant_id: str, *, values: dict[str, str]) -> None:
    """Write the ordering that leads from a variant to the values of blocks that its schedule reads."""
    parents = {"base_model": made.base_id, **values}
    row = {"ordering_id": "@id", "base_model_id": made.base_id, "score": "wanda", "n_levels": 1, "n_bytes": 0}
    links = [{"ordering_id": "@id", "variant_id": variant_id, "level": 0}]
    rows = {"orderings": [row], "ordering_variants": links}
    write_rows(store, "masks", parameters={"schedule": variant_id}, parents=parents, rows=rows)


def _draw(name: str, schedule: str, *, has_scope: bool) -> Removed:
    """Half of every layer, drawn by the variant's name; a schedule moves blocks apart, a scope leaves block 0 whole."""
    generator = np.random.default_rng(list(name.encode()))
    shares = {"owl": (0.4, 0.6), "dlp": (0.35, 0.55), "given": (0.25, 0.5)}.get(schedule, (0.5, 0.5))
    removed = {}
    for block in range(N_BLOCKS):
        for layer in LAYERS:
            n_removed = 0 if has_scope and block == 0 else int(shares[block] * N_WEIGHTS)
            mask = np.zeros(N_WEIGHTS, dtype=bool)
            mask[generator.permutation(N_WEIGHTS)[:n_removed]] = True
            removed[block, layer] = mask
    return removed


def _add_variant(store: Store, made: Methods, name: str, *, settings: dict[str, Any], sets: dict[str, float]) -> None:
    row: dict[str, Any] = {**WANDA, **USUAL, "token_scope": "all", "weights_changed": False, **settings}
    made.removed[name] = _draw(name, row["schedule"], has_scope=row["scope"] is not None)
    row["demonstration_set_id"] = made.sets[next(iter(sets))] if len(sets) == 1 else None
    links = [
        {"variant_id": "@id", "demonstration_set_id": made.sets[one], "role": "demonstrations", "weight": weight}
        for one, weight in sets.items()
    ]
    parents: dict[str, Any] = {"base_model": made.base_id}
    _write_variant(store, made, name, row=row, parents=parents, tables={"variant_demonstrations": links})
    values = {"owl": {"outliers": made.outliers_id}, "dlp": {"block_values": made.block_values_id}}
    if row["schedule"] in values:
        _write_ordering(store, made, made.ids[name], values=values[row["schedule"]])


def _add_combined(store: Store, made: Methods) -> None:
    """Kept sets combined: of wanda and magnitude, and of two variants of wanda."""
    shared = {"structure": "row", **USUAL}
    pairs: dict[str, tuple[str, tuple[str, str], dict[str, Any]]] = {
        "both keep": ("intersection", ("plain", "magnitude"), shared),
        "one keeps": ("union", ("plain", "spanish"), {**shared, "score": "wanda", "propagation": "dense"}),
    }
    for name, (combination, parents, row) in pairs.items():
        first, second = (made.removed[one] for one in parents)
        join = np.logical_or if combination == "intersection" else np.logical_and
        made.removed[name] = {key: join(first[key], second[key]) for key in first}
        share = float(np.mean([mask.mean() for mask in made.removed[name].values()]))
        links = [
            {"variant_id": "@id", "parent_variant_id": made.ids[one], "role": f"parent {place}"}
            for place, one in enumerate(parents, start=1)
        ]
        found = {**row, "combination": combination, "sparsity": share, "weights_changed": False}
        of = {"variants": [made.ids[one] for one in parents]}
        _write_variant(store, made, name, row=found, parents=of, tables={"variant_parents": links})


def _write_variant(
    store: Store, made: Methods, name: str, *, row: dict[str, Any], parents: dict[str, Any], tables: dict[str, Any]
) -> None:
    removed = made.removed[name]
    share = float(np.mean([mask.mean() for mask in removed.values()]))
    made.rows[name] = {"variant_id": "@id", "base_model_id": made.base_id, "achieved_sparsity": share, **row}
    made.rows[name]["mask_sha256"] = f"{name}'s masks"
    layers = [
        {"variant_id": "@id", "block": block, "layer": layer, "n_weights": N_WEIGHTS, "n_removed": int(mask.sum())}
        | {"n_dampings": 1 if row.get("score") == "sparsegpt" else None}
        for (block, layer), mask in removed.items()
    ]
    rows = {"variants": [made.rows[name]], "variant_layers": layers, **tables}
    made.ids[name] = write_rows(store, "variants", parameters={"name": name}, parents=parents, rows=rows)


def _add_overlaps(store: Store, made: Methods) -> None:
    """The Jaccard indices of all pairs that agree in score, structure, propagation and sparsity."""
    attributes = ("score", "structure", "propagation", "sparsity")
    for one, other in combinations(made.ids, 2):
        if [made.rows[one].get(key) for key in attributes] == [made.rows[other].get(key) for key in attributes]:
            first, second = sorted((one, other), key=made.ids.__getitem__)
            rows = [
                {"variant_a": made.ids[first], "variant_b": made.ids[second], "block": block, "layer": layer}
                | {"jaccard": _jaccard(made.removed[first][block, layer], made.removed[second][block, layer])}
                for block, layer in made.removed[first]
            ]
            parents = {"variants": [made.ids[first], made.ids[second]]}
            write_rows(store, "mask_overlaps", parameters={}, parents=parents, rows={"mask_overlaps": rows})


def _jaccard(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def accuracy_of(name: str, names: Sequence[str]) -> float:
    """The made-up accuracy of a variant in French: another one for each."""
    return 0.3 + 0.01 * list(names).index(name)


def _add_accuracy(store: Store, made: Methods, name: str) -> None:
    accuracy = {"accuracy": accuracy_of(name, list(made.ids))}
    evaluation_of(store, made.ids[name], task="facts", language="fr", split="test", values=accuracy)


def _add_lrp2(store: Store, made: Methods) -> None:
    """Add LRP2 in French: two trials on dev, the chosen pair of blocks, and its comparison with dense."""
    rows_of = {one.id: one.rows["variants"][0] for one in store.records("variants")}
    (dense,) = (one for one, row in rows_of.items() if row["sparsity"] == 0 and one not in made.ids.values())
    row = {"variant_id": "@id", "base_model_id": made.base_id, "sparsity": 0.0, "achieved_sparsity": 0.0}
    row |= {"intervention": "lrp2", "intervention_parameters": {"split": "dev"}, "weights_changed": False}
    base = {"base_model": made.base_id}
    lrp2 = write_rows(store, "variants", parameters={"intervention": "lrp2"}, parents=base, rows={"variants": [row]})
    place = {"task": "facts", "language": "fr", "split": "dev", "scoring_rule": "mean", "prompt_language": "fr"}
    place |= default_protocol("facts")
    tried = [
        {**place, "metric": "accuracy", "value": value, "n": 40, "first_block": 0, "second_block": block}
        for block, value in ((1, 0.5), (2, 0.6))
    ]
    trials = []
    for one in tried:
        rows = {"lrp2_trials": [{"trial_id": "@id", "base_model_id": made.base_id, **one}]}
        trials.append(write_rows(store, "lrp2_trials", parameters=one, parents=base, rows=rows))
    choice = {"lrp2_choices": [{"choice_id": "@id", "variant_id": lrp2, "n_trials": 2, **tried[1]}]}
    write_rows(store, "lrp2_choices", parameters={}, parents={"variant": lrp2, "trials": trials}, rows=choice)
    (ours,) = evaluation_of(store, lrp2, task="facts", language="fr", split="test", values={"accuracy": 0.7})
    _compare(store, ours, dense)


def _compare(store: Store, ours: dict[str, Any], baseline_id: str) -> None:
    """Compare an evaluation with that of another variant."""
    what = ("language", "split", "metric")
    theirs = next(
        row
        for record in store.records("evaluations")
        for row in record.rows["metrics"]
        if row["variant_id"] == baseline_id and all(row[key] == ours[key] for key in what)
    )
    keys = {key: ours[key] for key in ("variant_id", "evaluation_id", "task", *what)}
    keys |= {"baseline_id": theirs["variant_id"], "baseline_evaluation_id": theirs["evaluation_id"]}
    difference = ours["value"] - theirs["value"]
    found = {**keys, "difference": difference, "ci_low": 0.0, "ci_high": 0.2, "p_value": 0.2, "test": "tango"}
    parents = {"evaluations": [ours["evaluation_id"]], "baseline_evaluations": [theirs["evaluation_id"]]}
    rows = {"comparison_results": [{"comparison_id": "@id", "profile": "corrected", **found}]}
    write_rows(store, "comparisons", parameters={}, parents=parents, rows=rows)


def _add_quantised(store: Store, made: Methods) -> None:
    """The plain variant with 4 bits, compared with its parent in French."""
    row = {**made.rows["plain"], "bits": 4, "quantisation_group": 128, "weights_changed": True}
    link = {"variant_id": "@id", "parent_variant_id": made.ids["plain"], "role": "unquantised"}
    parents = {"variant": made.ids["plain"]}
    rows = {"variants": [row], "variant_parents": [link]}
    quantised = write_rows(store, "variants", parameters={"bits": 4}, parents=parents, rows=rows)
    (ours,) = evaluation_of(store, quantised, task="facts", language="fr", split="test", values={"accuracy": 0.25})
    _compare(store, ours, made.ids["plain"])


def _add_external(store: Store, made: Methods) -> None:
    """A result of another program about the plain variant."""
    evaluation = {"external_id": "@id", "variant_id": made.ids["plain"], "model": "exported/", "task": "xnli_fr"}
    evaluation |= {"tool": "lm-evaluation-harness", "has_samples": False, "source_file": "results.json"}
    result = {"external_id": "@id", "metric": "acc", "filter": "none", "value": 0.5}
    rows = {"external_evaluations": [evaluation], "external_results": [result]}
    write_rows(store, "external_results", parameters={}, parents={"variant": made.ids["plain"]}, rows=rows)


def add_vocabulary(store: Store, base_model_id: str, *, has_costs: bool = True) -> list[dict[str, Any]]:
    """A variant with a smaller vocabulary, and its cost for a kept language and a dropped one; returns the latter.

    Args:
        has_costs: whether the store gets the costs.
    """
    sizes = {"variant_id": "@id", "n_tokens": 100, "n_kept": 40, "n_required": 5, "n_counted": 38}
    sizes |= {"n_weights": 1000, "n_removed_weights": 480}
    variant = {"variant_id": "@id", "base_model_id": base_model_id, "sparsity": 0.0, "achieved_sparsity": 0.0}
    variant |= {"intervention": "vocabulary", "weights_changed": False}
    variant_id = write_rows(
        store,
        "variants",
        parameters={"intervention": "vocabulary"},
        parents={"base_model": base_model_id},
        rows={"variants": [variant], "vocabularies": [sizes]},
    )
    row = {"tokenizations_id": "@id", "variant_id": variant_id, "n_lines": 4, "n_words": 20, "n_characters": 100}
    row |= {"n_longer_lines": 0}
    row |= {"n_tokens_dense": 25, "n_unknown_dense": 0, "n_partial_dense": 1, "n_unknown": 0, "log_prob_dense": -50.0}
    kept = {"language": "fr", "is_kept": True, "n_changed_lines": 0, "n_tokens": 25, "n_partial": 1}
    kept |= {"log_prob_trimmed": -45.0, "log_prob_cost": -50.0, "n_masked_lines": 4, "n_masked_characters": 100}
    kept |= {"log_prob_masked": -45.0, "log_prob_dense_of_masked": -50.0}
    kept |= {"log_cost": 0.0, "log_cost_low": 0.0, "log_cost_high": 0.0}
    lost = {"language": "sw", "is_kept": False, "n_changed_lines": 4, "n_tokens": 90, "n_partial": 60}
    lost |= {"log_prob_trimmed": -190.0, "log_prob_cost": -200.0, "n_masked_lines": 0, "n_masked_characters": 0}
    lost |= {"log_prob_masked": None, "log_prob_dense_of_masked": None}
    lost |= {"log_cost": 1.5, "log_cost_low": 1.2, "log_cost_high": 1.8}
    rows = [{**row, **kept}, {**row, **lost}]
    if has_costs:
        write_rows(store, "tokenizations", parameters={}, parents={"variant": variant_id}, rows={"tokenizations": rows})
    return rows


def _add_vocabulary_accuracy(store: Store, made: Methods) -> None:
    """The variant with a smaller vocabulary, compared with dense in the kept language."""
    variant = add_vocabulary(store, made.base_id)[0]["variant_id"]
    (ours,) = evaluation_of(store, variant, task="facts", language="fr", split="test", values={"accuracy": 0.4})
    _compare(store, ours, _dense_id(store))


def _dense_id(store: Store) -> str:
    rows_of = {one.id: one.rows["variants"][0] for one in store.records("variants")}
    return next(one for one, row in rows_of.items() if row["sparsity"] == 0 and row.get("intervention") is None)


def _add_without_neurons(store: Store, made: Methods) -> None:
    """A variant without the neurons of French, and two without as many random ones, compared with dense in French."""
    dense = _dense_id(store)
    of_french = {"of": "fr", "share": 0.02}
    actions = [("remove", {}, 0.2), ("random", {"seed": 0}, 0.5), ("random", {"seed": 1}, 0.6)]
    for action, seed, accuracy in actions:
        neurons = {"action": action, **of_french}
        row = {"variant_id": "@id", "base_model_id": made.base_id, "sparsity": 0.02, "achieved_sparsity": 0.02}
        row |= {"neurons": neurons, "weights_changed": False, **seed}
        base = {"base_model": made.base_id}
        variant = write_rows(store, "variants", parameters={**neurons, **seed}, parents=base, rows={"variants": [row]})
        values = {"accuracy": accuracy}
        (ours,) = evaluation_of(store, variant, task="facts", language="fr", split="test", values=values)
        _compare(store, ours, dense)
