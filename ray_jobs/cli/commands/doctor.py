"""`mlprune check machine`: what this machine, Ray, the GPUs, a store and a recipe lack."""

from pathlib import Path
from typing import Annotated

import typer

from mlprune.errors import BadInputError, unknown
from ray_jobs.cli.known_words import complete_one_of
from ray_jobs.cli.options import STORE_VARIABLE, AddressOption, AllowPluginsOption, echo, show_start
from ray_jobs.doctor.findings import is_healthy, to_json, to_text
from ray_jobs.doctor.ray_cluster import examine_ray

FORMATS = ("table", "json")


def doctor(
    *,
    store: Annotated[
        str | None, typer.Option("--store", envvar=STORE_VARIABLE, help="Also examine this store.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Also examine what this recipe needs.")] = None,
    address: AddressOption = "local",
    allow_plugins: AllowPluginsOption = None,
    format_: Annotated[
        str, typer.Option("--format", help="table for people, or json.", autocompletion=complete_one_of(*FORMATS))
    ] = "table",
) -> None:
    """Say what this machine, Ray, a store and a recipe lack.

    Nothing is changed. A line says ok, warning (works with limits) or missing (does not work), and the command that
    helps. The exit code is 1 if
    something is missing.

    \b
    Examples:
      mlprune check machine
      mlprune check machine --store runs/ --recipe recipe.yaml
      mlprune check machine --address ray://head:10001 --format json
    """
    if format_ not in FORMATS:
        raise unknown("format", format_, FORMATS, error=BadInputError, option="--format")
    show_start("examining this machine")
    from ray_jobs.doctor.machine import examine_gpus, examine_machine  # noqa: PLC0415 - loads torch

    findings = [*examine_machine(), *examine_gpus(), *examine_ray(address)]
    if store is not None:
        from ray_jobs.doctor.store import examine_store  # noqa: PLC0415 - loads torch

        findings += examine_store(store)
    if recipe is not None:
        from ray_jobs.doctor.store import examine_recipe  # noqa: PLC0415 - loads torch

        used_store = store or "./runs"
        findings += examine_recipe(
            recipe, store_uri=used_store, address=address, allowed_plugins=tuple(allow_plugins or ())
        )
    echo(to_json(findings) if format_ == "json" else to_text(findings))
    if not is_healthy(findings):
        raise typer.Exit(1)
