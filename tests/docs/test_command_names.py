"""Commands and options on the pages exist."""

import re
from pathlib import Path

import pytest

from infra.pages.command_reference import commands
from tests.docs.pages import FENCE, ROOT, blocks, pages

COMMANDS = dict(commands())
GROUPS = {name.partition(" ")[0] for name in COMMANDS if " " in name}
_CALL = re.compile(r"(?:^|\$\()[ ]*mlprune +([a-z][\w-]*)\s*([a-z][\w-]*)?(.*)$", re.MULTILINE)


def calls_on(page: Path) -> list[tuple[str, list[str]]]:
    """Return (command, options) of every call of the command line on a page, in blocks and in inline code."""
    prose = FENCE.sub("", page.read_text("utf-8"))
    code = [block.text for block in blocks(page)] + re.findall(r"`([^`]+)`", prose)
    calls = [call for text in code for call in _CALL.findall(text)]
    return [
        (
            f"{first} {second}" if first in GROUPS else first,
            re.findall(r"(?<![\w-])--[a-z][\w-]*", rest.partition(" #")[0]),
        )
        for first, second, rest in calls
    ]


def test_pages_mention_most_commands() -> None:
    calls = {command for page in pages() for command, _ in calls_on(page)}
    assert len(calls & set(COMMANDS)) > 0.8 * len(COMMANDS)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_on_a_page_exist(page: Path) -> None:
    wrong = []
    for command, options in calls_on(page):
        known = (
            {option for parameter in COMMANDS[command].params for option in parameter.opts}
            if command in COMMANDS
            else set()
        )
        wrong += [command] if command not in COMMANDS else []
        wrong += [f"{command} {option}" for option in options if option not in known | {"--help"}]
    assert not wrong
