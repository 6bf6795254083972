"""A whole run with chats: demonstrations, their statistics and masks, and evaluations, compared with plain loops."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from catalog.store import Catalog
from mlprune.errors import BadInputError, ModelError, RecipeError, TaskFileError
from mlprune.planning import Plan, build_plan
from mlprune.planning.resources.estimate import needs_of
from mlprune.recipe.loading import load_recipe, parse_recipe
from mlprune.steps.demonstrate.planned_sets import plan_demonstrations
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.inputs import open_inputs
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.steps.observe.statistics_files import read_block_statistics
from mlprune.steps.rescore.rescore import Change, Selection, rescore
from mlprune.steps.rescore.verify import Recheck
from tests.chat_models import ALTERNATING, END_OF_TURN, WITH_SYSTEM, chat_tokenizer, save_chat_model
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import N_LINES, FinishedRun, copy_of, finished_run, layer_inputs, reference_model, write_texts

SIZES = {"samples": 3, "max_tokens": 140}
FACTS = {"task": "facts", "path": "facts", "languages": ["fr"], "chat": True}
PERPLEXITY = {"task": "perplexity", "path": "corpus", "languages": ["fr"], "limit": 4, "chat": True}
TRANSLATION = {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 3, "shots": 1, "chat": True}

MONO = {"name": "s", "kind": "monolingual", "language": "fr", **SIZES}


def chat_recipe() -> dict[str, Any]:
    """Chats of every kind of set that has them, and of every kind of evaluation."""
    wanda = {"score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    return {
        "name": "chats",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus", "leave_out_evaluated": True},
        "demonstrations": [
            {"name": "mt", "kind": "translation", "pair": "fr-en", "shots": 2, "chat": True, **SIZES},
            {"name": "mono", "kind": "monolingual", "language": "fr", "shots": 2, "chat": True, **SIZES},
            {"name": "facts", "kind": "task", "task": "facts", "path": "facts", "language": "fr", "split": "dev"}
            | {"shots": 1, "chat": True, **SIZES},
            {"name": "mixed", "kind": "mixed", "parts": ["mt", "mono", "facts"]},
        ],
        "variants": [
            {"name": "content", "demonstrations": "mt", "tokens": "content", **wanda},
            {"name": "all", "demonstrations": "mt", **wanda, "propagation": "sequential"},
            {"name": "mixed", "demonstrations": "mixed", "tokens": "content", **wanda},
        ],
        "evaluations": [
            {**FACTS, "rule": ["mean", "pmi"]},
            PERPLEXITY,
            {**TRANSLATION, "max_new_tokens": 4},
            {**FACTS, "chat": False},
        ],
        "compute": {"batch_tokens": 400},
    }


def write_chat_inputs(folder: Path, template: str) -> Path:
    write_texts(folder)
    save_chat_model(folder / "model", template)
    for path in (folder / "facts").glob("*.test.jsonl"):
        rows = [{**json.loads(line), "id": 100 + number} for number, line in enumerate(path.open(encoding="utf-8"))]
        dev = path.with_name(path.name.replace("test", "dev"))
        dev.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = write_chat_inputs(tmp_path_factory.mktemp("chats"), ALTERNATING)
    return finished_run(folder, chat_recipe(), name="chats")


@pytest.fixture(scope="module")
def catalog(run: FinishedRun) -> Iterator[Catalog]:
    with Catalog.in_memory(run.store) as opened:
        yield opened


def sets_of(run: FinishedRun, kind: str) -> dict[str, list[Any]]:
    (record,) = (
        record
        for record in run.store.records("demonstration_sets")
        if record.rows["demonstration_sets"][0]["kind"] == kind
    )
    return run.store.read_table(record.artefacts[0])


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("translation", "</s>" + "<u>French: N chats<|e|>\n<a>English: N cats<|e|>\n" * 2),
        ("monolingual", "</s>" + "<u>French:<|e|>\n<a>N chats<|e|>\n" * 2),
        ("task", "</s><u>N est<|e|>\n<a>ANSWER<|e|>\n"),
    ],
)
def test_demonstrations_are_written_as_turns(run: FinishedRun, kind: str, form: str) -> None:
    table, tokenizer = sets_of(run, kind), chat_tokenizer(ALTERNATING)
    for text, ids in zip(table["text"], table["token_ids"], strict=True):
        assert re.sub(r"\d+", "N", re.sub("rouge|bleu|gris", "ANSWER", text)) == form
        assert tokenizer.decode(ids) == text


def content_of(text: str) -> list[bool]:
    """Whether each character of a text in the alternating template is a part of a turn's text."""
    flags = [False] * len(text)
    for match in re.finditer(r"<[ua]>(.*?)<\|e\|>", text, re.DOTALL):
        flags[match.start(1) : match.end(1)] = [True] * len(match[1])
    return flags


