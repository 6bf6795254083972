"""Exact prompts, and translations in batches compared with each prompt decoded alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError, TaskFileError
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.translation import (
    TRANSLATION_SCHEMA,
    TranslationOutput,
    Translations,
    prepare_translation,
    run_translation,
    translation_prompts,
)
from mlprune.evaluation.tasks.items import ItemGroup, TranslationItem
from mlprune.models.inference.decoding import DecodingVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.recipe.models import AUTO_BATCH_TOKENS
from mlprune.vocabulary import LongerName
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES, POSITIONS, save_tiny_model, tiny_tokenizer

ITEMS = [TranslationItem("0", "a", "b"), TranslationItem("1", "bonjour", "hello"), TranslationItem("2", "oui", "yes")]


def test_a_prompt_contains_the_shots_and_ends_without_a_space() -> None:
    shots = [("un", "one"), ("deux", "two")]
    (prompt,) = translation_prompts([ITEMS[1]], shots, source="fr", target="zh-Hant", end="</s>")
    assert prompt == ("French: un</s>Chinese: one</s>French: deux</s>Chinese: two</s>French: bonjour</s>Chinese:")


def prepare_evaluation(
    batch_tokens: int, *, max_new_tokens: int = 10, longer: LongerName = "refuse", **options: Any
) -> Any:
    return prepare_translation(
        tiny_tokenizer(),
        ITEMS,
        TextLimits(batch_tokens, POSITIONS, longer, max_new_tokens),
        shots=[("u", "o")],
        pair=("fr", "en"),
        **options,
    )


def test_long_prompts_can_be_left_out_or_lose_their_start() -> None:
    lengths = [len(ids) for ids in prepare_evaluation(100).token_ids]
    room = max(lengths) - 1
    n_new = POSITIONS - room
    with refused(TaskFileError, example="1"):
        prepare_evaluation(100, max_new_tokens=n_new)
    skipped = prepare_evaluation(100, max_new_tokens=n_new, longer="skip")
    assert ([item.example_id for item in skipped.items], skipped.longer_ids) == (["0", "2"], ("1",))
    assert len(skipped.prompts) == len(skipped.token_ids) == 2
    cut = prepare_evaluation(100, max_new_tokens=n_new, longer="truncate_left")
    whole = prepare_evaluation(100).token_ids
    assert cut.token_ids == (whole[0], whole[1][1:], whole[2])
    assert cut.longer_ids == ("1",)
    with pytest.raises(TaskFileError):
        prepare_evaluation(100, max_new_tokens=POSITIONS - 1, longer="skip")


@pytest.mark.parametrize("n_new", [POSITIONS, 10**9])
def test_an_answer_as_long_as_all_positions_is_refused_with_the_number_of_positions(n_new: int) -> None:
    with refused(TaskFileError, key="max_new_tokens", got=n_new) as caught:
        prepare_evaluation(100, max_new_tokens=n_new)
    assert str(POSITIONS) in str(caught.value.context["expected"])
    assert "-" not in str(caught.value.context["expected"])


@pytest.mark.parametrize("batch_tokens", [1, 110, 10_000])
def test_batches_contain_every_prompt_once_within_the_bound(batch_tokens: int) -> None:
    prepared = prepare_evaluation(batch_tokens)
    assert sorted(index for batch in prepared.batches for index in batch) == [0, 1, 2]
    for batch in prepared.batches:
        longest = max(len(prepared.token_ids[index]) for index in batch) + 10
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens
    assert len(prepared.batches) == {1: 3, 110: 2, 10_000: 1}[batch_tokens]


def test_a_batch_for_an_accelerator_has_16_prompts_with_four_shots() -> None:
    items = [TranslationItem(str(number), "x" * 60, "") for number in range(16)]
    batch_tokens, shots = AUTO_BATCH_TOKENS["cuda"], [("y" * 30, "z" * 30)] * 4
    prepared = prepare_translation(
        tiny_tokenizer(), items, TextLimits(batch_tokens, None), shots=shots, pair=("fr", "en")
    )
    assert min(map(len, prepared.token_ids)) > 380
    assert prepared.max_new_tokens == 64
    assert [len(batch) for batch in prepared.batches] == [16]


def greedy_alone(folder: Path, tokens: tuple[int, ...], n_new: int) -> str:
    """Decode one prompt token by token, without a cache."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = tiny_tokenizer()
    ids = list(tokens)
    for _ in range(n_new):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        ids.append(token)
    return str(tokenizer.decode(ids[len(tokens) :], skip_special_tokens=True)).strip()


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_outputs_equal_prompts_decoded_alone_in_the_order_of_the_items(tmp_path: Path, batch_tokens: int) -> None:
    folder = save_tiny_model(tmp_path)
    prepared = prepare_evaluation(batch_tokens)
    outputs = run_translation(local_chain(folder), tiny_tokenizer(), prepared)
    expected = [greedy_alone(folder, tokens, 10) for tokens in prepared.token_ids]
    assert [output.output for output in outputs] == expected
    assert [(output.example_id, output.prompt, output.reference) for output in outputs] == [
        (item.example_id, prompt, item.reference) for item, prompt in zip(ITEMS, prepared.prompts, strict=True)
    ]
    assert any(expected)


