"""`mlprune export` of variants and sets, and `mlprune apply`: folders, patches, masks, and importance matrices."""

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from catalog.results import QueryResult, to_json
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.json_values import JsonObject, as_str
from mlprune.store.repair import quarantine_on_damage
from mlprune.store.run_log_files import recipe_of_run
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope
from ray_jobs.cli.known_words import complete_one_of
from ray_jobs.cli.options import (
    ModelOption,
    StoreOption,
    VariantArgument,
    VariantsArgument,
    echo,
    existing_store,
    require_output,
)

if TYPE_CHECKING:
    from mlprune.capabilities.publishing.publish import Publication


def export(
    variant_id: VariantArgument,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
    smaller: Annotated[
        bool, typer.Option("--smaller", help="Cut out heads and neurons that are removed as a whole.")
    ] = False,
    vocabulary_multiple: Annotated[
        int, typer.Option(min=1, help="Pad the rows of a smaller vocabulary to a multiple of this number.")
    ] = 1,
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
    from mlprune.capabilities.publishing.export import export_variant  # noqa: PLC0415 - these load torch
    from mlprune.capabilities.publishing.multimodal import export_into_multimodal  # noqa: PLC0415
    from mlprune.steps.variants.calibration_tokens import calibration_tokens, token_line  # noqa: PLC0415

    if into is not None and smaller:
        message = "a smaller text part does not fit into a multimodal checkpoint; give --into or --smaller"
        raise BadInputError(message, got="--into and --smaller")
    opened, variant_id, base_model = _opened_variant(store, variant_id, model)
    with quarantine_on_damage(opened):
        if into is None:
            export_variant(
                opened, variant_id, base_model, out, smaller=smaller, vocabulary_multiple=vocabulary_multiple
            )
        else:
            export_into_multimodal(opened, variant_id, base_model, into, out)
        echo(token_line(calibration_tokens(opened, opened.require("variants", variant_id))), err=True)
    echo(str(out))


def packed(
    variant_id: VariantArgument,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
    smaller: Annotated[
        bool, typer.Option("--smaller", help="Cut out heads and neurons that are removed as a whole.")
    ] = False,
    vocabulary_multiple: Annotated[
        int, typer.Option(min=1, help="Pad the rows of a smaller vocabulary to a multiple of this number.")
    ] = 1,
) -> None:
    """Write a variant with quantise as a model folder with packed codes, for transformers.

    \b
    Examples:
      mlprune export fr-en --as compressed_tensors --out packed/ --store runs/
      mlprune export fewer-neurons --smaller --as compressed_tensors --out packed/ --store runs/
    """
    from mlprune.capabilities.publishing.export import export_packed  # noqa: PLC0415 - these load torch
    from mlprune.capabilities.publishing.packed_folder import packed_text  # noqa: PLC0415

    opened, variant_id, base_model = _opened_variant(store, variant_id, model)
    with quarantine_on_damage(opened):
        written = export_packed(
            opened, variant_id, base_model, out, smaller=smaller, vocabulary_multiple=vocabulary_multiple
        )
    echo(packed_text(written).strip(), err=True)
    echo(str(out))


def _opened_variant(store: str, name: str, model: Path | None) -> tuple[Store, str, Path]:
    """Open a store, and return it with the id of one of its variants and the folder of the base model."""
    from catalog.stored_names import find_variant  # noqa: PLC0415
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415 - loads torch

    opened = existing_store(store, quarantine=True)
    variant_id = find_variant(opened, name)
    return (
        opened,
        variant_id,
        model or find_base_model(opened, opened.require("variants", variant_id).parent("base_model")),
    )


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
    from mlprune.capabilities.publishing.patches import export_patches  # noqa: PLC0415 - these load torch
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415

    opened = existing_store(store, quarantine=True)
    variant_ids = [find_variants(opened, [name])[0] for name in (from_, to)]
    base_model = model or find_base_model(opened, opened.require("variants", variant_ids[0]).parent("base_model"))
    with quarantine_on_damage(opened):
        n_values = export_patches(opened, variant_ids, base_model, out)
    echo(f"{n_values:,} values change", err=True)
    echo(str(out))


def publish(
    variants: VariantsArgument,
    *,
    to: Annotated[Path, typer.Option("--out", help="Folder to make; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
) -> None:
    """Write variants as folders that can be shared: masks of one bit per weight, new values, hashes and metrics.

    Several variants become folders named by their ids, with an index. Upload a folder with `hf upload`.

    \b
    Examples:
      mlprune export fr-en --as masks --out published/ --store runs/
      mlprune export fr-en sw-en --as masks --out published/ --store runs/
    """
    from catalog.stored_names import find_variants  # noqa: PLC0415
    from mlprune.capabilities.publishing.publish import publish_variants  # noqa: PLC0415
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415 - these load torch

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


def imatrix(
    sets: Annotated[
        list[str],
        typer.Argument(
            help="Labels of demonstration sets, names that a recipe gives them, ids, or unique beginnings of these."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="File to write; one that exists is replaced.")],
    store: StoreOption,
    model: ModelOption = None,
    shares: Annotated[
        list[float] | None,
        typer.Option(
            "--share", metavar="N", help="Weight of a set, in any unit; one per set, in order. Default: equal."
        ),
    ] = None,
    tokens: Annotated[
        str,
        typer.Option(help="Tokens that count.", autocompletion=complete_one_of(*get_args(TokenScope))),
    ] = "all",
) -> None:
    """Write the importance matrix of demonstration sets for the quantiser of llama.cpp. Needs the extra gguf.

    The sums come from stored activation statistics of the base model, which no option runs again.

    \b
    Examples:
      mlprune export sw --as imatrix --out sw.imatrix.gguf --store runs/
      mlprune export sw en --as imatrix --share 3 --share 1 --out mix.imatrix.gguf --store runs/
    """
    from catalog.stored_names import find_sets  # noqa: PLC0415
    from mlprune.capabilities.publishing.imatrix import export_imatrix  # noqa: PLC0415 - these load torch
    from mlprune.capabilities.publishing.importance import base_model_of, given_sets, token_scope_of  # noqa: PLC0415
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415

    require_output(out, is_folder=False)
    token_scope = token_scope_of(tokens)
    opened = existing_store(store, quarantine=True)
    given = given_sets(find_sets(opened, sets), shares or ())
    base_model = model or find_base_model(opened, base_model_of(opened, given, token_scope))
    with quarantine_on_damage(opened):
        written = export_imatrix(opened, given, base_model, out, token_scope=token_scope)
    datasets = "; ".join(written.header.datasets)
    size = f"{written.n_matrices} matrices, {written.n_bytes / 1e6:.2f} MB, {written.n_tokens:,} tokens"
    echo(f"importance matrix of {datasets}: {size}", err=True)
    echo(f"for llama.cpp: llama-quantize --imatrix {shlex.quote(str(out))} MODEL.gguf QUANTISED.gguf Q4_0", err=True)
    echo(str(out))


def apply(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder or hub id of the base model.")],
    published: Annotated[Path, typer.Argument(help="Folder of one published variant.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder to make; it must be empty or not exist.")],
) -> None:
    """Make a pruned model from its base model and published masks.

    Every tensor is compared with its published SHA-256, before and after; another base model is refused.

    Example: mlprune apply facebook/xglm-564M published/ --out pruned/
    """
    from mlprune.capabilities.publishing.apply import apply_published  # noqa: PLC0415 - loads torch

    apply_published(base, published, out)
    echo(str(out))


def publications_of(store: Store, variant_ids: Sequence[str]) -> "list[Publication]":
    """Describe variants. The catalog is updated first."""
    from catalog.stored_names import data_set_commits  # noqa: PLC0415 - loads torch

    with Catalog.open(store) as catalog:
        catalog.fold()
        data_sets = data_set_commits(catalog)
        return [_publication(catalog, store, variant_id, data_sets=data_sets) for variant_id in variant_ids]


def _publication(catalog: Catalog, store: Store, variant_id: str, *, data_sets: Mapping[str, str]) -> "Publication":
    from mlprune.capabilities.publishing.publish import Publication  # noqa: PLC0415 - loads torch

    of_variant = {"variant_id": variant_id}
    label = catalog.query(statement("publish", "label"), of_variant)[0]["label"]
    metrics = _rows(catalog.select(statement("publish", "metrics"), of_variant))
    origins = _rows(catalog.select(statement("publish", "origins"), {"evaluation_id": variant_id}))
    return Publication(
        variant_id,
        label,
        metrics=metrics,
        environments=_environments(catalog, origins),
        recipe=_recipe(store, origins),
        data_sets=data_sets,
    )


def _rows(result: QueryResult) -> list[JsonObject]:
    """Return rows as JSON objects: times as text, numbers that are not finite as None."""
    rows: list[JsonObject] = json.loads(to_json(result))
    return rows


def _environments(catalog: Catalog, origins: Sequence[JsonObject]) -> list[JsonObject]:
    """Return each environment once, with its packages and the records that were made in it."""
    made: dict[str, list[JsonObject]] = defaultdict(list)
    for row in origins:
        if row["environment_id"] is not None:
            made[as_str(row["environment_id"])].append(row)
    query = statement("publish", "packages")
    names = ("mlprune", "git_commit", "is_modified", "code_sha256", "python", "system", "processor", "instructions")
    return [
        {"environment_id": environment_id}
        | {name: rows[0][name] for name in (*names, "accelerators")}
        | {"packages": [row["requirement"] for row in catalog.query(query, {"environment_id": environment_id})]}
        | {"made": [f"{row['kind']}/{row['id']}" for row in rows]}
        for environment_id, rows in made.items()
    ]


def _recipe(store: Store, origins: Sequence[JsonObject]) -> str | None:
    """Return the recipe of the run that made the variant, or else what it was made from; None if no run file has it.

    Args:
        origins: records from the variant on, each with the last run that made it.
    """
    run_ids = dict.fromkeys(as_str(row["run_id"]) for row in origins if row["run_id"] is not None)
    texts = (recipe_of_run(store, run_id) for run_id in run_ids)
    return next((text for text in texts if text is not None), None)
