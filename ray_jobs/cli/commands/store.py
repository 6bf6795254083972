"""The commands that look after a store as a whole: compact, merge, gc. What they do is in `mlprune`."""

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    str, typer.Option("--store", help="Folder or object-store URI that holds records and artefacts.")
]
SHOWN = 50
"""Files that `gc` names one by one."""

store_app = typer.Typer(
    no_args_is_help=True, help="Look after the files of a store.\n\nExample: mlprune store compact --store runs/"
)


def register(app: typer.Typer, catalog_app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(store_app, name="store")
    app.command()(gc)
    catalog_app.command()(merge)
    catalog_app.command()(export)
    catalog_app.command()(mlflow)


@store_app.command()
def compact(store: StoreOption) -> None:
    """Put the record files of a store into a few segments; runs may be at work in it.

    Example: mlprune store compact --store runs/
    """
    from mlprune.store.compaction import compact as compact_store  # noqa: PLC0415 - so that --help is quick

    done = compact_store(_existing(store))
    typer.echo(f"{done.n_records} record files became rows, {done.n_segments} segments were written")


def merge(
    other: Annotated[str, typer.Argument(help="The store to take from: a folder or an object-store URI.")],
    store: StoreOption,
) -> None:
    """Take all records and artefacts of another store, verified by their hashes; ends 1 if some are damaged.

    Example: mlprune catalog merge /mnt/laptop/runs --store runs/
    """
    from catalog.store import Catalog  # noqa: PLC0415
    from mlprune.store.merge import merge as merge_stores  # noqa: PLC0415
    from mlprune.store.store import Store  # noqa: PLC0415

    target = Store(store)
    done = merge_stores(_existing(other), target)
    with Catalog.open(target) as catalog:
        catalog.fold()
    typer.echo(f"{done.n_records} records came with {done.n_files} files, {done.n_known} were known")
    for path in done.refused:
        typer.echo(f"not taken, damaged or in contradiction: {path}")
    if done.refused:
        raise typer.Exit(1)


def export(
    store: StoreOption,
    to: Annotated[Path, typer.Option("--to", help="Folder to write; must not exist or be empty.")],
    format_: Annotated[str, typer.Option("--format", help="parquet, csv or arrow.")] = "parquet",
    only: Annotated[list[str] | None, typer.Option(help="A table or view; all of them if none is named.")] = None,
) -> None:
    """Write the tables and views of the catalog as files, with the id of the snapshot they are.

    Example: mlprune catalog export --store runs/ --to export/ --format parquet
    """
    from catalog.store import Catalog, export_catalog  # noqa: PLC0415

    with Catalog.open(_existing(store)) as catalog:
        catalog.fold()
        done = export_catalog(catalog, to, format=format_, only=only or ())
    typer.echo(f"{len(done.n_rows)} files, {sum(done.n_rows.values())} rows, snapshot {done.snapshot_id}")


def mlflow(
    store: StoreOption,
    tracking_uri: Annotated[str, typer.Option(help="Where MLflow keeps runs: a server, a database, a folder.")],
    experiment: Annotated[str, typer.Option(help="Name of the experiment, made if there is none.")] = "mlprune",
) -> None:
    """Send every variant that a recipe names to MLflow as a run, with settings and metrics; needs mlprune[mlflow].

    Example: mlprune catalog mlflow --store runs/ --tracking-uri http://tracking:5000
    """
    from catalog.store import Catalog  # noqa: PLC0415
    from mlprune.errors import BadInputError  # noqa: PLC0415

    try:
        from catalog.mlflow_sink import send_to_mlflow  # noqa: PLC0415
    except ImportError as err:
        raise BadInputError("MLflow is not installed", expected="pip install 'mlprune[mlflow]'", got=str(err)) from err
    with Catalog.open(_existing(store)) as catalog:
        catalog.fold()
        n_sent = send_to_mlflow(catalog, tracking_uri=tracking_uri, experiment=experiment)
    typer.echo(f"{n_sent} variants sent to {tracking_uri}")


def gc(
    store: StoreOption,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove the files; without it they are only listed.")
    ] = False,
    min_age_hours: Annotated[
        float, typer.Option(min=0, help="Leave files alone that were written in so many hours.")
    ] = 24.0,
) -> None:
    """List what no record reaches, or remove it. What a running job may still need is left alone.

    Scratch folders that killed processes left on this machine are listed, and removed, with it.

    Example: mlprune gc --store runs/ --delete
    """
    from mlprune.store.garbage import find_garbage, remove_garbage  # noqa: PLC0415
    from mlprune.store.scratch import abandoned_folders, remove_abandoned  # noqa: PLC0415

    opened = _existing(store)
    garbage = find_garbage(opened, min_age_s=min_age_hours * 3600)
    for one in garbage.files[:SHOWN]:
        typer.echo(f"{one.n_bytes:12} {one.path}")
    if len(garbage.files) > SHOWN:
        typer.echo(f"... and {len(garbage.files) - SHOWN} more")
    n_removed = remove_garbage(opened, garbage) if delete and garbage.files else 0
    words = f"{n_removed} of {len(garbage.files)} files removed" if delete else f"{len(garbage.files)} files"
    typer.echo(f"{words}, {garbage.n_bytes} bytes; {len(garbage.young)} more are too young to tell")
    for folder in abandoned_folders():
        removed = " removed" if delete and remove_abandoned(folder) else ""
        typer.echo(f"{folder.n_bytes:12} {folder.path}: scratch of a process that has ended{removed}")


def _existing(uri: str):  # type: ignore[no-untyped-def]  # Store is imported late
    """A store that is there.

    Raises:
        StoreError: it is not.
    """
    from mlprune.errors import StoreError  # noqa: PLC0415
    from mlprune.store.store import Store  # noqa: PLC0415

    store = Store(uri)
    if not store.list("records"):
        raise StoreError("the store has no records", store=uri, expected="a store that a run wrote to", got="none")
    return store
