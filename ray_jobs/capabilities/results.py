"""`mlprune export --as row`: the results of one method in every language, as a row of the table of methods."""

from pathlib import Path
from typing import Annotated

import typer

from catalog.store import Catalog
from mlprune.errors import BadInputError
from ray_jobs.cli.options import StoreOption, VariantsArgument, echo, existing_store, require_output


def export_row(
    variants: VariantsArgument,
    *,
    out: Annotated[Path, typer.Option(help="File to write; one that exists is replaced.")],
    store: StoreOption,
    task: Annotated[str | None, typer.Option(help="Task, if there are several.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric, if there are several.")] = None,
    split: Annotated[str, typer.Option(help="Split.")] = "test",
    scoring_rule: Annotated[str | None, typer.Option(help="Scoring rule, if there are several.")] = None,
    protocol_id: Annotated[str | None, typer.Option(help="Protocol, if there are several.")] = None,
) -> None:
    """Write the results of one method in every language as a small file: a row of the table of methods.

    The row is about all variants that differ from the given ones in nothing but seeds. A language pays if every one of
    them is significantly worse than the dense model, corrected over the family of its comparison.

    \b
    Examples:
      mlprune export wanda-on-mix --as row --out wanda-on-mix.json --store runs/
      mlprune export fr-en --as row --task facts --metric accuracy --out fr-en.json --store runs/
    """
    from catalog.capabilities.results.method_row import method_row  # noqa: PLC0415 - these load pydantic
    from catalog.stored_names import find_variants  # noqa: PLC0415
    from mlprune.capabilities.results.row import write_row  # noqa: PLC0415

    require_output(out, is_folder=False)
    opened = existing_store(store)
    variant_ids = find_variants(opened, variants)
    given = {"task": task, "metric": metric, "split": split, "scoring_rule": scoring_rule, "protocol_id": protocol_id}
    with Catalog.open(opened) as catalog:
        catalog.fold()
        row = method_row(catalog, variant_ids, wanted={name: text for name, text in given.items() if text is not None})
    try:
        write_row(row, out)
    except OSError as err:
        raise BadInputError("the row cannot be written", path=str(out), reason=err.strerror or str(err)) from err
    paying = ", ".join(row.paying) or "no language"
    echo(f"{row.method}: {len(row.languages)} languages, significant losses: {paying}", err=True)
    echo(str(out))
