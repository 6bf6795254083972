"""Names stand for variants and sets: exact names first, then unique beginnings."""

import pytest

from mlprune.api.reading import Kind, StoredName, found_ids
from mlprune.errors import StoreError

NAMES = [
    StoredName("wanda fr-en 0.5", "aaaa1"),
    StoredName("wanda fr-en 0.25", "aaaa2"),
    StoredName("wanda", "aaaa1"),
    StoredName("wanda", "aaaa2"),
    StoredName("aaaa1", "aaaa1"),
    StoredName("aaaa2", "aaaa2"),
    StoredName("dense", "bbbb1"),
]


def lookup(_kind: Kind, beginning: str) -> list[StoredName]:
    return [one for one in NAMES if one.name.startswith(beginning)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wanda", ["aaaa1", "aaaa2"]),
        ("wanda fr-en 0.5", ["aaaa1"]),
        ("wanda fr-en 0.2", ["aaaa2"]),
        ("aaaa2", ["aaaa2"]),
        ("dens", ["bbbb1"]),
    ],
)
def test_a_name_is_exact_or_the_beginning_of_one(name: str, expected: list[str]) -> None:
    assert found_ids("variant", name, lookup) == expected


@pytest.mark.parametrize(("name", "part"), [("aaaa", "aaaa1, aaaa2"), ("den", "dense"), ("wand fr", "wanda"), ("", "")])
def test_other_names_are_refused_with_names_that_exist(name: str, part: str) -> None:
    with pytest.raises(StoreError) as error:
        found_ids("demonstration_set", name, lookup)
    assert part in str(error.value)
    assert "demonstration set" in str(error.value)
