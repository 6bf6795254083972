"""RankC with English: one pair of bars a language, dense and the variant chosen for that language."""

from collections.abc import Sequence

import numpy as np

from catalog.report.exhibits import Group, Key, distinct, grouped
from catalog.report.svg import INK, drawing, panel, to_svg
from catalog.report.words import BLUE, GREY, Row, number, task_label


def consistency_bars(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """Bars of every model and task.

    Args:
        rows: of `rank_consistency.sql`.
        anchor: prefix of the ids in the SVG.
    """
    keys = (Key(label="dense model", colour=GREY, marker="bar"), Key(label="chosen variant", colour=BLUE, marker="bar"))
    groups = []
    for n, (_, members) in enumerate(grouped(rows, "base_model", "base_model_id", "task", "split")):
        with drawing():
            drawn = _panel(members, anchor=f"{anchor}-{n}")
        groups.append(Group(title=task_label(members[0]), panels=(drawn,), keys=keys))
    return tuple(groups)


def _panel(rows: Sequence[Row], *, anchor: str) -> str:
    languages = distinct(rows, "language")
    axes = panel(max(3.4, 0.9 + 0.85 * len(languages)), 2.8, left=0.46)
    axes.grid(axis="y")
    for shift, is_dense, colour in ((-0.19, True, GREY), (0.19, False, BLUE)):
        bars = {row["language"]: row["rank_consistency"] for row in rows if bool(row["is_dense"]) == is_dense}
        places = [place + shift for place, language in enumerate(languages) if language in bars]
        values = [bars[language] for language in languages if language in bars]
        axes.bar(places, values, width=0.34, color=colour)
        for place, value in zip(places, values, strict=True):
            axes.text(place, value, f"{value:.2f}", ha="center", va="bottom", fontsize=7.5, color=INK)
    axes.set_xticks(np.arange(len(languages)), languages)
    axes.set_xlim(-0.6, len(languages) - 0.4)
    axes.set_ylim(0, max(row["rank_consistency"] for row in rows) * 1.12 or 1.0)
    axes.set_title("RankC with English", color=INK, weight="bold")
    said = ", ".join(
        f"{row['language']} {'dense' if row['is_dense'] else 'chosen variant'} {number(row['rank_consistency'])}"
        for row in rows
    )
    return to_svg(axes, anchor, label=f"RankC with English: {said}")
