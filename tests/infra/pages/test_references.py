"""Reference pages: every table, command and recipe key, with its type, default and meaning."""

import re
from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, Field

from catalog.ingest.table_files import ForeignKey, declared_tables, foreign_keys, macros, views
from catalog.sql_files import list_queries
from catalog.store.item_answers import MACRO
from infra.pages.command_reference import OF_ALL, command_reference, commands
from infra.pages.fields import default_words, sentences, type_words
from infra.pages.recipe_reference import recipe_reference
from infra.pages.site import DOCS
from mlprune.recipe.combinations import HIDDEN, SECTIONS
from mlprune.recipe.models import Recipe
from mlprune.strict_model import Language, Model, as_tuple


@pytest.fixture(scope="module")
def catalog_page() -> str:
    return (DOCS / "reference" / "catalog.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def headings(catalog_page: str) -> list[str]:
    return re.findall(r"^### `([\w.]+)`$", catalog_page, flags=re.MULTILINE)


def _names_in_sql() -> list[str]:
    return [one.relation for one in (*declared_tables().values(), *views().values())]


def test_every_table_view_and_query_has_a_heading(headings: list[str]) -> None:
    queries = [query.name for query in list_queries()]
    assert sorted(headings) == sorted([*_names_in_sql(), *macros(), MACRO, *queries])


def test_every_column_of_a_table_has_a_type_and_a_meaning(catalog_page: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w*) \| (.*) \| (.*) \|$", catalog_page, flags=re.MULTILINE)
    assert len(rows) > 100
    assert all(kind and meaning.strip() for _, kind, _, meaning in rows)


def test_a_column_that_refers_to_a_table_names_it(catalog_page: str) -> None:
    assert ForeignKey("metrics", "variant_id", "variants", "variant_id") in foreign_keys()
    section = catalog_page.partition("### `metrics`")[2].partition("###")[0]
    assert "| `variant_id` | VARCHAR | → [variants](#variants) |" in section
    assert "| `metric` | VARCHAR | 2 |" in section


def test_two_headings_with_the_same_name_have_separate_links(catalog_page: str, headings: list[str]) -> None:
    assert headings.count("failures") == 2
    assert "[failures](#failures)" in catalog_page
    assert "[failures](#failures-1)" in catalog_page


def test_a_query_lists_its_parameters_and_its_columns(catalog_page: str) -> None:
    section = catalog_page.partition("### `best_by_language`")[2].partition("###")[0]
    assert '`$task VARCHAR = "facts"`' in section
    assert "`language`, " in section


@pytest.fixture(scope="module")
def command_page() -> str:
    return command_reference()


def test_commands_of_groups_are_listed_with_their_full_names() -> None:
    names = [name for name, _ in commands()]
    assert {"demo", "run", "check store", "store compact"} <= set(names)
    assert "catalog" not in names


@pytest.mark.thorough("runs recipes of its own")
@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_option_of_a_command_is_listed_with_a_meaning(command_page: str, name: str) -> None:
    section = command_page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    command = dict(commands())[name]
    for parameter in command.params:
        rows = [line for line in section.splitlines() if line.startswith(f"| `{_shown(parameter)}` |")]
        if parameter.name in OF_ALL or getattr(parameter, "hidden", False):
            assert not rows
        else:
            (row,) = rows
            assert row.split(" | ")[-1].strip(" |")


def test_an_example_of_a_command_is_a_block_of_its_own(command_page: str) -> None:
    section = command_page.partition("## plan\n")[2].partition("\n## ")[0]
    assert "```\nmlprune plan recipe.yaml --store runs/\n" in section


def _shown(parameter: object) -> str:
    is_argument = parameter.param_type_name == "argument"  # type: ignore[attr-defined]
    return parameter.name.upper() if is_argument else ", ".join(parameter.opts)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """Heading -> the text below it."""
    _, *parts = re.split(r"^## (.+)$", recipe_reference(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_section_that_a_user_can_set_is_listed(sections: dict[str, str]) -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", sections["The sections"], flags=re.MULTILINE))
    assert listed == set(Recipe.model_fields) - HIDDEN


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_a_section_is_listed_with_a_meaning(sections: dict[str, str], name: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", sections[f"`{name}`"], flags=re.MULTILINE))
    assert set(SECTIONS[name].model_fields) <= set(rows)
    assert all(meaning.strip() for meaning in rows.values())


def test_keys_of_each_kind_of_demonstration_set_are_listed(sections: dict[str, str]) -> None:
    assert "| `translation` | `source`, `target` | `pair` |" in sections["`demonstrations`"]


def test_a_model_in_a_field_has_a_section_to_link_to(sections: dict[str, str]) -> None:
    for text in sections.values():
        for anchor in re.findall(r"\]\(#(\w+)\)", text):
            assert f"`{anchor}`" in sections


class Inner(Model):
    """A model inside another."""

    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.25
    """How much."""


class Outer(Model):
    """A model with a field of every kind."""

    name: str
    """What it is
    called."""
    lines: Annotated[int, Field(ge=1, le=5000)] = 1000
    """Lines."""
    shards: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Shards."""
    languages: tuple[Language, ...] = ()
    """Languages."""
    rule: Annotated[tuple[Literal["mean", "sum"], ...], BeforeValidator(as_tuple)] = ("mean",)
    """Rules."""
    structure: Annotated[str, Field(pattern="^row$", title="`row`")] | None = None
    """Structure."""
    is_odd: bool = False
    """Odd."""
    inner: Inner = Inner()
    """Inner."""
    labels: dict[str, int] = Field(default_factory=dict)
    """Labels."""
    several: tuple[Inner, ...] = ()
    """Several."""


LINKS = {Inner: "[inner](#inner)"}
EXPECTED = {
    "name": ("text", "required"),
    "lines": ("integer >= 1 and <= 5,000", "`1000`"),
    "shards": ("integer >= 1 or `auto`", "`auto`"),
    "languages": ("list of languages", ""),
    "rule": ("`mean`, `sum`; or a list", "`[mean]`"),
    "structure": ("`row`", ""),
    "is_odd": ("`true` or `false`", "`false`"),
    "inner": ("[inner](#inner)", ""),
    "labels": ("text: integer, ...", ""),
    "several": ("list of [inner](#inner)", ""),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_field_has_its_type_range_and_default(name: str) -> None:
    assert (type_words(Outer, name, links=LINKS), default_words(Outer, name)) == EXPECTED[name]


def test_a_range_names_both_its_ends() -> None:
    assert type_words(Inner, "share", links={}) == "number > 0 and < 0.5"


def test_a_sentence_is_the_docstring_below_the_field_on_one_line() -> None:
    assert sentences(Outer)["name"] == "What it is called."


def test_a_field_without_a_docstring_is_refused() -> None:
    class Silent(Model):
        """A model that does not say what its field means."""

        depth: int = 0

    with pytest.raises(ValueError, match=r"fields of Silent have no docstring: \['depth'\]"):
        sentences(Silent)
