"""The entry point of submitted jobs."""

import sys
from collections.abc import Callable

import pytest

from ray_jobs import run


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["r.yaml", "--store", "/s"], ["--address", "auto"]),
        (["r.yaml", "--store", "/s", "--address", "none"], []),
        (["r.yaml", "--store", "/s", "--address=none"], []),
    ],
)
def test_a_job_runs_on_its_own_cluster_by_default(arguments: list[str], added: list[str]) -> None:
    assert run.command(arguments) == ["mlprune", "run", *arguments, *added]


def ending(code: int) -> Callable[[], None]:
    """A command line that ends with an exit code."""

    def main() -> None:
        sys.exit(code)

    return main


@pytest.mark.parametrize("code", [0, 2, 3, 143])
def test_exit_codes_are_kept(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_jobs.cli.application.main", ending(code))
    monkeypatch.setattr(sys, "argv", ["ray_jobs/run.py", "r.yaml", "--store", "/s"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == code
