from catalog.report.panels.magnitudes import MAX_SETS, magnitude_panels
from tests.catalog.report.rows import drawn, texts


def test_features_that_are_large_most_often_have_a_key_and_far_ones_a_logarithmic_scale() -> None:
    row = {
        "base_model": "t",
        "base_model_id": "m",
        "kind": "monolingual",
        "source_language": "fr",
        "target_language": None,
        "profile": None,
        "demonstration_label": None,
    }
    rows = [
        {**row, "seed": 0, "demonstration_set_id": "s", "depth": block, "feature": feature, "magnitude": magnitude}
        for block in range(4)
        for feature, magnitude in ((5, 900.0), (6 + block, 2.0))
    ]
    (group,) = magnitude_panels(rows)
    assert group.legend[0].label == "feature 5"
    assert "fr · monolingual" in texts(drawn(group.panels[0]))
    (near,) = magnitude_panels([{**one, "magnitude": 2.0} for one in rows])
    assert drawn(near.panels[0]) != drawn(group.panels[0])
    assert {"2", "5", "10", "20", "50", "100", "200", "500"} <= set(texts(drawn(group.panels[0])))
    assert "$" not in drawn(group.panels[0])


def test_of_many_demonstration_sets_an_even_selection_has_panels() -> None:
    row = {
        "base_model": "t",
        "base_model_id": "m",
        "kind": "monolingual",
        "target_language": None,
        "profile": None,
        "demonstration_label": None,
        "seed": 0,
        "depth": 0,
    }
    rows = [
        {**row, "source_language": f"l{n}", "demonstration_set_id": f"s{n}", "feature": 1, "magnitude": 1.0}
        for n in range(MAX_SETS + 3)
    ]
    (group,) = magnitude_panels(rows)
    assert len(group.panels) == MAX_SETS
    assert group.title == "t, 24 of 27 sets drawn, all of them in the data"
