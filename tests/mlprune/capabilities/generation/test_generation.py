"""Texts that the model writes itself, as demonstrations: the same on every run, and read by a variant."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.generation.generation import prompt_ids
from mlprune.corpus.chat import inspect_chat
from mlprune.errors import CorpusError, RecipeError
from mlprune.models.loading import load_tokenizer
from mlprune.recipe.loading import parse_recipe
from mlprune.store.store import Store
from tests.chat_models import ALTERNATING, save_chat_model
from tests.mlprune.capabilities.generation.own_texts import recipe_of, written
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import contents, plan_of, write_recipe


def test_every_text_has_the_tokens_that_the_prompt_leaves_and_no_special_one(
    finished: tuple[Store, dict[str, Any]],
) -> None:
    store, tables = finished
    tokenizer = tiny_tokenizer()
    for language, prompt in (("fr", "français:"), ("sw", "Kiswahili:")):
        n_prompt = len(prompt_ids(tokenizer, prompt))
        table = tables[language]
        assert [len(ids) for ids in table["token_ids"]] == [24 - n_prompt] * 3
        assert not {token for ids in table["token_ids"] for token in ids} & set(tokenizer.all_special_ids)
        assert table["text"] == [tokenizer.decode(ids) for ids in table["token_ids"]]
        assert len(set(table["text"])) == 3
    rows = {
        row["language"]: row for record in store.records("generated_texts") for row in record.rows["generated_texts"]
    }
    assert (rows["fr"]["prompt"], rows["fr"]["n_texts"], rows["fr"]["n_distinct"]) == ("français:", 3, 3)


def test_demonstrations_are_the_texts_and_a_variant_reads_them(finished: tuple[Store, dict[str, Any]]) -> None:
    store, tables = finished
    sets = list(store.records("demonstration_sets"))
    for record in sets:
        (row,) = record.rows["demonstration_sets"]
        assert (row["kind"], row["samples"], row["shots"]) == ("generated", 3, 1)
        texts = store.read_table(record.artefacts[0])["text"]
        assert sorted(texts) == sorted(f"{text}</s>" for text in tables[row["source_language"]]["text"])
    rows = [row for one in store.records("variants") for row in one.rows.get("variant_demonstrations", ())]
    assert sorted(row["demonstration_set_id"] for row in rows) == sorted(record.id for record in sets)


@pytest.mark.thorough("runs a model for every case")
def test_another_run_writes_the_same_bytes_and_other_batches_the_same_texts(
    tiny_inputs: Path, finished: tuple[Store, dict[str, Any]], tmp_path: Path
) -> None:
    again, small = Store(tmp_path / "again"), Store(tmp_path / "small")
    assert written(tiny_inputs, again) == finished[1]
    files, earlier = contents(again), contents(finished[0])
    assert files == {path: earlier[path] for path in files}
    assert any(path.startswith("generated/") for path in files)
    assert written(tiny_inputs, small, batch_tokens=24) == finished[1]


@pytest.mark.thorough("runs a model for every case")
def test_seed_temperature_and_prompt_give_other_texts(tiny_inputs: Path, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"temperature": 0.5}, {"prompt": ""}, {"prompt": "{language}"}]
    texts = []
    for number, change in enumerate(changes):
        store = Store(tmp_path / str(number))
        tables = written(tiny_inputs, store, language="fr", samples=1, **change)
        texts.append(tuple(tables["fr"]["token_ids"][0]))
    assert len(set(texts)) == len(changes)


def test_what_a_generated_set_cannot_be_is_refused(tiny_inputs: Path) -> None:
    budget = {"token_budget": 100, "samples": None}
    for change in ({"shots": 2}, budget, {"temperature": -1}, {"source": "fr"}):
        with pytest.raises(RecipeError):
            parse_recipe(recipe_of(**change), folder=tiny_inputs)
    for change, error in (({"max_tokens": 5}, RecipeError), ({"prompt": "{text}{tongue}"}, CorpusError)):
        with pytest.raises(error):
            plan_of(write_recipe(tiny_inputs, recipe_of(**change), name="own.yaml"))


@pytest.mark.thorough("runs a model for every case")
def test_in_a_chat_the_prompt_is_the_turn_of_the_user_and_the_text_that_of_the_assistant(own_inputs: Path) -> None:
    save_chat_model(own_inputs / "model", ALTERNATING)
    store, changes = Store(own_inputs / "store"), {"language": "fr", "max_tokens": 48}
    table = written(own_inputs, store, chat=True, **changes)["fr"]
    tokenizer = load_tokenizer(own_inputs / "model")
    opened = "</s><u>français:<|e|>\n<a>"
    chat = inspect_chat(tokenizer, None)
    ids = prompt_ids(tokenizer, "français:", chat=chat)
    assert tokenizer.decode(ids) == opened
    assert [len(ids) + len(drawn) for drawn in table["token_ids"]] == [48] * 3
    (record,), (sets,) = store.records("generated_texts"), store.records("demonstration_sets")
    assert record.rows["generated_texts"][0]["chat_template_sha256"] == chat.template_sha256
    texts = store.read_table(sets.artefacts[0])["text"]
    assert sorted(texts) == sorted(f"{opened}{text.strip()}<|e|>\n" for text in table["text"])
    plain = written(own_inputs, store, **changes)["fr"]
    assert plain["text"] != table["text"]
    assert len(list(store.records("generated_texts"))) == 2
    with pytest.raises(CorpusError):
        written(own_inputs, store, chat=True, prompt="", **changes)
