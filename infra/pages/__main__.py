"""Write the generated pages of the documentation: `python -m infra.pages`."""

import argparse
from pathlib import Path

from infra.pages.frozen import archive_of, freeze
from infra.pages.site import write_pages


def main() -> None:
    """Freeze the stores that are named, then write what is not as it should be; says which pages those were."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    parser.add_argument(
        "--freeze",
        metavar="NAME=STORE",
        action="append",
        default=[],
        help="First keep the records of a finished store as docs/stores/NAME.tar.xz, demo=demo-store for instance.",
    )
    for pair in parser.parse_args().freeze:
        name, _, store = pair.partition("=")
        freeze(Path(store), archive_of(name))
    for path in write_pages():
        print(path)  # noqa: T201 - this is a command line


main()
