"""The cookbook: questions, each with a statement of at most two joins and the answer of a frozen store."""

import re

import pytest

from catalog.sql_files import find_query
from infra.pages.cookbook import questions
from infra.pages.frozen import thawed
from infra.pages.site import DOCS


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "reference" / "cookbook.md").read_text(encoding="utf-8")


def test_questions_are_numbered_in_order() -> None:
    found = questions()
    assert [one.number for one in found] == list(range(1, 16))
    assert len({one.title for one in found}) == 15
    assert all(one.title.endswith("?") and one.explanation for one in found)


def test_every_question_needs_at_most_two_joins() -> None:
    assert max(len(re.findall(r"\bJOIN\b", one.sql)) for one in questions()) <= 2


def test_every_question_has_an_answer(page: str) -> None:
    answers = re.findall(r"```text\n(.*?)\n```", page, flags=re.DOTALL)
    assert len(answers) == 15
    assert all(len(answer.splitlines()) > 2 for answer in answers)


def test_named_queries_in_the_cookbook_exist(page: str) -> None:
    sentences = re.findall(r"Named quer(?:y|ies)\b([^.]*)\.\n", page)
    names = [name for sentence in sentences for name in re.findall(r"`(\w+)`", sentence)]
    assert len(names) > 20
    for name in names:
        find_query(name)


def test_an_answer_is_what_the_command_line_prints(page: str) -> None:
    assert "task         split  languages       variants  items  clusters  chance\n───" in page


def test_a_frozen_store_contains_no_path_of_its_machine() -> None:
    with thawed("demo") as store:
        models = [store.read_json(path)["models"] for path in store.list("runs") if path.endswith("/run.json")]
    assert models
    assert all("/" not in folder for found in models for folder in found.values())
