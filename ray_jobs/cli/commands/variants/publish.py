"""`mlprune publish` and `mlprune apply`: share variants without the weights of their base model."""

from pathlib import Path
from typing import Annotated

import typer

from ray_jobs.cli.options import ModelOption, StoreOption, VariantsArgument, echo, existing_store


def publish(
    variants: VariantsArgument,
    *,
    to: Annotated[Path, typer.Option("--to", help="Folder to make; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
) -> None:
    """Write variants as folders that can be shared: masks of one bit per weight, new values, hashes and metrics.

    Several variants become folders named by their ids, with an index. Upload a folder with `hf upload`.

    \b
    Examples:
      mlprune publish fr-en --to published/ --store runs/
      mlprune publish fr-en sw-en --to published/ --store runs/
    """
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415 - commands import lazily
    from mlprune.steps.publish.publish import publish_variants  # noqa: PLC0415
    from mlprune.steps.variants.variant_text import find_variants  # noqa: PLC0415
    from mlprune.store.repair import quarantine_on_damage  # noqa: PLC0415
    from ray_jobs.cli.commands.variants.publications import publications_of  # noqa: PLC0415

    opened = existing_store(store, quarantine=True)
    variant_ids = find_variants(opened, variants)
    base_ids = {opened.require("variants", variant_id).parent("base_model"): None for variant_id in variant_ids}
    models = {base_id: model or find_base_model(opened, base_id) for base_id in base_ids}
    publications = publications_of(opened, variant_ids)
    with quarantine_on_damage(opened):
        folders = publish_variants(opened, publications, models, to)
    for folder in folders:
        share = folder.n_base_bytes / folder.n_bytes
        size = f"{folder.n_bytes / 1e6:.1f} MB, 1/{share:.1f} of the base model's weights"
        echo(f"{to / folder.name}: {folder.label}, {size}", err=True)
    echo(str(to))


def apply(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder or hub id of the base model.")],
    published: Annotated[Path, typer.Argument(help="Folder of one published variant.")],
    out_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; it must be empty or not exist.")],
) -> None:
    """Make the pruned model from its base model and a published variant.

    Every tensor is compared with its published SHA-256, before and after; another base model is refused.

    Example: mlprune apply facebook/xglm-564M published/ pruned/
    """
    from mlprune.steps.publish.apply import apply_published  # noqa: PLC0415 - commands import lazily

    apply_published(base, published, out_dir)
    echo(str(out_dir))
