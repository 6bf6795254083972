"""Pin the current contract: `python -m tests.golden`. Run it only for a commit that is meant to change the contract."""

import tempfile
from pathlib import Path

from infra.pages.frozen import thawed
from tests.derived_recipe import derived_recipe
from tests.golden import contract
from tests.tiny_recipes import (
    baseline_recipe,
    finished_run,
    method_recipe,
    small_recipe,
    tiny_recipe,
    write_baseline_inputs,
    write_inputs,
)

FROZEN = ("demo", "study")


def main() -> None:
    """Write every pinned file."""
    with tempfile.TemporaryDirectory() as name:
        inputs = write_inputs(Path(name) / "inputs")
        runs = {
            "tiny": (inputs, tiny_recipe()),
            "small": (inputs, small_recipe()),
            "methods": (inputs, method_recipe()),
            "derived": (inputs, derived_recipe()),
            "baselines": (write_baseline_inputs(inputs, Path(name) / "baselines"), baseline_recipe()),
        }
        for recipe, (folder, value) in runs.items():
            store = finished_run(folder, value, name=recipe).store
            contract.write(recipe, {"arithmetic": contract.arithmetic(), "records": contract.store_contract(store)})
    for name in FROZEN:
        with thawed(name) as store:
            contract.write(f"frozen-{name}", contract.frozen_contract(store))
    contract.write("catalog", contract.catalog_contract())
    contract.write("commands", contract.command_contract())


if __name__ == "__main__":
    main()