class SayingHello:
    """Chain whose likeliest tokens are those of a text, then the end token."""

    n_blocks = 1
    spans = (range(1),)

    def __init__(self, text: str) -> None:
        self.tokens = [*tiny_tokenizer()(text)["input_ids"], tiny_tokenizer().eos_token_id]
        self.n_calls: Counter[str] = Counter()

    def stream(self, operation: Any, items: Iterable[Any]) -> Iterator[Any]:
        assert operation is DecodingVisitor
        for item in items:
            self.n_calls[item.key] += 1
            yield torch.full((item.token_ids.shape[0],), self.tokens[self.n_calls[item.key] - 1])

    def on_block(self, block: int, method: Any, *args: Any, **kwargs: Any) -> Any:
        assert method is Shard.architecture
        return ARCHITECTURES["xglm"]

    def everywhere(self, method: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return []


def test_decoding_stops_at_the_end_token_and_strips_the_output() -> None:
    chain = SayingHello("  hi \n")
    outputs = run_translation(chain, tiny_tokenizer(), prepare_evaluation(10_000))
    assert [output.output for output in outputs] == ["hi"] * 3
    assert sorted(chain.n_calls.values()) == [1, len(chain.tokens)] == [1, 7]


@pytest.mark.parametrize(
    ("text", "stops", "expected", "n_steps"),
    [
        ("un deux\n\ntrois", ("\n\n",), "un deux", 9),
        ("\n\nun deux trois", ("\n\n", " de"), "un", 7),
        ("১ উত্তর: ২ প্রশ্ন: ৩", (" প্রশ্ন:",), "১ উত্তর: ২", len("১ উত্তর: ২ প্রশ্ন:".encode())),
        ("x" * 60 + "END and more", ("END",), "x" * 60, 63),
        ("no stop", ("END",), "no stop", 8),
    ],
)
def test_decoding_stops_at_a_text_that_may_have_many_tokens(
    text: str, stops: tuple[str, ...], expected: str, n_steps: int
) -> None:
    chain = SayingHello(text)
    prepared = replace(prepare_evaluation(10_000), stops=stops, max_new_tokens=100)
    outputs = run_translation(chain, tiny_tokenizer(), prepared)
    assert [output.output for output in outputs] == [expected] * 3
    assert set(chain.n_calls.values()) <= {1, n_steps}


def test_a_prompt_without_room_for_the_new_tokens_names_its_example() -> None:
    longest = max(len(tokens) for tokens in prepare_evaluation(1).token_ids)
    prepare_evaluation(1, max_new_tokens=POSITIONS - longest)
    with refused(TaskFileError, expected="at most 44 tokens", got=45) as caught:
        prepare_evaluation(1, max_new_tokens=POSITIONS - longest + 1)
    assert caught.value.context["example"] == "1"
    assert caught.value.context["max_new_tokens"] == POSITIONS - longest + 1


def test_a_tokenizer_without_an_end_token_is_an_error() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with refused(ModelError, expected="an eos_token", got=None):
        prepare_translation(tokenizer, ITEMS, TextLimits(9, None), shots=[], pair=("fr", "en"))


def test_translations_survive_storage_and_can_be_selected_by_id() -> None:
    outputs = [TranslationOutput("0", "p", "x", "y", "0", ""), TranslationOutput("1", "q", "z", "w", "page", "news")]
    translations = Translations.from_outputs(outputs)
    columns = translations.columns()
    assert list(columns) == list(TRANSLATION_SCHEMA)
    assert columns == {key: [getattr(output, key) for output in outputs] for key in TRANSLATION_SCHEMA}
    assert Translations.from_columns(columns) == translations
    kept = Translations(("1",), ("z",), ("w",), ("q",), ("page",), ("news",))
    assert translations.select(frozenset(["1", "7"])) == kept
    moved = kept.with_groups({"1": ItemGroup()})
    assert (moved.clusters, moved.categories) == (("1",), ("",))


def test_translations_of_version_4_have_one_cluster_per_sentence_and_no_categories() -> None:
    columns = {"example_id": ["0", "1"], "prompt": ["p", "q"], "output": ["x", "z"], "reference": ["y", "w"]}
    translations = Translations.from_columns(columns)
    assert (translations.clusters, translations.categories) == (("0", "1"), ("", ""))
    outputs = [TranslationOutput(*values) for values in zip(*columns.values(), strict=True)]
    assert Translations.from_outputs(outputs) == translations
