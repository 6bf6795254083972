"""What every exhibit of the report shows of a catalog, as plain values that are pinned in `drawn.json`."""

import json
from pathlib import Path
from typing import Any

from catalog.report.exhibits import Grid, Group, Panel
from catalog.report.figures import EXAMPLES, FIGURES, TABLES, run_exhibit
from catalog.report.query_results import Source
from catalog.store import Catalog
from mlprune.hashing import canonical_json, digest
from tests.golden.contract import file_contract

PINNED = Path(__file__).with_name("drawn.json")


def drawn_contract(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Exhibit -> its rows like a file of a run, and the texts of each of its groups of panels, hashed."""
    files: dict[str, Any] = {}
    for exhibit in (*FIGURES, *EXAMPLES, *TABLES):
        for place, source in enumerate(run_exhibit(catalog, exhibit)):
            files[f"{exhibit.anchor} {place}"] = file_contract(_columns(source))
            for number, group in enumerate(exhibit.draw(source.rows) if exhibit.draw else ()):
                files[f"{exhibit.anchor} {place}: {number} {group.title}"] = [digest(_texts(group))[:16], {}]
    return {"records": {}, "files": files, "masks": {}}


def pinned() -> Any:
    """Read the pinned value."""
    return json.loads(PINNED.read_text("utf-8"))


def pin(catalog: Catalog) -> None:
    """Pin what the exhibits show, one exhibit or group of panels per line."""
    lines = (f"{json.dumps(name)}: {canonical_json(one)}" for name, one in drawn_contract(catalog)["files"].items())
    PINNED.write_text('{"records": {}, "masks": {}, "files": {\n' + ",\n".join(sorted(lines)) + "}}\n", "utf-8")


def _columns(source: Source) -> dict[str, list[Any]]:
    rows = [[row[column] for column in source.columns] for row in source.rows]
    columns = zip(*rows, strict=True) if rows else [()] * len(source.columns)
    return {
        name: [value if isinstance(value, int | float | str | list | None) else str(value) for value in values]
        for name, values in zip(source.columns, columns, strict=True)
    }


def _texts(group: Group) -> list[Any]:
    legend = [[entry.label, entry.colour, entry.marker] for entry in group.legend]
    examples = [repr(one) for one in (*group.examples, *group.texts)]
    return [group.title, group.note, legend, [_texts_of_panel(panel) for panel in group.panels], examples]


def _texts_of_panel(panel: Panel | Grid) -> list[Any]:
    if isinstance(panel, Grid):
        cells = [[*place, text] for place, text in sorted(panel.texts.items())]
        return [panel.title, panel.label, panel.rows, panel.columns, cells]
    return [panel.label]
