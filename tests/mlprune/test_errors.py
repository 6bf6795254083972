"""The error tree: one line per error, and pickling preserves it."""

import pickle

import pytest

from mlprune import errors
from mlprune.errors import (
    MAX_LISTED_NAMES,
    MAX_VALUE,
    BadInputError,
    MlpruneError,
    PermanentError,
    StoreError,
    TransientError,
    nearest_names,
    unknown,
)


def all_classes(root: type = MlpruneError) -> list[type]:
    return [root, *(descendant for child in root.__subclasses__() for descendant in all_classes(child))]


CLASSES = [error_class for error_class in all_classes() if error_class.__module__ == errors.__name__]


def test_an_error_is_one_line_with_its_context() -> None:
    error = errors.ShapeError("statistics do not fit the weight", block=7, layer="fc1", expected=2048, got=1024)
    assert str(error) == "statistics do not fit the weight [block=7, layer='fc1', expected=2048, got=1024]"
    assert str(MlpruneError("alone")) == "alone"


@pytest.mark.parametrize(("value", "most"), [("(" * 10**6, MAX_VALUE), (["("] * 10**5, errors.MAX_REASON)])
def test_a_long_value_is_shown_up_to_its_limit_and_says_how_much_was_left_out(value: object, most: int) -> None:
    n_characters = len(value if isinstance(value, str) else repr(value))
    text = str(MlpruneError("wrong", got=value))
    assert len(text) < most + 60
    assert f"{n_characters - most:,}" in text
    assert str(MlpruneError("wrong", got="(" * MAX_VALUE)).count("(") == MAX_VALUE


def test_a_command_and_a_list_of_names_are_shown_as_a_whole() -> None:
    command = f"mlprune import {'folder/' * 100}"
    assert command in str(MlpruneError("wrong", next=command))


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\u2028", "\t \n"])
def test_line_breaks_never_reach_the_text(separator: str) -> None:
    error = MlpruneError(f"first{separator}second", reason=f"a{separator}b")
    assert len(str(error).splitlines()) == 1
    assert str(error).startswith("first second [")


def test_a_very_long_value_is_cut_off_and_its_size_stated() -> None:
    names = [f"key_{number}" for number in range(100_000)]
    text = str(errors.TaskFileError("a row lacks keys", file="fr.jsonl", got=names, missing=["id"]))
    assert len(text) < 2 * errors.MAX_REASON
    assert f"{len(repr(names)) - errors.MAX_REASON:,} more characters" in text
    assert text.endswith("missing=['id']]")


def test_context_comes_from_a_mapping_and_from_keywords_which_win() -> None:
    error = MlpruneError("m", {"line": 1, "message": "inner"}, line=2)
    assert error.message == "m"
    assert error.context == {"line": 2, "message": "inner"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[MlpruneError]) -> None:
    error = kind("text", {"line": 3}, got=[1, "x"])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (back.message, back.context, str(back)) == (error.message, error.context, str(error))


def test_every_error_is_permanent_or_transient_and_never_both() -> None:
    for kind in CLASSES:
        if kind is not MlpruneError:
            assert issubclass(kind, PermanentError) != issubclass(kind, TransientError)


def test_errors_that_a_user_can_fix_are_bad_input_errors() -> None:
    fixable = {
        error_class.__name__
        for error_class in CLASSES
        if issubclass(error_class, BadInputError) and error_class is not BadInputError
    }
    of_tasks = {"TaskFileError", "MissingTaskFileError", "SkippedRowError", "BlankTextError", "EqualCandidatesError"}
    of_inputs = {"RecipeError", "CorpusError", "ModelError", "HubError", "UnrecognisedDataError", "UnreadableFileError"}
    of_stores = {"StoreError", "EarlierVersionError", "RetiredArtefactError"}
    assert fixable == of_tasks | of_inputs | of_stores | {"QueryError", "PluginError"}
    assert issubclass(errors.WorkerLostError, TransientError)


def test_an_unknown_name_is_reported_with_its_place_the_nearest_name_and_all_names() -> None:
    error = unknown("layer", "q_proj", ["fc1", "self_attn.q_proj"], error=StoreError, key="scope")
    assert type(error) is StoreError
    assert list(error.context.items()) == [
        ("key", "scope"),
        ("got", "q_proj"),
        ("nearest", "self_attn.q_proj"),
        ("expected", ["fc1", "self_attn.q_proj"]),
    ]


def test_an_unknown_name_unlike_all_others_has_no_suggestion() -> None:
    assert "nearest" not in unknown("layer", "xyz", ["fc1"], error=BadInputError).context


def test_a_long_list_of_names_is_counted_instead_of_listed() -> None:
    names = [f"task-{number}" for number in range(MAX_LISTED_NAMES + 1)]
    error = unknown("task", "tsak-7", names, error=BadInputError, n_nearest=2)
    assert error.context["expected"] == "one of 101 names"
    assert str(error.context["nearest"]).split(", ")[0] == "task-7"


def test_a_name_that_begins_like_known_ones_suggests_these_first() -> None:
    assert nearest_names("0a", ["a0a0", "0a1", "0a2", "0a3"], n=2) == ["0a1", "0a2"]
    assert nearest_names("", ["a"]) == []
