"""`mlprune check variant`: rebuild a variant's masks and compare them with its record."""

import typer

from mlprune.methods.plugins import provide_file
from mlprune.store.repair import quarantine_on_damage
from ray_jobs.cli.options import AllowPluginsOption, ModelOption, StoreOption, VariantArgument, echo, existing_store


def verify(
    variant_id: VariantArgument,
    *,
    store: StoreOption,
    model: ModelOption = None,
    allow_plugins: AllowPluginsOption = None,
) -> None:
    """Rebuild a variant's masks and compare them with its record.

    They are made from the stored statistics, and their hashes are compared. The model is not run. The exit code is 1 if
    the masks differ.

    Example: mlprune check variant 0f3a... --store runs/
    """
    from catalog.stored_names import find_variant  # noqa: PLC0415
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415 - these load torch
    from mlprune.steps.rescore.verify import verify_variant  # noqa: PLC0415

    for path in allow_plugins or ():
        provide_file(path)
    opened = existing_store(store, quarantine=True)
    record = opened.require("variants", find_variant(opened, variant_id))
    with quarantine_on_damage(opened):
        result = verify_variant(opened, record, model or find_base_model(opened, record.parent("base_model")))
    echo(f"{'equal' if result.is_equal else 'different'}: record {result.expected}, rebuilt {result.rebuilt}")
    if not result.is_equal:
        raise typer.Exit(1)
