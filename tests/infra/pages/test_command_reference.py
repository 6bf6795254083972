"""The page with every command and option: complete, and as the command line has it."""

import pytest

from infra.pages.command_reference import command_reference, commands


@pytest.fixture(scope="module")
def page() -> str:
    return command_reference()


def test_commands_of_groups_are_listed_with_their_full_names() -> None:
    names = [name for name, _ in commands()]
    assert {"demo", "run", "catalog check", "store compact"} <= set(names)
    assert "catalog" not in names


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_option_of_a_command_is_listed_with_a_meaning(page: str, name: str) -> None:
    section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    command = dict(commands())[name]
    for parameter in command.params:
        if parameter.name != "help":
            (row,) = [line for line in section.splitlines() if line.startswith(f"| `{_shown(parameter)}` |")]
            assert row.split(" | ")[-1].strip(" |")


def test_an_example_of_a_command_is_a_block_of_its_own(page: str) -> None:
    section = page.partition("## plan\n")[2].partition("\n## ")[0]
    assert "```\nmlprune plan recipe.yaml --store runs/\n```" in section


def _shown(parameter: object) -> str:
    is_argument = parameter.param_type_name == "argument"  # type: ignore[attr-defined]
    return parameter.name.upper() if is_argument else ", ".join(parameter.opts)  # type: ignore[attr-defined]
