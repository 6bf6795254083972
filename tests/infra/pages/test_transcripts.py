"""Transcripts on pages: blocks are split into commands, and an answer is the output of the command before it."""

from pathlib import Path

import pytest

from infra.pages.transcripts import commands, refreshed


def test_a_command_ends_where_its_quotes_backslashes_and_documents_do() -> None:
    block = "mlprune query \"SELECT 1\n  AS n\" --store s   # it's one\nls \\\n  -l\ncat > f <<'EOF'\nit's\nEOF\n\nls\n"
    assert commands(block) == [
        'mlprune query "SELECT 1\n  AS n" --store s   # it\'s one',
        "ls \\\n  -l",
        "cat > f <<'EOF'\nit's\nEOF",
        "ls",
    ]


def test_an_incomplete_command_is_an_error() -> None:
    with pytest.raises(ValueError, match="incomplete"):
        commands('mlprune query "SELECT 1\n')


def test_an_answer_is_what_the_commands_right_before_it_print(tmp_path: Path) -> None:
    rest = "```sh\nls\n```\n\nwords\n\n```text\nkept\n```\n"
    fresh = refreshed(f"```sh\nmlprune query --list\n```\n\n```text\nstale answer\n```\n\n{rest}", tmp_path)
    assert "best_by_language  " in fresh
    assert "stale answer" not in fresh
    assert fresh.endswith(rest)


@pytest.mark.parametrize("command", ["ls", "mlprune query failures --store nothing"])
def test_a_command_that_fails_is_an_error(command: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="failed"):
        refreshed(f"```sh\n{command}\n```\n\n```text\n```\n", tmp_path)


def test_python_of_a_page_is_one_program_up_to_the_last_answer(tmp_path: Path) -> None:
    page = "```python\nx = 2\n```\n\n```python\nprint(x + 1)\n```\n\n```text\nstale\n```\n\n```python\nnot run\n```\n"
    fresh = refreshed(page, tmp_path)
    assert fresh == page.replace("stale", "3")
