"""Specifications of tables of the filled store."""

from pathlib import Path
from typing import Any

import yaml

from catalog.capabilities.tables.spec import RowSpec, TableSpec

ROWS = (
    RowSpec("dense model", {"dense": (True,)}),
    RowSpec("random", {"score": ("random",)}),
    RowSpec(
        "translation {demonstration_label}",
        {"set_kind": ("translation",), "score": ("wanda",), "propagation": ("dense",)},
    ),
)
FACTS = TableSpec("facts", "Facts", "facts", "accuracy", ROWS, macro="outside_english")


def write_spec(folder: Path, *tables: dict[str, Any]) -> Path:
    """Write a file of tables."""
    path = folder / "tables.yaml"
    path.write_text(yaml.safe_dump({"tables": list(tables)}), "utf-8")
    return path
