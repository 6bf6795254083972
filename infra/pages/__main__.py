"""Write the generated pages of the documentation: `python -m infra.pages`."""

import argparse
from pathlib import Path

from infra.pages.frozen import archive_of, freeze
from infra.pages.site import write_pages


def main() -> None:
    """Freeze the given stores, then write the pages that are out of date and print their paths."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    parser.add_argument(
        "--freeze",
        metavar="NAME=STORE",
        action="append",
        default=[],
        help="First archive the records of a finished store as docs/stores/NAME.tar.xz, for example demo=demo-store.",
    )
    for pair in parser.parse_args().freeze:
        name, _, store = pair.partition("=")
        freeze(Path(store), archive_of(name))
    for path in write_pages():
        print(path)  # noqa: T201 - this is a command line


main()
