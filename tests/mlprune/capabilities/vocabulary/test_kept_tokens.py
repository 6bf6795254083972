"""Choice of kept tokens: limits, ties, controls and refusals."""

import pytest

from mlprune.capabilities.vocabulary.kept_tokens import TokenChoice, chosen_tokens, require_spelled, token_scores
from mlprune.errors import BadInputError
from mlprune.trimming.tokenizer_json import TokenizerJson

VOCABULARY = {token: number for number, token in enumerate(["a", "b", "c", "d", "ab", "cd", "abc"])}
SOURCE = TokenizerJson(
    {"model": {"type": "BPE", "vocab": VOCABULARY, "merges": ["a b", "c d", "ab c"]}, "added_tokens": []}
)
SCORES = {VOCABULARY["abc"]: 90, VOCABULARY["cd"]: 9, VOCABULARY["d"]: 1}


class Words:
    """A tokenizer whose tokens are numbers."""

    def __call__(self, lines: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(word) for word in line.split()] for line in lines]}


def names(choice: TokenChoice, required: tuple[int, ...] = ()) -> set[str]:
    return {SOURCE.tokens[number] for number in chosen_tokens(SOURCE, SCORES, choice, required=required)}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (TokenChoice(), set(VOCABULARY)),
        (TokenChoice(at_least=9), set(VOCABULARY)),
        (TokenChoice(at_least=10), {"a", "b", "c", "ab", "abc"}),
        (TokenChoice(share=0.9), {"a", "b", "c", "ab", "abc"}),
        (TokenChoice(share=0.901), set(VOCABULARY)),
        (TokenChoice(size=5), {"a", "b", "c", "ab", "abc"}),
        (TokenChoice(size=6), {"a", "b", "c", "ab", "abc", "d"}),
    ],
)
def test_the_tokens_of_highest_score_are_kept_with_what_they_are_built_from(
    choice: TokenChoice, expected: set[str]
) -> None:
    assert names(choice) == expected


def test_a_random_control_has_as_many_tokens_and_depends_on_its_seed() -> None:
    kept = [names(TokenChoice(score="random", at_least=10, seed=seed)) for seed in range(20)]
    assert all(len(one) <= 5 for one in kept)
    assert len({frozenset(one) for one in kept}) > 1
    assert kept[0] == names(TokenChoice(score="random", at_least=10))


def test_a_size_is_filled_up_with_uncounted_tokens_of_the_lowest_ids() -> None:
    kept = chosen_tokens(SOURCE, {VOCABULARY["d"]: 1}, TokenChoice(size=3), required=())
    assert {SOURCE.tokens[number] for number in kept} == {"d", "a", "b"}


def test_a_size_below_the_required_tokens_is_refused() -> None:
    with pytest.raises(BadInputError) as caught:
        names(TokenChoice(size=2), required=(0, 1, 2))
    assert caught.value.context["got"] == 2


def test_translation_sets_count_a_line_once_in_all_languages() -> None:
    lines = {"en": ["1 1 2", "3"], "fr": ["1 4", "3 3"]}
    tokenizer = Words()
    assert token_scores(tokenizer, lines, score="frequency") == {1: 3, 2: 1, 3: 3, 4: 1}
    assert token_scores(tokenizer, lines, score="translation_sets") == {1: 1, 2: 1, 3: 1, 4: 1}


def test_a_kept_set_that_cannot_spell_its_corpus_is_refused() -> None:
    require_spelled(SOURCE, {0, 1}, {"en": [[0, 1]]})
    with pytest.raises(BadInputError) as caught:
        require_spelled(SOURCE, {0, 1}, {"en": [[0], [2]]})
    assert (caught.value.context["language"], caught.value.context["line"]) == ("en", 1)
