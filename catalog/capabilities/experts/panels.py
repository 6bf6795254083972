"""Figures of experts: which ones a language uses in each block, and what pairs of languages share."""

from collections.abc import Iterator, Sequence

from catalog.report.exhibits import (
    Grid,
    Group,
    LegendEntry,
    Scale,
    distinct,
    english_first,
    evenly_spaced,
    grouped,
    name_with_dtype,
    omission_note,
)
from catalog.report.labels import facets_of, number
from catalog.report.svg import heat
from catalog.results import Row

MAX_LANGUAGES, MAX_BLOCKS, MAX_EXPERTS = 12, 24, 32
"""Maximum number of languages, blocks and experts that are drawn, at even distances."""
MAX_PAIRS = 28
"""Maximum number of pairs of languages that are drawn, at even distances."""


def use_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per language: a row per block, a column per expert.

    Args:
        rows: result of `experts_by_language.sql`.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        languages = english_first(row["language"] for row in members)
        blocks, experts = sorted(distinct(members, "block")), sorted(distinct(members, "expert"))
        shown = evenly_spaced(languages, MAX_LANGUAGES)
        down, across = evenly_spaced(blocks, MAX_BLOCKS), evenly_spaced(experts, MAX_EXPERTS)
        scale = Scale(0.0, max(row["frequency"] for row in members) or 1.0)
        notes = (
            omission_note(len(shown), len(languages), "languages"),
            omission_note(len(down), len(blocks), "blocks"),
            omission_note(len(across), len(experts), "experts"),
        )
        by_language = dict(grouped(members, "language"))
        yield Group(
            title=str(model) + "".join(notes),
            panels=tuple(_use_grid(by_language[language,], down, across, scale=scale) for language in shown),
            rows=members,
            legend=(LegendEntry(label=f"0 of the tokens|{number(scale.high, digits=2)}", scale=scale),),
            facets=facets_of(members[0], only=("model",)),
        )


def _use_grid(rows: Sequence[Row], blocks: Sequence[int], experts: Sequence[int], *, scale: Scale) -> Grid:
    most = max(rows, key=lambda row: row["frequency"])
    return heat(
        rows,
        "frequency",
        down=("block", blocks),
        across=("expert", experts),
        title=str(most["language"]),
        label=f"Use of experts in {most['language']} by block and expert: most in block {most['block']}, expert "
        f"{most['expert']}: {number(most['frequency'])} of the tokens",
        scale=scale,
        row_name="block",
        column_name="expert",
    )


def overlap_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per model and share: a row per pair of languages, a column per block.

    Args:
        rows: result of `expert_overlaps.sql`.
    """
    named = [{**row, "pair": _pair(row)} for row in rows]
    for (source, _, dtype, share), members in grouped(named, "base_model", "base_model_id", "dtype", "share"):
        model = name_with_dtype(source, dtype, rows)
        scale = Scale(0.0, 1.0)
        pairs, blocks = distinct(members, "pair"), sorted(distinct(members, "block"))
        shown, across = evenly_spaced(pairs, MAX_PAIRS), evenly_spaced(blocks, MAX_BLOCKS)
        notes = omission_note(len(shown), len(pairs), "pairs") + omission_note(len(across), len(blocks), "blocks")
        by_chance = number(members[0]["by_chance"], digits=2)
        least = min(members, key=lambda row: row["jaccard"])
        grid = heat(
            members,
            "jaccard",
            down=("pair", shown),
            across=("block", across),
            text=lambda row: number(row["jaccard"], digits=2) + ("*" if row["p_value"] < 0.05 else ""),
            title=f"Jaccard index, by chance {by_chance}; * p < 0.05",
            label=f"Experts that two languages share: least {least['pair']} in block {least['block']}, "
            f"{number(least['jaccard'])}; by chance {by_chance}",
            scale=scale,
            row_name="languages",
            column_name="block",
        )
        yield Group(
            title=f"{model}: the {members[0]['n_top']} most frequent experts of a block ({share:g}){notes}",
            panels=(grid,),
            rows=members,
            legend=(LegendEntry(label="0: no expert in common|1: the same experts", scale=scale),),
            facets=facets_of(members[0], only=("model",)),
        )


def _pair(row: Row) -> str:
    names = [f"{row['language_a']}, {row['language_b']}"]
    names += [f"{row['kind']} to {row['target_language']}"] if row["target_language"] else []
    names += [f"seed {row['seed']}"] if row["seed"] else []
    return " · ".join(names)
