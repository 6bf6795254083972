"""`mlprune export`: write a variant as a Hugging Face model."""

from pathlib import Path
from typing import Annotated

import typer

from mlprune.errors import BadInputError
from mlprune.store.repair import quarantine_on_damage
from ray_jobs.cli.options import ModelOption, StoreOption, VariantArgument, echo, existing_store


def export(
    variant_id: VariantArgument,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
    smaller: Annotated[
        bool, typer.Option("--smaller", help="Cut out heads and neurons that are removed as a whole.")
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Multimodal checkpoint from which the base model was imported; its text part is replaced."),
    ] = None,
) -> None:
    """Write variants or results in a format that others read.

    Without --as, a variant becomes a Hugging Face model folder: safetensors, tokenizer and model card.

    \b
    Examples:
      mlprune export fr-en --out exported/ --store runs/
      mlprune export fr-en --into gemma-3-4b-it/ --out exported/ --store runs/
      mlprune export fr-en --as masks --out published/ --store runs/
      mlprune export --as csv --out exported/ --store runs/
    """
    from catalog.stored_names import find_variant  # noqa: PLC0415
    from mlprune.steps.export.export import export_variant  # noqa: PLC0415 - these load torch
    from mlprune.steps.export.multimodal import export_into_multimodal  # noqa: PLC0415
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415

    if into is not None and smaller:
        message = "a smaller text part does not fit into a multimodal checkpoint; give --into or --smaller"
        raise BadInputError(message, got="--into and --smaller")
    opened = existing_store(store, quarantine=True)
    variant_id = find_variant(opened, variant_id)
    base_model = model or find_base_model(opened, opened.require("variants", variant_id).parent("base_model"))
    with quarantine_on_damage(opened):
        if into is None:
            export_variant(opened, variant_id, base_model, out, smaller=smaller)
        else:
            export_into_multimodal(opened, variant_id, base_model, into, out)
    echo(str(out))


def patches(
    *,
    from_: Annotated[str, typer.Option("--from", help="Variant that is changed; dense is the base model.")],
    to: Annotated[str, typer.Option("--to", help="Variant that results.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
) -> None:
    """Write the values in which two variants differ, for an engine that changes weights in place.

    \b
    Examples:
      mlprune export --as patches --from dense --to fr-en --out patches/ --store runs/
      mlprune export --as patches --from fr-en --to sw-en --out patches/ --store runs/
    """
    from catalog.stored_names import find_variants  # noqa: PLC0415
    from mlprune.steps.export.patches import export_patches  # noqa: PLC0415 - these load torch
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415

    opened = existing_store(store, quarantine=True)
    variant_ids = [find_variants(opened, [name])[0] for name in (from_, to)]
    base_model = model or find_base_model(opened, opened.require("variants", variant_ids[0]).parent("base_model"))
    with quarantine_on_damage(opened):
        n_values = export_patches(opened, variant_ids, base_model, out)
    echo(f"{n_values:,} values change", err=True)
    echo(str(out))
