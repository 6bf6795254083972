"""Keys of the entry that a trial is."""

from mlprune.recipe.searches.trial_keys import with_keys


def test_a_key_with_a_dot_is_set_in_its_section_and_the_entry_is_not_changed() -> None:
    entry = {"score": "wanda", "schedule": {"kind": "owl", "m": 3}}
    changed = with_keys(entry, {"schedule.spread": 0.1, "score": "ria", "scope.blocks": [1]})
    expected = {"score": "ria", "schedule": {"kind": "owl", "m": 3, "spread": 0.1}, "scope": {"blocks": [1]}}
    assert changed == expected
    assert entry == {"score": "wanda", "schedule": {"kind": "owl", "m": 3}}


def test_a_section_that_is_one_word_is_its_kind() -> None:
    assert with_keys({"schedule": "owl"}, {"schedule.m": 4})["schedule"] == {"kind": "owl", "m": 4}
