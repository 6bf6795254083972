"""Tokens of a set by language and scope, against plain loops, and batches grouped by them."""

import pytest

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.corpus.token_languages import SetLanguages, counted_by_language, side_tokens
from mlprune.steps.observe.expert_tokens import grouped
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope
from tests.tiny_recipes import FinishedRun

SCOPES: tuple[TokenScope, ...] = ("all", "content", "source", "target", "last_shot")


@pytest.fixture
def translation(method_run: FinishedRun) -> Record:
    records = method_run.store.records("demonstration_sets")
    return next(one for one in records if one.rows["demonstration_sets"][0]["kind"] == "translation")


@pytest.mark.parametrize("n_demonstrations", [None, 2])
@pytest.mark.parametrize("scope", SCOPES)
def test_tokens_of_a_scope_are_those_that_statistics_count(
    method_run: FinishedRun, translation: Record, scope: TokenScope, n_demonstrations: int | None
) -> None:
    table = method_run.store.read_table(translation.artefacts[0])
    (row,) = translation.rows["demonstration_sets"]
    names = {0: "other", 1: row["source_language"], 2: row["target_language"]}
    expected: dict[str, int] = {}
    flags = list(zip(counted_tokens(table, scope), table["sides"], strict=True))[:n_demonstrations]
    for counted, sides in flags:
        for is_counted, side in zip(counted, sides, strict=True):
            if is_counted:
                expected[str(names[side])] = expected.get(str(names[side]), 0) + 1
    of_sides = list(side_tokens(method_run.store, translation, table))
    assert counted_by_language(of_sides, scope, n_demonstrations=n_demonstrations) == expected
    assert expected


def test_the_groups_of_batches_are_the_languages_of_their_tokens(method_run: FinishedRun, translation: Record) -> None:
    store: Store = method_run.store
    table = store.read_table(translation.artefacts[0])
    languages, first = SetLanguages.of(store, translation), 1
    ids, sides = (table[name][first:] for name in ("token_ids", "sides"))
    seen = []
    for indices, batch in grouped(languages, token_batches(ids, batch_tokens=100), sides, first=first):
        assert batch.groups is not None
        assert batch.groups.n_groups == len(languages.groups)
        for index, row in zip(indices, batch.groups.of_tokens.tolist(), strict=True):
            places = [languages.groups[place].side for place in row[: len(sides[index])]]
            assert places == [("other", "source", "target")[side] for side in sides[index]]
            seen.append(index)
    assert sorted(seen) == list(range(len(ids)))
