"""Self-translation as it lies in the store, against plain greedy decoding and plain scoring of what it gave."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.corpus.templates import format_labelled, language_label
from mlprune.hashing import ordered_by_hash
from mlprune.models.local_chain import local_chain
from mlprune.steps.baselines.self_translation import SelfTranslateJob
from mlprune.steps.evaluate.jobs import EvaluateJob, EvaluationSpec
from mlprune.steps.evaluate.results import predictions_of
from mlprune.store.store import Store
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import CORPUS, N_FACTS, N_LINES, FinishedRun, fact, reference_model, results

END = "</s>"
NEW_TOKENS = 4


def jobs_of(run: FinishedRun) -> list[SelfTranslateJob]:
    return [job for job in run.plan.jobs if isinstance(job, SelfTranslateJob)]


def table_of(run: FinishedRun, task: str, language: str) -> dict[str, list[Any]]:
    (job,) = (one for one in jobs_of(run) if (one.task.task, one.task.language) == (task, language))
    return run.store.read_table(run.store.require(*job.identity.key).artefacts[0])


def evaluation(run: FinishedRun, name: str, task: str, language: str) -> EvaluationSpec:
    found = run.named(name) or [one for one in run.plan.variants.values() if one.label == name]
    (job,) = (one for one in run.plan.jobs if isinstance(one, EvaluateJob) and one.variant_id == found[0].id)
    wanted = (task, language, "mean")
    return next(one for one in job.evaluations if (one.task.task, one.task.language, one.task.rule) == wanted)


def prompt_of(language: str, text: str) -> str:
    (line,) = ordered_by_hash(0, range(N_LINES))[:1]
    shot = (CORPUS[language].format(n=line), CORPUS["en"].format(n=line))
    shown = format_labelled(language, shot[0], END) + format_labelled("en", shot[1], END)
    return f"{shown}{format_labelled(language, text, END)}{language_label('en')}:"


def scored(model: Any, text: str) -> float:
    ids = tiny_tokenizer()(text)["input_ids"]
    with torch.no_grad():
        log_probs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
    return sum(log_probs[place - 1, ids[place]].item() for place in range(1, len(ids))) / (len(ids) - 1)


def test_texts_are_translated_greedily_behind_the_first_sentences_of_the_corpus(baseline_run: FinishedRun) -> None:
    model, tokenizer = reference_model(baseline_run.folder / "model"), tiny_tokenizer()
    table = table_of(baseline_run, "facts", "fr")
    for place in range(0, len(table["text"]), 5):
        tokens = tokenizer(prompt_of("fr", table["text"][place]))["input_ids"]
        n_prompt = len(tokens)
        for _ in range(NEW_TOKENS):
            with torch.no_grad():
                chosen = int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())
            if chosen == tokenizer.eos_token_id:
                break
            tokens.append(chosen)
        expected = tokenizer.decode(tokens[n_prompt:], skip_special_tokens=True).strip()
        assert table["translation"][place] == (expected if len(tokenizer(expected)["input_ids"]) > 1 else "")


def test_every_text_of_every_example_has_a_row_of_its_own(baseline_run: FinishedRun) -> None:
    table = table_of(baseline_run, "facts", "fr")
    expected = [
        (str(number), "text", place, fact("fr", number)["prompt"].replace("<mask>", candidate))
        for number in range(N_FACTS)
        for place, candidate in enumerate(fact("fr", number)["candidates"])
    ]
    found = zip(*(table[key] for key in ("example_id", "key", "place", "text")), strict=True)
    assert list(found) == expected
    own = table_of(baseline_run, "which", "fr")
    assert [own["key"][row] for row in range(4)] == ["text", "options", "options", "options"]
    for name, language in (("facts", "fr"), ("which", "fr")):
        table = table_of(baseline_run, name, language)
        (row,) = (
            one for one in baseline_run.rows("self_translations") if (one["task"], one["language"]) == (name, language)
        )
        assert row["n_texts"] == len(table["text"])
        assert row["n_distinct"] == len(set(table["text"]))
        assert row["n_empty"] == table["translation"].count("")


def test_what_is_evaluated_are_the_translations(baseline_run: FinishedRun) -> None:
    model = reference_model(baseline_run.folder / "model")
    table = table_of(baseline_run, "facts", "sw")
    texts = [translation or text for text, translation in zip(table["text"], table["translation"], strict=True)]
    assert texts != table["text"]
    found = predictions_of(baseline_run.store, evaluation(baseline_run, "translate", "facts", "sw"))
    scores = [score for item in found.item_scores() for score in item]
    assert scores == pytest.approx([scored(model, text) for text in texts], abs=1e-5)
    plain = predictions_of(baseline_run.store, evaluation(baseline_run, "dense", "facts", "sw"))
    assert (found.example_ids, found.candidates) == (plain.example_ids, plain.candidates)
    assert list(found.gold) == list(plain.gold)


def test_a_template_is_filled_with_the_translations(baseline_run: FinishedRun) -> None:
    model = reference_model(baseline_run.folder / "model")
    table = table_of(baseline_run, "mood", "fr")
    texts = [translation or text for text, translation in zip(table["text"], table["translation"], strict=True)]
    expected = [scored(model, f"{text} It is {label}.") for text in texts for label in ("sad", "glad")]
    found = predictions_of(baseline_run.store, evaluation(baseline_run, "translate", "mood", "fr"))
    assert [score for item in found.item_scores() for score in item] == pytest.approx(expected, abs=1e-5)


def test_english_is_left_as_it_is(baseline_run: FinishedRun) -> None:
    assert "en" not in {job.task.language for job in jobs_of(baseline_run)}
    files = {
        baseline_run.store.require(*found.identity.key).artefacts[0].sha256
        for found in (evaluation(baseline_run, name, "facts", "en") for name in ("dense", "translate"))
    }
    assert len(files) == 1


@pytest.mark.parametrize("n_shards", [2, 3])
def test_a_chain_of_shards_gives_the_same_translations(
    baseline_run: FinishedRun, tmp_path: Path, n_shards: int
) -> None:
    store, model = Store(tmp_path), baseline_run.plan.model
    chain = functools.cache(lambda: local_chain(Path(model.path), n_shards=n_shards, dtype=model.dtype))
    for job in jobs_of(baseline_run):
        job.run(store, chain)
    expected, found = results(baseline_run.store), results(store)
    assert found == {name: expected[name] for name in found}
    assert len(found) == 2 * len(jobs_of(baseline_run))
