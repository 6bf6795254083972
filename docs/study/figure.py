"""Draw the figure of docs/study.md: accuracy over sparsity, one line per text, from the CSV of docs/study/curve.sql.

python docs/study/figure.py curve.csv swahili.svg
"""

import csv
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

STYLES = {"sw-en": ("o", "-"), "sw": ("s", "--"), "en": ("^", ":"), "magnitude": ("D", "-"), "random": ("x", "-.")}
"""Text -> marker and line, so that texts differ without colour."""


def draw(rows: list[dict[str, str]], out: Path) -> None:
    """Draw the curves, each from the dense model at sparsity 0; bars are the lowest and highest of the seeds."""
    mpl.rcParams["svg.hashsalt"] = "study"
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for text, (marker, line) in STYLES.items():
        points = [row for row in rows if row["text"] == text]
        sparsity = [0.0, *(float(row["sparsity"]) for row in points)]
        accuracy = [float(points[0]["dense"]), *(float(row["accuracy"]) for row in points)]
        below = [0.0, *(float(row["accuracy"]) - float(row["lowest"]) for row in points)]
        above = [0.0, *(float(row["highest"]) - float(row["accuracy"]) for row in points)]
        axes.errorbar(sparsity, accuracy, yerr=[below, above], marker=marker, linestyle=line, capsize=3, label=text)
    axes.set(xlabel="sparsity", ylabel="accuracy in Swahili, test half", ylim=(0, 0.75))
    axes.legend(title="weights chosen by", frameon=False)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as file:
        draw(list(csv.DictReader(file)), Path(sys.argv[2]))
