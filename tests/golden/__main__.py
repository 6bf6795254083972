"""Pin the current contract: `python -m tests.golden`. Run it only for a commit that is meant to change the contract.

`--exact write FOLDER` and `--exact compare FOLDER` compare the bytes of all records and files of the golden runs before
and after a change, on one machine.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.store import Catalog
from infra.pages.frozen import thawed
from mlprune.store.store import Store
from tests.catalog.method_data import add_methods
from tests.catalog.query_answers import all_answers
from tests.catalog.report import drawn
from tests.catalog_data import fill_store
from tests.derived_recipe import derived_recipe
from tests.golden import contract
from tests.recipe_sections import accepted_values, valid_entries
from tests.tiny_recipes import (
    baseline_recipe,
    finished_run,
    method_recipe,
    profile_recipe,
    small_recipe,
    tiny_recipe,
    write_baseline_inputs,
    write_inputs,
)

PINNED = {
    "tiny": tiny_recipe,
    "small": small_recipe,
    "methods": method_recipe,
    "derived": derived_recipe,
    "baselines": baseline_recipe,
}
ONLY_EXACT = {"profiles": profile_recipe}
"""Recipes whose bytes are compared on one machine in addition."""
FROZEN = ("demo", "study")


def main() -> None:
    """Write every pinned file, or write or compare the bytes of this machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--exact", nargs=2, metavar=("write|compare", "FOLDER"), help="bytes of runs on this machine")
    exact = parser.parse_args().exact
    if exact is None:
        pin()
    elif exact[0] not in ("write", "compare"):
        parser.error(f"expected --exact write FOLDER or --exact compare FOLDER, got {exact[0]!r}")
    elif exact[0] == "write":
        write_exact(Path(exact[1]))
    elif changed := changed_files(Path(exact[1])):
        sys.exit("\n".join([*changed, f"{len(changed)} files differ"]))
    else:
        print("all records and artefacts have the same bytes")


def pin() -> None:
    """Write every pinned file."""
    for name, store in finished_stores(PINNED):
        contract.write_run(name, contract.run_contract(store))
    for name in FROZEN:
        with thawed(name) as store, Catalog.in_memory(store) as catalog:
            catalog.fold()
            contract.write(f"frozen-{name}", contract.frozen_contract(catalog))
            contract.write_run(f"answers-{name}", contract.answer_contract(all_answers(catalog)))
    with tempfile.TemporaryDirectory() as folder:
        fill_store(store := Store(Path(folder)))
        add_methods(store)
        with Catalog.in_memory(store) as catalog:
            contract.write_run("answers", contract.answer_contract(all_answers(catalog)))
            drawn.pin(catalog)
    contract.write("catalog", contract.catalog_contract())
    contract.write("commands", contract.command_contract())
    contract.write_run("recipe", {name: accepted_values(model, entry) for name, model, entry in valid_entries()})


def finished_stores(recipes: Mapping[str, Callable[[], dict[str, Any]]]) -> Iterator[tuple[str, Store]]:
    """Run some recipes in a temporary folder; yield name and store of each."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder) / "inputs")
        for name, recipe in recipes.items():
            own = write_baseline_inputs(inputs, Path(folder) / name) if name == "baselines" else inputs
            yield name, finished_run(own, recipe(), name=name).store


def write_exact(folder: Path) -> None:
    """Write path -> SHA-256 of the results of every run to `exact.json` in a folder."""
    hashes = {name: contract.exact_contract(store) for name, store in finished_stores(PINNED | ONLY_EXACT)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "exact.json").write_text(json.dumps(hashes, indent=1) + "\n", "utf-8")


def changed_files(folder: Path) -> list[str]:
    """Run every recipe again and list the results that are new, missing or different from those in a folder."""
    before = json.loads((folder / "exact.json").read_text("utf-8"))
    changed = []
    for name, store in finished_stores(PINNED | ONLY_EXACT):
        after = contract.exact_contract(store)
        paths = sorted(before[name].keys() | after.keys())
        changed += [f"{name}: {path}" for path in paths if before[name].get(path) != after.get(path)]
    return changed


if __name__ == "__main__":
    main()
