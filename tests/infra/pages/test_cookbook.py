"""The cookbook: twenty questions, each with a statement and the answer that the frozen demo gives."""

import re

import pytest

from catalog.queries import find_query
from infra.pages.cookbook import questions
from infra.pages.frozen import thawed
from infra.pages.site import DOCS


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "cookbook.md").read_text(encoding="utf-8")


def test_there_are_twenty_questions_numbered_in_order() -> None:
    found = questions()
    assert [one.number for one in found] == list(range(1, 21))
    assert len({one.title for one in found}) == 20
    assert all(one.title.endswith("?") and one.explanation for one in found)


def test_every_question_has_an_answer_in_the_demo(page: str) -> None:
    answers = re.findall(r"```text\n(.*?)\n```", page, flags=re.DOTALL)
    assert len(answers) == 20
    assert all(len(answer.splitlines()) > 2 for answer in answers)


def test_queries_that_the_cookbook_calls_ready_made_are_there(page: str) -> None:
    named = [name for text in re.findall(r"Ready-made[^:]*:(.*)", page) for name in re.findall(r"`(\w+)`", text)]
    assert len(named) > 10
    for name in named:
        find_query(name)


def test_an_answer_is_what_the_command_line_prints(page: str) -> None:
    assert " task        ┃ split ┃ languages         ┃ variants ┃ examples\n━" in page


def test_a_frozen_store_knows_no_folder_of_the_machine_it_comes_from() -> None:
    with thawed("demo") as store:
        models = [store.read_json(path)["models"] for path in store.list("runs") if path.endswith("/run.json")]
    assert models
    assert all("/" not in folder for found in models for folder in found.values())
