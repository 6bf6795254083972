from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from catalog.terminal.column_kinds import Kind, kind_of

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("n", (3, None), Kind.COUNT),
        ("is_dense", (True, False), Kind.YES_NO),
        ("value", (0.5, None), Kind.NUMBER),
        ("value", (Decimal("0.5"), 1), Kind.NUMBER),
        ("english_difference", (0.5,), Kind.DIFFERENCE),
        ("mean_gap_change", (0.5,), Kind.DIFFERENCE),
        ("n_differing", (2,), Kind.COUNT),
        ("detectable_difference", (0.5,), Kind.NUMBER),
        ("change", ("gain", "loss"), Kind.TEXT),
        ("achieved_sparsity", (0.5,), Kind.SETTING),
        ("p_value", (0.5,), Kind.P_VALUE),
        ("smallest_p_holm", (0.5,), Kind.P_VALUE),
        ("q_bh", (0.5,), Kind.P_VALUE),
        ("perplexity", (0.5,), Kind.NUMBER),
        ("variant_id", (SHA256[:20], None), Kind.ID),
        ("run_id", ("20261124T221250-5694d8",), Kind.TEXT),
        ("sha256", (SHA256,), Kind.DIGEST),
        ("git_commit", (SHA256[:40],), Kind.DIGEST),
        ("started_at", (datetime(2026, 2, 3),), Kind.TEXT),
        ("mixed", ("a", 1), Kind.TEXT),
        ("empty", (None, None), Kind.TEXT),
    ],
)
def test_a_kind_follows_from_the_values_and_the_name(name: str, values: tuple[Any, ...], kind: Kind) -> None:
    assert kind_of(name, values) is kind
