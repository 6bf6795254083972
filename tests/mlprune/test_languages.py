import pytest

from mlprune.languages import languages_with_resource_class, resource_class_of, script_of


@pytest.mark.parametrize(
    ("tag", "script", "resource_class"),
    [
        ("fr", "Latn", 5),
        ("zh", "Hans", 5),
        ("zh-Hant", "Hant", 5),
        ("sr-Latn", "Latn", None),
        ("hi", "Deva", 4),
        ("eo", "Latn", None),
    ],
)
def test_a_tag_has_a_script_and_may_have_a_resource_class(tag: str, script: str, resource_class: int | None) -> None:
    assert (script_of(tag), resource_class_of(tag)) == (script, resource_class)


def test_the_list_of_resource_classes_has_every_language_once() -> None:
    rows = languages_with_resource_class()
    assert len({tag for tag, _, _ in rows}) == len(rows) == 81
    assert ("sw", "Latn", 2) in rows
