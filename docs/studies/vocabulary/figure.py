"""Draw the figure of docs/studies/README.md from curve.csv, as the report does.

python docs/studies/vocabulary/figure.py docs/studies/vocabulary
"""

import csv
import sys
from pathlib import Path

from catalog.capabilities.vocabulary.panels import vocabulary_panels
from catalog.report.figure_export import draw_sheet
from catalog.report.svg import drawing
from catalog.results import Row

NUMBERS = ("removed_weights", "cost", "cost_low", "cost_high")


def read_costs(path: Path) -> list[Row]:
    """Read the rows as `vocabulary_cost.sql` returns them."""
    model = {"base_model": "Gemma-3-270M", "base_model_id": "", "choice": "en fr sw"}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                **model,
                "variant_id": row["size"],
                "language": row["language"],
                "is_kept": row["is_kept"] == "True",
                "n": int(row["lines"]),
                "n_longer": 0,  # no sentence of FLORES is longer than the model's 32,768 tokens
                **{name: float(row[name]) for name in NUMBERS},
            }
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (group,) = vocabulary_panels(read_costs(target / "curve.csv"))
    with drawing():
        draw_sheet(group).savefig(target / "curve.svg", metadata={"Date": None})