def test_statistics_of_content_are_those_of_a_plain_loop_over_the_tokens_of_turns(run: FinishedRun) -> None:
    (job,) = (
        job
        for job in run.plan.jobs
        if isinstance(job, ObserveJob)
        and job.token_scope == "content"
        and run.store.require("demonstration_sets", job.demonstration_set_id).rows["demonstration_sets"][0]["kind"]
        == "translation"
    )
    record, model = run.store.require(*job.identity.key), reference_model(run.folder / "model")
    tokenizer = chat_tokenizer(ALTERNATING)
    inputs, counted = [], []
    for text in sets_of(run, "translation")["text"]:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        flags = content_of(text)
        counted.append(torch.tensor([flags[start] for start, _ in encoded["offset_mapping"]]))
        inputs.append(layer_inputs(model, encoded["input_ids"], layers=ARCHITECTURES["xglm"].input_names))
    assert record.rows["statistics"][0]["n_tokens"] == sum(int(flags.sum()) for flags in counted)
    for block in range(3):
        for name, rows in read_block_statistics(run.store, record.artefacts, block).items():
            kept = [one[block, name].double()[flags] for one, flags in zip(inputs, counted, strict=True)]
            reference = torch.stack([values.square().sum(dim=0) for values in kept])
            torch.testing.assert_close(rows.double(), reference, rtol=1e-5, atol=1e-6)


def evaluations(run: FinishedRun, task: str, rule: str) -> list[tuple[dict[str, Any], dict[str, list[Any]]]]:
    """Row and predictions of the evaluations of the dense model in a chat."""
    found = []
    for record in run.store.records("evaluations"):
        (row,) = record.rows["evaluations"]
        is_dense = run.plan.variants[row["variant_id"]].is_dense
        if is_dense and (row["task"], row["scoring_rule"]) == (task, rule) and row.get("chat_template_sha256"):
            found.append((row, run.store.read_table(record.artefacts[0])))
    return found


def answer_log_probs(model: Any, prompt: str, answer: str) -> list[float]:
    tokenizer = chat_tokenizer(ALTERNATING)
    given, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, prompt + answer))
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
    return [float(log_probs[place - 1, ids[place]]) for place in range(len(given), len(ids))]


def test_candidates_are_scored_as_the_answer_of_the_assistant(run: FinishedRun) -> None:
    model = reference_model(run.folder / "model")
    ((_, table),) = evaluations(run, "facts", "mean")
    assert len(table["candidate"]) == 24
    for row, candidate in enumerate(table["candidate"]):
        prompt = f"</s><u>{table['example_id'][row]} est<|e|>\n<a>"
        expected = answer_log_probs(model, prompt, candidate)
        assert table["n_tokens"][row] == table["candidate_n_tokens"][row] == len(expected)
        for column in ("log_likelihood", "candidate_log_likelihood"):
            assert table[column][row] == pytest.approx(sum(expected), rel=1e-5)


def test_perplexity_is_that_of_the_answer_to_the_name_of_the_language(run: FinishedRun) -> None:
    model = reference_model(run.folder / "model")
    ((_, table),) = evaluations(run, "perplexity", "sum")
    for row, sentence in enumerate(table["candidate"]):
        expected = answer_log_probs(model, "</s><u>French:<|e|>\n<a>", sentence)
        assert table["log_likelihood"][row] == pytest.approx(sum(expected), rel=1e-5)
        assert table["n_tokens"][row] == len(expected)


def greedy(model: Any, ids: Sequence[int], *, stops: set[int], n: int) -> list[int]:
    tokens = list(ids)
    for _ in range(n):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())
        if token in stops:
            break
        tokens.append(token)
    return tokens[len(ids) :]


def test_a_translation_continues_the_answer_and_its_shots_are_earlier_turns(run: FinishedRun) -> None:
    model, tokenizer = reference_model(run.folder / "model"), chat_tokenizer(ALTERNATING)
    ((row, table),) = evaluations(run, "translation", "greedy")
    form = "</s><u>French: N chats<|e|>\n<a>English: N cats<|e|>\n<u>French: N chats<|e|>\n<a>English:"
    stops = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END_OF_TURN)}
    for prompt, output in zip(table["prompt"], table["output"], strict=True):
        assert re.sub(r"\d+", "N", prompt) == form
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        expected = greedy(model, ids, stops=stops, n=4)
        assert output == tokenizer.decode(expected, skip_special_tokens=True).strip()
    assert row["n_shots"] == 1


