"""Write the generated pages of the documentation: `python -m infra.pages`."""

import argparse
import tempfile
from pathlib import Path

from infra.pages.frozen import archive_of, freeze, names, thawed
from infra.pages.recompute import recompute
from infra.pages.result_rows import FOLDER, ROWS, write_rows
from infra.pages.site import write_pages
from infra.pages.versions import freeze_version


def main() -> None:
    """Freeze or recompute the given stores, then write the pages that are out of date and print their paths."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    parser.add_argument(
        "--freeze",
        metavar="NAME=STORE",
        action="append",
        default=[],
        help="First archive the records of a finished store as docs/stores/NAME.tar.xz, for example demo=demo-store.",
    )
    parser.add_argument(
        "--freeze-version",
        metavar="VERSION=COMMIT",
        action="append",
        default=[],
        help="First archive a small store that the code of a commit writes as docs/stores/versions/VERSION.tar.xz.",
    )
    parser.add_argument(
        "--recompute",
        metavar="NAME",
        nargs="*",
        help="First compute the comparisons and answers of frozen stores again, of all stores if none is named.",
    )
    parser.add_argument(
        "--rows",
        action="store_true",
        help="First write the rows of docs/results/rows/ that come from frozen stores again.",
    )
    arguments = parser.parse_args()
    for pair in arguments.freeze:
        name, _, store = pair.partition("=")
        freeze(Path(store), archive_of(name))
    for pair in arguments.freeze_version:
        version, _, commit = pair.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            freeze_version(version, commit, Path(folder))
    if arguments.recompute is not None:
        for name in arguments.recompute or names():
            with thawed(name) as thawed_store:
                recompute(thawed_store)
                freeze(Path(str(thawed_store.local_root)), archive_of(name))
    if arguments.rows:
        for name in dict.fromkeys(row.store for row in ROWS.values()):
            with thawed(name) as thawed_store:
                write_rows(name, str(thawed_store.local_root), FOLDER)
    for path in write_pages():
        print(path)  # noqa: T201 - this is a command line


main()
