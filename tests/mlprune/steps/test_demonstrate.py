"""Demonstration sets as they lie in the store, against texts written out by hand."""

import hashlib
from typing import Any

import pytest

from mlprune.plan import build_plan
from mlprune.recipe import load_recipe
from mlprune.steps.demonstrate import CorpusRef, DemonstrateJob, MixJob, SetSpec, files_of, lines_of, open_corpus
from mlprune.storage import Store
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import CORPUS, N_LINES, FinishedRun, tiny_recipe, write_recipe

END = "</s>"


def jobs_of(run: FinishedRun) -> dict[str, DemonstrateJob]:
    """What a set is -> its job."""
    jobs = [job for job in run.plan.jobs if isinstance(job, DemonstrateJob)]
    return {"-".join(job.spec.languages) or job.spec.kind: job for job in jobs}


def table_of(run: FinishedRun, job: DemonstrateJob | MixJob) -> dict[str, list[Any]]:
    return run.store.read_table(run.store.require(*job.identity.key).artefacts[0])


def order(seed: int, left_out: tuple[int, ...]) -> list[int]:
    lines = [line for line in range(N_LINES) if line not in left_out]
    return sorted(lines, key=lambda line: hashlib.sha256(f"{seed}:{line}".encode()).hexdigest())


@pytest.mark.parametrize("source", ["fr", "sw"])
def test_a_translation_set_holds_the_texts_of_the_method(tiny_run: FinishedRun, source: str) -> None:
    job = jobs_of(tiny_run)[f"{source}-en"]
    table = table_of(tiny_run, job)
    label = {"fr": "French", "sw": "Swahili"}[source]
    lines = order(0, job.spec.left_out)
    for index in range(4):
        chosen = lines[2 * index : 2 * index + 2]
        shown = [
            f"{label}: {CORPUS[source].format(n=line)}{END}English: {CORPUS['en'].format(n=line)}{END}"
            for line in chosen
        ]
        assert table["text"][index] == "".join(shown)
        assert table["sentence_ids"][index].tolist() == chosen
    assert table["demonstration"] == [0, 1, 2, 3]
    assert table["kind"] == ["translation"] * 4


def test_sets_of_equal_seed_and_shots_use_the_same_sentences_in_every_language(tiny_run: FinishedRun) -> None:
    tables = [table_of(tiny_run, jobs_of(tiny_run)[name]) for name in ("fr-en", "sw-en", "fr")]
    ids = [[one.tolist() for one in table["sentence_ids"]] for table in tables]
    assert ids[0] == ids[1] == ids[2]


def test_texts_are_tokenised_whole_and_cut_to_max_tokens(tiny_run: FinishedRun) -> None:
    table = table_of(tiny_run, jobs_of(tiny_run)["fr-en"])
    tokenizer = tiny_tokenizer()
    for text, ids in zip(table["text"], table["token_ids"], strict=True):
        assert ids.tolist() == tokenizer(text)["input_ids"][:48]
    assert {len(ids) for ids in table["token_ids"]} == {48}


def test_no_demonstration_shows_a_sentence_that_is_evaluated(tiny_run: FinishedRun) -> None:
    left_out = set(jobs_of(tiny_run)["fr-en"].spec.left_out)
    assert len(left_out) >= 4
    for name in ("fr-en", "sw-en", "fr"):
        used = [line for ids in table_of(tiny_run, jobs_of(tiny_run)[name])["sentence_ids"] for line in ids]
        assert not left_out & set(used)


def test_code_is_one_file_a_demonstration_in_hashed_order(tiny_run: FinishedRun) -> None:
    table = table_of(tiny_run, jobs_of(tiny_run)["code"])
    names = [f"part{number}.py" for number in range(6)]
    chosen = sorted(names, key=lambda name: hashlib.sha256(f"0:{name}".encode()).hexdigest())[:4]
    assert table["text"] == [(tiny_run.folder / "code" / name).read_text() for name in chosen]
    assert [len(ids) for ids in table["sentence_ids"]] == [0] * 4


def test_the_row_says_what_the_set_is(tiny_run: FinishedRun) -> None:
    rows = {row["demonstration_set_id"]: row for row in tiny_run.rows("demonstration_sets")}
    jobs = jobs_of(tiny_run)
    table = table_of(tiny_run, jobs["fr-en"])
    assert rows[jobs["fr-en"].identity.id] == {
        "demonstration_set_id": jobs["fr-en"].identity.id,
        "kind": "translation",
        "source_language": "fr",
        "target_language": "en",
        "shots": 2,
        "samples": 4,
        "max_tokens": 48,
        "n_tokens": sum(len(ids) for ids in table["token_ids"]),
        "seed": 0,
    }
    mono, code = rows[jobs["fr"].identity.id], rows[jobs["code"].identity.id]
    assert (mono["source_language"], mono["target_language"]) == ("fr", None)
    assert (code["source_language"], code["target_language"], code["shots"]) == (None, None, None)


def test_a_mixed_set_is_its_parts_one_after_the_other(tiny_run: FinishedRun) -> None:
    (mix,) = (job for job in tiny_run.plan.jobs if isinstance(job, MixJob))
    jobs = jobs_of(tiny_run)
    parts = [table_of(tiny_run, jobs[name]) for name in ("fr-en", "sw-en", "code")]
    table = table_of(tiny_run, mix)
    assert table["text"] == [text for part in parts for text in part["text"]]
    assert table["demonstration"] == list(range(12))
    assert table["kind"] == ["translation"] * 8 + ["code"] * 4
    rows = [row for row in tiny_run.rows("demonstration_set_parts") if row["demonstration_set_id"] == mix.identity.id]
    assert [row["part_id"] for row in rows] == [jobs[name].identity.id for name in ("fr-en", "sw-en", "code")]
    assert [row["share"] for row in rows] == [pytest.approx(1 / 3)] * 3


def test_equal_shares_take_as_many_of_every_part_as_the_smallest_has(own_inputs: Any, tmp_path: Any) -> None:
    recipe = {key: value for key, value in tiny_recipe().items() if key not in ("variants", "evaluations")}
    recipe["demonstrations"][2]["samples"] = 3
    recipe["demonstrations"][3]["shares"] = "equal"
    plan = build_plan(load_recipe(write_recipe(own_inputs, recipe)))
    store = Store(tmp_path / "store")
    for job in plan.jobs:
        if job.step == "demonstrate":
            job.run(store, None)  # type: ignore[arg-type]
    (row,) = (one for r in store.records() for one in r.rows["demonstration_sets"] if one["kind"] == "mixed")
    assert (row["samples"], row["max_tokens"]) == (9, 48)
    table = store.read_table(store.require("demonstration_sets", row["demonstration_set_id"]).artefacts[0])
    assert table["kind"] == ["translation"] * 6 + ["code"] * 3


def test_a_corpus_is_opened_once_and_code_is_chosen_by_path(tiny_run: FinishedRun) -> None:
    ref = CorpusRef("parallel_text", path=str(tiny_run.folder / "corpus"))
    assert open_corpus(ref) is open_corpus(CorpusRef("parallel_text", path=ref.path))
    spec = SetSpec("code", None, None, None, 2, 48, 0, code_path=str(tiny_run.folder / "code"))
    files, names = files_of(spec)
    assert (len(files), len(names)) == (6, 2)
    mono = SetSpec("monolingual", "fr", None, 3, 2, 48, 1)
    assert lines_of(mono, open_corpus(ref)) == [tuple(order(1, ())[:3]), tuple(order(1, ())[3:6])]
