"""Generate the reference page of all causal model types from their stored outcomes."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.pages.page import page
from mlprune.capabilities.publishing.model_card import table

OUTCOMES = Path(__file__).parent / "model_types.json"
"""Outcome of each model type, which `python -m tests.type_outcomes` writes and the slow tests compare with."""

OPENING = """
[models.md](../models.md) explains what a model needs. A tiny random model of every type that transformers {version} can
load as a causal language model was made from the default config of the type. If mlprune accepts it, it ran in two
shards, and equals transformers' own forward of each text alone: logits (within 1e-5, float32), sums of squares of all
layer inputs, and the logits with a mask, which was also written to a checkpoint and loaded by transformers. A name with
a comma is a variant of the config of a type.
"""
WORKS = """
`blocks`: the kinds of block. `heads`, `neurons`: whether whole heads and feed-forward neurons can be removed; exports
without the first ones, of one block and of all, equal the model with zeros. Single weights of all linear layers can be
pruned in every type. `stays dense`: parameters of two or more dimensions that are
not pruned.
"""
EXPERTS = """
They were compared in the same way, the weights of single experts included. Exports with fewer experts are tested for
eight types.
"""
REFUSED = """
mlprune prints the reason with what it found. transformers itself cannot build a model from the default config of the
types whose "config cannot be used".
"""

Outcome = Mapping[str, Any]


def working_types() -> list[str]:
    """Return the model types whose default config works."""
    outcomes: Mapping[str, Outcome] = json.loads(OUTCOMES.read_text(encoding="utf-8"))["outcomes"]
    return [name for name, outcome in outcomes.items() if "refused" not in outcome and "," not in name]


def model_reference() -> str:
    """Return the page."""
    stored = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    outcomes: Mapping[str, Outcome] = stored["outcomes"]
    experts = [name for name, outcome in outcomes.items() if "experts" in outcome]
    works = {name: outcome for name, outcome in outcomes.items() if not {"refused", "experts"} & set(outcome)}
    refused: dict[str, list[str]] = defaultdict(list)
    for name, outcome in outcomes.items():
        if "refused" in outcome:
            refused[outcome["refused"]].append(name)
    columns = ("type", "blocks", "heads", "neurons", "stays dense")
    reasons = sorted(refused.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    parts = [
        OPENING.format(version=stored["transformers"]).strip(),
        f"## Works ({len(works)})",
        WORKS.strip(),
        table(columns, _rows(works)).strip(),
        f"## Mixtures of experts ({len(experts)})",
        f"{EXPERTS.strip()} {_code(experts)}.",
        f"## Refused ({len(outcomes) - len(works) - len(experts)})",
        REFUSED.strip(),
        table(("reason", "types"), [(reason, _code(names)) for reason, names in reasons]).strip(),
    ]
    return page("Model types", parts, source="`infra/pages/model_types.json`")


def _rows(works: Mapping[str, Outcome]) -> Iterator[Sequence[object]]:
    for name, outcome in works.items():
        can = ("yes" if outcome[key] else "no" for key in ("heads", "neurons"))
        yield f"`{name}`", "; ".join(outcome["blocks"]), *can, _code(outcome["dense"])


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