@pytest.mark.thorough("runs recipes of its own")
def test_the_catalog_says_which_texts_are_chats_and_in_which_template(run: FinishedRun, catalog: Catalog) -> None:
    sets = catalog.query("SELECT kind, chat_template_sha256, chat_system FROM demonstration_sets")
    (sha256,) = {row["chat_template_sha256"] for row in sets if row["kind"] != "mixed"}
    assert sha256 == hashlib.sha256(ALTERNATING.encode()).hexdigest()
    assert {(row["kind"], row["chat_template_sha256"], row["chat_system"]) for row in sets} == {
        *((kind, sha256, None) for kind in ("translation", "monolingual", "task")),
        ("mixed", None, None),
    }
    protocols = catalog.query(
        "SELECT task, chat_template_sha256 = $sha256 AS is_chat, protocol FROM internal.protocols", {"sha256": sha256}
    )
    assert {row["task"] for row in protocols if row["is_chat"]} == {"facts", "perplexity", "translation"}
    assert all(f"chat ({sha256[:8]})" in str(row["protocol"]) for row in protocols if row["is_chat"])
    assert [(row["task"], row["protocol"]) for row in protocols if not row["is_chat"]] == [("facts", None)]


def test_sets_of_a_chat_are_described_as_such(run: FinishedRun, catalog: Catalog) -> None:
    rows = {
        row["kind"]: row for row in catalog.query("SELECT kind, label, settings, made_of FROM internal.described_sets")
    }
    assert (rows["translation"]["label"], rows["mixed"]["settings"]) == ("fr-en", None)
    assert str(rows["translation"]["settings"]).startswith("chat (")
    assert str(rows["mixed"]["label"]).count(" chat") == 3
    parsed = load_recipe(run.recipe_path)
    sets = plan_demonstrations(parsed, open_inputs(parsed), evaluated=frozenset(range(N_LINES // 2)))
    labels = {planned.name: planned.label for planned in sets.distinct}
    assert labels["mt"] == "fr-en chat"


@pytest.mark.thorough("runs recipes of its own")
def test_lrp2_is_searched_in_a_chat_and_its_trials_say_so(tmp_path: Path) -> None:
    folder = write_chat_inputs(tmp_path, WITH_SYSTEM)
    chat = {"system": "Answer."}
    recipe = {**chat_recipe(), "variants": [], "evaluations": [{**FACTS, "limit": 2, "chat": chat}]}
    recipe["demonstrations"] = [{**MONO, "name": "m", "language": ["en", "fr"]}]
    recipe["baselines"] = [{"name": "lrp2", "kind": "lrp2", "demonstrations": "m"}]
    finished = finished_run(folder, recipe, name="lrp2")
    rows = finished.rows("lrp2_trials")
    assert {row["chat_system"] for row in rows} == {"Answer."}
    with Catalog.in_memory(finished.store) as catalog:
        (row,) = catalog.query("SELECT protocol FROM internal.protocols")
        assert str(row["protocol"]).endswith("system text Answer.")


def test_self_translation_is_refused_in_a_chat(tmp_path: Path) -> None:
    folder = write_chat_inputs(tmp_path, ALTERNATING)
    baseline = {"name": "t", "kind": "self_translate", "shots": 1, "max_new_tokens": 4}
    recipe = {**chat_recipe(), "demonstrations": [], "variants": [], "evaluations": [FACTS], "baselines": [baseline]}
    with refused(RecipeError, key="chat"):
        build_plan(parse_recipe(recipe, folder=folder))


def test_another_model_needs_the_same_template(tmp_path: Path) -> None:
    folder = write_chat_inputs(tmp_path, ALTERNATING)
    baseline = {"name": "other", "kind": "model", "path": "other"}
    recipe = {**chat_recipe(), "demonstrations": [], "variants": [], "evaluations": [FACTS], "baselines": [baseline]}
    save_chat_model(folder / "other", WITH_SYSTEM, positions=150)
    with refused(RecipeError, task="facts"):
        build_plan(parse_recipe(recipe, folder=folder))
    save_chat_model(folder / "other", ALTERNATING, positions=150)
    assert build_plan(parse_recipe(recipe, folder=folder)).jobs


def test_stored_evaluations_in_a_chat_verify_and_are_read_back(run: FinishedRun) -> None:
    recheck = Recheck(run.store, lambda _: run.folder / "model")
    for record in run.store.records("evaluations"):
        assert recheck.contradictions(record) == []


def test_another_rule_of_stored_candidates_has_the_id_that_a_recipe_with_this_rule_plans(
    run: FinishedRun, tmp_path: Path
) -> None:
    store = copy_of(run.store, tmp_path / "store")
    rescored = rescore(store, Change(rule="candidate_sum"), Selection(tasks=["facts"], rule="mean"))
    asked = [{**entry, "rule": "candidate_sum"} for entry in chat_recipe()["evaluations"] if entry["task"] == "facts"]
    others = [entry for entry in chat_recipe()["evaluations"] if entry["task"] != "facts"]
    plan = build_plan(parse_recipe({**chat_recipe(), "evaluations": [*others, *asked]}, folder=run.folder))
    planned = [one for job in plan.jobs if isinstance(job, EvaluateJob) for one in job.evaluations]
    assert set(rescored.evaluation_ids) == {one.identity.id for one in planned if one.task.task == "facts"}


def plan_with(folder: Path, *, demonstrations: Sequence[Any] = (), evaluations: Sequence[Any] = ()) -> Plan:
    sections = {"demonstrations": list(demonstrations), "evaluations": list(evaluations)}
    plan = build_plan(parse_recipe({**chat_recipe(), "variants": [], **sections}, folder=folder))
    needs_of(plan, plan.jobs)
    return plan


def ids_of(plan: Plan) -> list[str]:
    return [
        key[1]
        for job in plan.jobs
        if isinstance(job, EvaluateJob) or job.step == "demonstrate"
        for key in job.makes
        if key[0] in ("evaluations", "demonstration_sets")
    ]


def test_ids_depend_on_template_and_system_text_only_if_the_key_is_given(tmp_path: Path) -> None:
    folder = write_chat_inputs(tmp_path, WITH_SYSTEM)
    mono = chat_recipe()["demonstrations"][1]

    def ids(chat: Any) -> list[str]:
        changes = {} if chat is None else {"chat": chat}
        sets = [{key: value for key, value in mono.items() if key != "chat"} | changes]
        asked = [{key: value for key, value in FACTS.items() if key != "chat"} | changes]
        return ids_of(plan_with(folder, demonstrations=sets, evaluations=asked))

    before = {name: ids(chat) for name, chat in (("absent", None), ("false", False), ("true", True), ("empty", {}))}
    system, other = ids({"system": "Answer."}), ids({"system": "Answer now."})
    assert before["absent"] == before["false"]
    assert before["true"] == before["empty"]
    distinct = (before["absent"], before["true"], system, other)
    assert all(len(set(of_kind)) == 4 for of_kind in zip(*distinct, strict=True))
    jinja = folder / "model" / "chat_template.jinja"
    jinja.write_text(jinja.read_text().replace("[assistant]", "[bot]"))
    assert ids(None) == before["absent"]
    assert not set(ids(True)) & set(before["true"])


@pytest.mark.thorough("runs recipes of its own")
@pytest.mark.parametrize(
    ("template", "demonstrations", "evaluations", "error"),
    [
        (None, [{**MONO, "chat": True}], [], ModelError),
        (None, [], [FACTS], ModelError),
        (ALTERNATING, [{**MONO, "chat": {"system": "Answer."}}], [], ModelError),
        (ALTERNATING, [], [{**FACTS, "chat": {"system": "Answer."}}], ModelError),
        ("{{ raise_exception('never') }}", [], [FACTS], ModelError),
        (ALTERNATING, [{**MONO, "chat": True, "template": "{text}"}], [], BadInputError),
        (ALTERNATING, [{**MONO, "chat": {"systm": "Answer."}}], [], RecipeError),
        (ALTERNATING, [{**MONO, "chat": {"system": " "}}], [], RecipeError),
        (ALTERNATING, [{**MONO, "chat": "yes please"}], [], RecipeError),
        (ALTERNATING, [{**MONO, "chat": True, "longer": "truncate_left"}], [], RecipeError),
        (ALTERNATING, [{"name": "c", "kind": "code", "path": "code", "chat": True}], [], RecipeError),
        (ALTERNATING, [], [{**FACTS, "longer": "truncate_left"}], RecipeError),
        (ALTERNATING, [], [{**FACTS, "profile": "paper"}], RecipeError),
        (ALTERNATING, [], [{**FACTS, "path": "gaps"}], TaskFileError),
    ],
)
def test_wrong_chats_are_refused_in_one_line_while_planning(
    tmp_path: Path, template: str | None, demonstrations: list[Any], evaluations: list[Any], error: type[BadInputError]
) -> None:
    folder = write_chat_inputs(tmp_path, template or ALTERNATING)
    if template is None:
        (folder / "model" / "chat_template.jinja").unlink()
    (folder / "gaps").mkdir()
    row = {"id": 1, "prompt": "<mask> est bleu", "candidates": ["Le ciel", "Le soleil"], "answer": 0}
    (folder / "gaps" / "fr.test.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(error) as caught:
        plan_with(folder, demonstrations=demonstrations, evaluations=evaluations)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_key_of_a_chat_names_the_nearest_one(tmp_path: Path) -> None:
    recipe = {**chat_recipe(), "evaluations": [{**FACTS, "chat": {"systm": "x"}}]}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert "system" in str(caught.value)
