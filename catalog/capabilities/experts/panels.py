"""Figures of experts: which ones a language uses in each block and how evenly, and what pairs of languages share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from catalog.report.exhibits import (
    Grid,
    Group,
    LegendEntry,
    Scale,
    Size,
    distinct,
    english_first,
    grouped,
    name_with_dtype,
    some,
)
from catalog.report.labels import number
from catalog.report.marks import Heat, Lines, first_lines
from catalog.report.styles import MAX_IN_LEGEND
from catalog.results import Row

MAX_LANGUAGES, MAX_BLOCKS, MAX_EXPERTS = 12, 24, 32
"""Maximum number of languages, blocks and experts that are drawn, at even distances."""
MAX_PAIRS = 28
"""Maximum number of pairs of languages that are drawn, at even distances."""
ENTROPIES: Mapping[str, str] = {
    "entropy_of_mean": "Mean distribution of the router",
    "mean_entropy": "Distribution of a token, mean",
    "entropy_of_use": "Use of the experts",
}
"""Column with an entropy -> title of its panel."""


def use_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per language: a row per block, a column per expert.

    Args:
        rows: result of `experts_by_language.sql`.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        by_language = dict(grouped(members, "language"))
        shown, languages = some(english_first(row["language"] for row in members), MAX_LANGUAGES, "languages")
        down, blocks = some(sorted(distinct(members, "block")), MAX_BLOCKS, "blocks")
        across, experts = some(sorted(distinct(members, "expert")), MAX_EXPERTS, "experts")
        scale = Scale.from_zero(row["frequency"] for row in members)
        yield Group(
            title=f"{model}{languages}{blocks}{experts}",
            panels=tuple(_use_grid(by_language[language,], down, across, scale=scale) for language in shown),
            rows=members,
            legend=(LegendEntry(label=f"0 of the tokens|{number(scale.high, digits=2)}", scale=scale),),
        )


def _use_grid(rows: Sequence[Row], blocks: Sequence[int], experts: Sequence[int], *, scale: Scale) -> Grid:
    language = str(rows[0]["language"])
    drawn = Heat(
        "frequency",
        down=("block", blocks),
        across=("expert", experts),
        title=language,
        about=f"Use of experts in {language} by block and expert, as a fraction of the tokens",
        scale=scale,
        axes=("block", "expert"),
    )
    return drawn.grid(rows)


def overlap_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per model and share: a row per pair of languages, a column per block.

    Args:
        rows: result of `expert_overlaps.sql`.
    """
    named = [{**row, "pair": _pair(row)} for row in rows]
    for (source, _, dtype, share), members in grouped(named, "base_model", "base_model_id", "dtype", "share"):
        model = name_with_dtype(source, dtype, rows)
        scale = Scale(0.0, 1.0)
        shown, pairs = some(distinct(members, "pair"), MAX_PAIRS, "pairs")
        across, blocks = some(sorted(distinct(members, "block")), MAX_BLOCKS, "blocks")
        by_chance = number(members[0]["by_chance"], digits=2)
        drawn = Heat(
            "jaccard",
            down=("pair", shown),
            across=("block", across),
            text=lambda row: number(row["jaccard"], digits=2) + ("*" if row["p_value"] < 0.05 else ""),
            title=f"Jaccard index, by chance {by_chance}; * p < 0.05",
            about=f"Experts that two languages share, by chance {by_chance}",
            scale=scale,
            axes=("languages", "block"),
        )
        yield Group(
            title=f"{model}: the {members[0]['n_top']} most frequent experts of a block ({share:g}){pairs}{blocks}",
            panels=(drawn.grid(members),),
            rows=members,
            legend=(LegendEntry(label="0: no expert in common|1: the same experts", scale=scale),),
        )


def entropy_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one panel per model and entropy, with a line over blocks per set and role of its tokens.

    Args:
        rows: result of `routing_entropy_by_language.sql`.
    """
    for (source, _, dtype), members in grouped(rows, "base_model", "base_model_id", "dtype"):
        sets = [cells for _, cells in grouped(members, "routing_entropy_id", "role")]
        shown, note = some(sets, MAX_IN_LEGEND, "sets")
        lines = first_lines(shown, partial(_set, others=members))
        panels = []
        for column, title in ENTROPIES.items():
            known = [replace(line, rows=[row for row in line.rows if row[column] is not None]) for line in lines]
            figure = Lines(
                "block",
                column,
                title=title,
                about=f"Entropy by language, 1 for equal shares: {title}",
                xlabel="block",
                ends=f"{column}_ci",
                finish=lambda axes: axes.set_ylim(0, 1.03),
                size=Size(max(3.2, 0.9 + 0.12 * max(map(len, shown))), 2.8),
            )
            panels += [figure.panel([line for line in known if line.rows])] if any(line.rows for line in known) else []
        legend = tuple(line.entry for line in lines)
        yield Group(f"{name_with_dtype(source, dtype, rows)}{note}", panels=tuple(panels), rows=members, legend=legend)


def _set(row: Row, others: Sequence[Row]) -> str:
    """Return the language of a set's tokens, with what distinguishes it from others of the language."""
    alike = [other for other in others if other["language"] == row["language"]]
    names = [str(row["language"] or row["kind"])]
    differing = [key for key in ("kind", "role", "target_language") if len({one[key] for one in alike}) > 1]
    names += [str(row[key]) for key in differing if row[key]]
    names += [f"seed {row['seed']}"] if len({one["seed"] for one in alike}) > 1 else []
    return " · ".join(names)


def _pair(row: Row) -> str:
    names = [f"{row['language_a']}, {row['language_b']}"]
    names += [f"{row['kind']} to {row['target_language']}"] if row["target_language"] else []
    names += [f"seed {row['seed']}"] if row["seed"] else []
    return " · ".join(names)
