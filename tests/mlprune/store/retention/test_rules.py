"""Retention rules: what is kept and why, in which order files go, and where a quota stops."""

import pytest

from mlprune.store.backend.local_files import FileInfo
from mlprune.store.retention.mask_files import MaskFiles, Remaking
from mlprune.store.retention.rules import DAY_S, Decision, Ranking, RetentionRules, decide

UNRANKED = Ranking({}, {})


def masks(name: str, *, days: float = 100.0, n_bytes: int = 10, swept: bool = False, current: bool = True) -> MaskFiles:
    files = (FileInfo(f"masks/{name}/block-000.parquet", n_bytes, 0.0),)
    remaking = Remaking.WITH_THE_MODEL if swept else Remaking.FROM_STATISTICS
    return MaskFiles(name, (name, f"{name}-quantised"), files, days * DAY_S, remaking, current, is_complete=True)


def retired(decisions: list[Decision]) -> list[str]:
    return [one.masks.ordering_id for one in decisions if one.is_retired]


def test_what_is_made_again_from_statistics_goes_first_then_the_worst_then_the_oldest() -> None:
    ranking = Ranking({}, {"good": 2, "bad": 9, "swept": 30})
    files = [masks("swept", swept=True), masks("good"), masks("bad"), masks("young", days=1), masks("old", days=300)]
    assert retired(decide(files, ranking, RetentionRules())) == ["bad", "good", "old", "young", "swept"]


def test_a_quota_stops_as_soon_as_it_is_met() -> None:
    files = [masks(name, n_bytes=10) for name in "abc"]
    ranking = Ranking({}, {"a": 1, "b": 2, "c": 3})
    decisions = decide(files, ranking, RetentionRules(quota_bytes=85), store_bytes=100)
    assert retired(decisions) == ["c", "b"]
    assert retired(decide(files, ranking, RetentionRules(quota_bytes=100), store_bytes=100)) == []
    assert retired(decide(files, ranking, RetentionRules(quota_bytes=0), store_bytes=100)) == ["c", "b", "a"]


@pytest.mark.parametrize("name", ["one", "one-quantised"])
def test_the_files_of_a_kept_variant_stay_also_if_it_only_reads_them(name: str) -> None:
    (decision,) = decide([masks("one")], Ranking({name: "winner of a search"}, {}), RetentionRules())
    assert (decision.is_retired, decision.reason) == (False, "winner of a search")


@pytest.mark.parametrize(("days", "is_retired"), [(89.9, False), (90.1, True)])
def test_files_written_in_the_last_days_stay(days: float, *, is_retired: bool) -> None:
    (decision,) = decide([masks("one", days=days)], UNRANKED, RetentionRules(keep_days=90))
    assert decision.is_retired == is_retired


def test_files_of_an_earlier_version_stay_because_nothing_makes_them_again() -> None:
    (decision,) = decide([masks("one", current=False)], UNRANKED, RetentionRules(quota_bytes=0), store_bytes=10)
    assert not decision.is_retired


def test_variants_without_a_rank_stay_only_if_variants_are_ranked() -> None:
    files = [masks("ranked"), masks("unranked")]
    ranking = Ranking({}, {"ranked": 5})
    assert retired(decide(files, ranking, RetentionRules(requires_rank=True))) == ["ranked"]
    assert retired(decide(files, ranking, RetentionRules())) == ["ranked", "unranked"]
