from mlprune.evaluation.inference.language_sums import language_groups


def test_english_is_in_no_script_and_no_resource_class() -> None:
    groups = {
        (group.kind, group.name): group.languages
        for group in language_groups({name: name for name in ("sw", "en", "zh", "fr", "eo")})
    }
    assert groups == {
        ("outside_english", ""): ("eo", "fr", "sw", "zh"),
        ("all", ""): ("en", "eo", "fr", "sw", "zh"),
        ("worst", ""): ("en", "eo", "fr", "sw", "zh"),
        ("script", "Hans"): ("zh",),
        ("script", "Latn"): ("eo", "fr", "sw"),
        ("resource_class", "2"): ("sw",),
        ("resource_class", "5"): ("fr", "zh"),
        ("gap", ""): ("en", "eo", "fr", "sw", "zh"),
        ("gap", "eo"): ("en", "eo"),
        ("gap", "fr"): ("en", "fr"),
        ("gap", "sw"): ("en", "sw"),
        ("gap", "zh"): ("en", "zh"),
    }


def test_a_pair_is_placed_by_its_other_language() -> None:
    groups = language_groups({"fr-en": "fr", "en-zh": "zh"})
    assert groups[0].languages == ("en-zh", "fr-en")
    assert "gap" not in {group.kind for group in groups}
    assert ("script", "Hans", ("en-zh",)) in [(group.kind, group.name, group.languages) for group in groups]


def test_english_alone_has_no_group_outside_english() -> None:
    assert [group.kind for group in language_groups({"en": "en"})] == ["all", "worst"]
