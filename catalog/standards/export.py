"""Write the results of a store in the formats of others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from catalog.standards.evaluated import evaluated_variants
from catalog.standards.evaluation_logs import write_evaluation_logs
from catalog.standards.hub_results import write_hub_results
from catalog.standards.request import Request, ResultsExport, Writer
from catalog.store import Catalog
from mlprune.atomic import replacing
from mlprune.errors import BadInputError, unknown


def export_results(
    catalog: Catalog,
    folder: Path,
    *,
    format: str,  # noqa: A002
    request: Request,
    variant_ids: Sequence[str] = (),
) -> ResultsExport:
    """Write a folder with the results of variants; it appears as a whole.

    Args:
        folder: folder to create; if it exists, it must be empty.
        format: a key of `FORMATS`.
        variant_ids: all evaluated variants if empty.
    Raises:
        BadInputError: there is no such format, the folder is not empty or cannot be written, or there are no results
            to write.
        UnreadableFileError: predictions are missing or damaged.
    """
    if format not in FORMATS:
        raise unknown("format of results", format, tuple(FORMATS), error=BadInputError, option="--format")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInputError("the folder is not empty", path=str(folder), expected="a new or empty folder")
    variants = list(evaluated_variants(catalog, variant_ids))
    try:
        with replacing(folder) as temporary:
            temporary.mkdir()
            done = FORMATS[format](catalog, variants, temporary, request)
            if not done.n_files:
                reasons = ", ".join(f"{n} {reason}" for reason, n in done.left_out.items()) or "nothing is evaluated"
                raise BadInputError("there are no results to write", format=format, got=reasons)
    except OSError as err:
        raise BadInputError("the results cannot be written", path=str(folder), reason=err.strerror or str(err)) from err
    return done


FORMATS: Mapping[str, Writer] = {"every_eval_ever": write_evaluation_logs, "hub": write_hub_results}
"""Format -> function that writes it to a folder."""
