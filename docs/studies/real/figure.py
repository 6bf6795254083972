"""Draw the figures of docs/studies/README.md from the CSV files that `python -m infra.real` writes.

python docs/studies/real/figure.py docs/studies/real
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, str]

CORPORA = {"subset": "CLDR", "flores": "FLORES-200"}
"""Name of the recipe -> its corpus."""
ROLES = ("source", "English", "others")
MARKERS = {"unpaired": "o", "monolingual": "s"}
ARMS = {
    "translation": ("o", "full"),
    "unpaired": ("o", "none"),
    "monolingual": ("s", "none"),
    "magnitude": ("D", "full"),
}
"""Arm -> marker and its fill, so that arms differ without colour."""


def read(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def draw_differences(folder: Path) -> Figure:
    """Draw translation minus its opponents: means and intervals by role of the language, one panel per corpus."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    panels = figure.subplots(1, len(CORPORA), sharex=True, sharey=True)
    for axes, (name, corpus) in zip(panels, CORPORA.items(), strict=True):
        rows = [row for row in read(folder / f"{name}-comparisons.csv") if row["metric"] == "log perplexity"]
        for offset, (opponent, marker) in zip((0.12, -0.12), MARKERS.items(), strict=True):
            chosen = {row["role"]: row for row in rows if row["opponent"] == opponent}
            means = [float(chosen[role]["mean"]) for role in ROLES]
            margins = [float(chosen[role]["ci_high"]) - mean for role, mean in zip(ROLES, means, strict=True)]
            places = [offset - index for index in range(len(ROLES))]
            axes.errorbar(
                means, places, xerr=margins, marker=marker, linestyle="none", capsize=3, label=f"minus {opponent}"
            )
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set(title=corpus, xlabel="log perplexity, lower is better", xticks=[-0.08, -0.04, 0, 0.04])
        axes.set(yticks=[0, -1, -2], yticklabels=ROLES, ylim=(-2.4, 0.4))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_values(folder: Path) -> Figure:
    """Draw each arm's perplexity divided by that of the dense model, by language."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    panels = figure.subplots(1, len(CORPORA), sharey=True)
    for axes, (name, corpus) in zip(panels, CORPORA.items(), strict=True):
        _draw_ratios(axes, [row for row in read(folder / f"{name}-values.csv") if row["task"] == "perplexity"])
        axes.set(title=corpus, yscale="log", yticks=[1, 2, 5, 10], yticklabels=["1", "2", "5", "10"])
    panels[0].set_ylabel("perplexity / dense")
    panels[0].legend(frameon=False, fontsize="small")
    return figure


def _draw_ratios(axes: Axes, rows: Sequence[Row]) -> None:
    dense = {row["language"]: float(row["value"]) for row in rows if row["arm"] == "dense"}
    for offset, (arm, (marker, fill)) in zip((-0.2, 0, 0.2, 0), ARMS.items(), strict=True):
        values = {row["language"]: float(row["value"]) for row in rows if row["arm"] == arm}
        places = [index + offset for index in range(len(dense))]
        ratios = [values[language] / dense[language] for language in dense]
        axes.plot(places, ratios, marker=marker, fillstyle=fill, linestyle="none", label=arm)
    axes.set_xticks(range(len(dense)), labels=list(dense))


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "real-study"
    target = Path(sys.argv[1])
    draw_differences(target).savefig(target / "differences.svg", metadata={"Date": None})
    draw_values(target).savefig(target / "perplexity.svg", metadata={"Date": None})
