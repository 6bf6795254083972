"""The tree of errors: one line each, and the same after a journey between processes."""

import pickle

import pytest

from mlprune import errors
from mlprune.errors import BadInputError, MlpruneError, PermanentError, TransientError


def all_classes(root: type = MlpruneError) -> list[type]:
    return [root, *(found for child in root.__subclasses__() for found in all_classes(child))]


OURS = [one for one in all_classes() if one.__module__ == errors.__name__]


def test_an_error_says_what_and_where_in_one_line() -> None:
    error = errors.ShapeError("statistics do not fit the weight", block=7, layer="fc1", expected=2048, got=1024)
    assert str(error) == "statistics do not fit the weight [block=7, layer='fc1', expected=2048, got=1024]"
    assert str(MlpruneError("alone")) == "alone"


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\u2028", "\t \n"])
def test_line_breaks_never_reach_the_text(separator: str) -> None:
    error = MlpruneError(f"first{separator}second", reason=f"a{separator}b")
    assert len(str(error).splitlines()) == 1
    assert str(error).startswith("first second [")


def test_context_comes_from_a_mapping_and_from_keywords_which_win() -> None:
    error = MlpruneError("m", {"line": 1, "message": "inner"}, line=2)
    assert error.message == "m"
    assert error.context == {"line": 2, "message": "inner"}


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[MlpruneError]) -> None:
    error = kind("text", {"line": 3}, got=[1, "x"])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (back.message, back.context, str(back)) == (error.message, error.context, str(error))


def test_every_error_is_permanent_or_transient_and_never_both() -> None:
    for kind in OURS:
        if kind is not MlpruneError:
            assert issubclass(kind, PermanentError) != issubclass(kind, TransientError)


def test_what_a_user_can_mend_is_a_bad_input() -> None:
    mendable = {one.__name__ for one in OURS if issubclass(one, BadInputError) and one is not BadInputError}
    expected = {"RecipeError", "CorpusError", "TaskFileError", "ModelError", "StoreError", "QueryError", "HubError"}
    assert mendable == expected
    assert issubclass(errors.WorkerLostError, TransientError)
