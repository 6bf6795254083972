"""The page of results: the headline numbers with the commands that print them."""

from collections.abc import Iterator

from infra.pages.headlines import HEADLINES, MADE_BY, README, Headline, Measured, Printed
from infra.pages.page import page
from mlprune.capabilities.publishing.model_card import table

OPENING = """
Each number of the [README](../README.md) and of the opening answers of the [studies](studies/README.md) and the
[study](study.md), with the command that prints or measures it. Stores are archives; the commands run in the root of a
clone, where the archive is unpacked once. The first query of a store fills its catalog, which takes some seconds.
"""
TITLES = {README: "README", "docs/study.md": "study", "docs/studies/README.md": "studies"}


def results() -> str:
    """Return the whole page."""
    parts = [OPENING.strip()]
    for store, headlines in _by_store().items():
        parts += [f"## Store `{store}`", _unpacking(headlines), _numbers(headlines)]
    return page("Results", [*parts, *_measured()], source="`infra/pages/headlines.py`")


def _by_store() -> dict[str, list[Headline]]:
    """Return the first store of commands -> the numbers that they print."""
    found: dict[str, list[Headline]] = {}
    for headline in HEADLINES:
        if isinstance(headline.source, Printed):
            found.setdefault(headline.source.stores[0], []).append(headline)
    return found


def _unpacking(headlines: list[Headline]) -> str:
    stores = dict.fromkeys(
        name for headline in headlines if isinstance(headline.source, Printed) for name in headline.source.stores
    )
    unpack = [f"mkdir {name}-store && tar -xJf docs/stores/{name}.tar.xz -C {name}-store" for name in stores]
    again = "\n".join(f"`{MADE_BY[name]}` makes {name}-store again." for name in stores)
    return "\n".join(["```", *unpack, "```", "", again])


def _numbers(headlines: list[Headline]) -> str:
    commands = ((each, each.source.command) for each in headlines if isinstance(each.source, Printed))
    rows = ((each.text, TITLES[each.page], f"`{command}`") for each, command in commands)
    return table(("number", "page", "command"), rows)


def _measured() -> Iterator[str]:
    """Yield the section of numbers without a store."""
    yield "## Measured without a store"
    rows = (
        (each.text, TITLES[each.page], f"`{each.source.command}`", f"[conditions]({each.source.details})")
        for each in HEADLINES
        if isinstance(each.source, Measured)
    )
    yield table(("number", "page", "command", "details"), rows)
    yield "[Speed and size](running.md#speed-and-size) names the script of each benchmark above its table."
