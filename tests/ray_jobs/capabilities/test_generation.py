"""`mlprune rescore --generated`: what it prints, and what is refused."""

import pytest
from typer.testing import CliRunner, Result

from mlprune.errors import BadInputError
from ray_jobs.cli.application import app
from tests.tiny_recipes import FinishedRun, copy_of


@pytest.fixture(scope="module")
def store_path(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(small_run.store, tmp_path_factory.mktemp("rescoring") / "store").uri


def invoke_rescore(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rescore", "--generated", *arguments])


@pytest.mark.parametrize("option", ["rule", "examples", "task", "split", "variant", "from-rule"])
def test_options_of_evaluations_do_not_apply(store_path: str, option: str) -> None:
    result = invoke_rescore("--store", store_path, f"--{option}", "mean")
    assert isinstance(result.exception, BadInputError)
    assert result.exception.context["got"] == f"--{option}"


def test_a_store_without_generated_texts_is_bad_input(store_path: str) -> None:
    result = invoke_rescore("--store", store_path, "--metric", "line_pass_rate")
    assert isinstance(result.exception, BadInputError)
    assert "no generated texts are stored" in str(result.exception)
