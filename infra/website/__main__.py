"""Build the web site of the documentation, and add it to a folder of versions: `python -m infra.website`."""

import argparse
import sys
from pathlib import Path

from infra.website.build import BUILT, build_site
from infra.website.versions import add_version, current_version
from mlprune.errors import BadInputError

BAD_INPUT = 2


def main() -> int:
    """Build the site, print where it is, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.website", description=__doc__)
    parser.add_argument("--source-url", help="Address of the repository's files at this version, for links to folders.")
    parser.add_argument(
        "--versions", type=Path, metavar="FOLDER", help="Also add the site to this folder of versions, for publishing."
    )
    arguments = parser.parse_args()
    try:
        html = build_site(BUILT, source_url=arguments.source_url)
        if arguments.versions:
            html = add_version(html, arguments.versions, version=current_version())
    except BadInputError as err:
        output = err.context.pop("output", "")
        sys.stderr.write(f"{output}infra.website: {err}\n")
        return BAD_INPUT
    sys.stdout.write(f"{html / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
