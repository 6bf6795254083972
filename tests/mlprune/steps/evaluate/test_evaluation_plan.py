"""Planned evaluations of a recipe, and the sentences that they use."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BadInputError, CorpusError, RecipeError, TaskFileError
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.evaluation.tasks.items import published_examples
from mlprune.hashing import split_of
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning import Plan, build_plan
from mlprune.planning.resources.estimate import Needs, needs_of
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.evaluation_plan import evaluated_lines
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.inputs import open_corpus, open_inputs
from mlprune.steps.rescore.verify import Recheck
from mlprune.steps.tasks.evaluation import prepared_task, shot_lines, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store
from tests.refusals import refused
from tests.tiny_recipes import CORPUS, N_FACTS, N_LINES, run_plan, small_recipe

PERPLEXITY: dict[str, Any] = {"task": "perplexity", "path": "corpus", "languages": ["en"]}
TRANSLATION: dict[str, Any] = {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 3}
TRANSLATION |= {"shots": 1, "max_new_tokens": 4}
FACTS: dict[str, Any] = {"task": "facts", "path": "facts", "languages": ["en"]}


def recipe_of(*evaluations: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {**small_recipe(), "demonstrations": [], "variants": [], "evaluations": list(evaluations), **sections}


def plan_of(folder: Path, *evaluations: dict[str, Any], **sections: Any) -> Plan:
    return build_plan(parse_recipe(recipe_of(*evaluations, **sections), folder=folder))


def needed(folder: Path, *evaluations: dict[str, Any]) -> Needs:
    """Jobs that a run would start; their texts are tokenised here."""
    plan = plan_of(folder, *evaluations)
    return needs_of(plan, plan.jobs)


def evaluation_ids(folder: Path, *evaluations: dict[str, Any], **sections: Any) -> list[str]:
    plan = plan_of(folder, *evaluations, **sections)
    return [one.identity.id for job in plan.jobs if isinstance(job, EvaluateJob) for one in job.evaluations]


def by_hash(seed: int, lines: list[int]) -> list[int]:
    return sorted(lines, key=lambda line: hashlib.sha256(f"{seed}:{line}".encode()).hexdigest())


def lines_under_evaluation(folder: Path, *evaluations: dict[str, Any]) -> frozenset[int]:
    recipe = parse_recipe(recipe_of(*evaluations), folder=folder)
    return evaluated_lines(recipe, open_inputs(recipe))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_perplexity_reads_the_half_of_the_corpus_named_by_its_split(tiny_inputs: Path, split: str) -> None:
    half = {line for line in range(N_LINES) if split_of(line) == split}
    assert lines_under_evaluation(tiny_inputs, {**PERPLEXITY, "split": split}) == half
    limited = lines_under_evaluation(tiny_inputs, {**PERPLEXITY, "split": split, "limit": 5, "seed": 2})
    assert limited == set(by_hash(2, sorted(half))[:5])


def test_all_evaluations_of_the_corpus_use_lines_and_facts_use_none(tiny_inputs: Path) -> None:
    lines = lines_under_evaluation(tiny_inputs, {**PERPLEXITY, "limit": 2, "split": "dev"}, TRANSLATION, FACTS)
    assert len(lines) == 5
    assert lines_under_evaluation(tiny_inputs, FACTS) == frozenset()


def test_the_same_folder_named_by_its_path_counts_as_the_corpus(tiny_inputs: Path) -> None:
    entry = {**PERPLEXITY, "path": "./corpus/", "limit": 3}
    whole = {**entry, "path": str(tiny_inputs / "corpus")}
    assert lines_under_evaluation(tiny_inputs, entry) == lines_under_evaluation(tiny_inputs, whole)


def test_demonstrations_with_evaluated_sentences_are_refused_unless_left_out(
    tiny_inputs: Path,
) -> None:
    mono = {"name": "m", "kind": "monolingual", "language": "fr", "shots": 2, "samples": 5, "max_tokens": 48}
    corpus = {"kind": "parallel_text", "path": "corpus"}
    with pytest.raises(RecipeError, match="an evaluation uses"):
        plan_of(tiny_inputs, {**PERPLEXITY, "split": "dev"}, demonstrations=[mono], corpus=corpus)
    plan_of(tiny_inputs, {**PERPLEXITY, "split": "dev"}, demonstrations=[mono])


def test_dense_is_evaluated_on_everything_and_variants_where_they_are_named(tiny_inputs: Path) -> None:
    entries = [
        {"name": "a", "score": "magnitude", "sparsity": [0.25, 0.5]},
        {"name": "b", "score": "random", "sparsity": 0.5},
    ]
    plan = plan_of(tiny_inputs, FACTS, {**PERPLEXITY, "variants": ["b"]}, variants=entries)
    jobs = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    tasks = {plan.variants[job.variant_id].label: [one.task.task for one in job.evaluations] for job in jobs}
    of_both = {"dense": ["facts", "perplexity"], "random 0.5 row": ["facts", "perplexity"]}
    assert tasks == {**of_both, "magnitude 0.25 row": ["facts"], "magnitude 0.5 row": ["facts"]}


def test_equal_evaluations_of_several_entries_are_one(tiny_inputs: Path) -> None:
    ids = evaluation_ids(tiny_inputs, FACTS, {**FACTS, "languages": ["fr", "eng_Latn"]}, {**FACTS, "limit": 3})
    assert len(ids) == 3


def test_every_choice_changes_the_id(tiny_inputs: Path) -> None:
    changes = ({"limit": 4}, {"seed": 1}, {"shots": 0}, {"max_new_tokens": 5}, {"split": "dev"}, {"pairs": ["en-fr"]})
    ids = evaluation_ids(tiny_inputs, TRANSLATION, *({**TRANSLATION, **change} for change in changes))
    assert len(set(ids)) == len(changes) + 1


def test_dtype_and_batch_tokens_are_in_the_id_and_the_rest_of_compute_is_not(tiny_inputs: Path) -> None:
    first = evaluation_ids(tiny_inputs, FACTS)
    assert evaluation_ids(tiny_inputs, FACTS, compute={"batch_tokens": 128, "replicas": 3}) == first
    assert evaluation_ids(tiny_inputs, FACTS, compute={"batch_tokens": 129}) != first
    assert evaluation_ids(tiny_inputs, FACTS, model={"path": "model", "dtype": "float16"}) != first


def test_content_identifies_a_task_and_folder_and_unused_keys_do_not(own_inputs: Path) -> None:
    first = evaluation_ids(own_inputs, FACTS)
    (own_inputs / "facts").rename(own_inputs / "moved")
    moved = own_inputs / "moved" / "en.test.jsonl"
    rows = [{**json.loads(line), "source": "web"} for line in moved.read_text().splitlines()]
    moved.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluation_ids(own_inputs, {**FACTS, "path": "moved"}) == first
    rows[0]["prompt"] += "!"
    (own_inputs / "other").mkdir()
    (own_inputs / "other" / "en.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluation_ids(own_inputs, {**FACTS, "path": "other"}) != first


def test_a_pair_needs_sentences_for_its_shots(tiny_inputs: Path) -> None:
    whole = {**TRANSLATION, "path": "./corpus", "limit": None}
    with pytest.raises(RecipeError):
        plan_of(tiny_inputs, whole)
    plan_of(tiny_inputs, {**whole, "shots": 0})


XNLI = {"task": "xnli", "path": "xnli", "languages": ["fr"]}
GOOD_ROW = {"id": 1, "premise": "a", "hypothesis": "b", "label": "neutral"}


def write_xnli(folder: Path, language: str, rows: list[dict[str, Any]]) -> None:
    (folder / "xnli").mkdir(exist_ok=True)
    (folder / "xnli" / f"{language}.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("row", "context"),
    [
        ({**GOOD_ROW, "label": "maybe"}, {"line": 2, "got": "maybe"}),
        ({**GOOD_ROW, "label": 3}, {"line": 2, "got": 3}),
        ({**GOOD_ROW, "label": True}, {"line": 2}),
        ({**GOOD_ROW, "premise": 5}, {"key": "premise"}),
        ({**GOOD_ROW, "id": 0}, {"first": 1}),
        ({**GOOD_ROW, "id": 1.5}, {"line": 2}),
        ({"id": 1, "premise": "a", "label": 0}, {"line": 2}),
        ({**GOOD_ROW, "premise": "long " * 30}, {"example": "1"}),
    ],
)
def test_a_wrong_row_of_a_task_file_is_found_while_planning(
    own_inputs: Path, row: dict[str, Any], context: dict[str, Any]
) -> None:
    write_xnli(own_inputs, "fr", [{**GOOD_ROW, "id": 0}, row])
    with refused(TaskFileError, task="xnli", language="fr", split="test", **context) as caught:
        needed(own_inputs, XNLI)
    assert "fr.test.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_with_a_blank_text_are_skipped_and_named_once_for_all_languages(
    own_inputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for language, number in (("fr", 3), ("es", 4)):
        write_xnli(
            own_inputs, language, [GOOD_ROW, {**GOOD_ROW, "id": 2}, {**GOOD_ROW, "id": number, "hypothesis": ""}]
        )
    plan = plan_of(own_inputs, {**XNLI, "languages": ["fr", "es"]}, {**XNLI, "rule": "pmi"})
    (job, *_) = (job for job in plan.jobs if isinstance(job, EvaluateJob))
    tasks = [evaluation.task for evaluation in job.evaluations if evaluation.task.task == "xnli"]
    assert [[item.example_id for item in task_data(task).items] for task in tasks] == [["1", "2"]] * 3
    (line,) = (record.getMessage() for record in caplog.records if "skipped" in record.getMessage())
    assert all(part in line for part in ("2 rows", "fr 3", "es 4"))


def test_items_longer_than_the_model_can_be_left_out_or_cut_and_the_default_is_not_in_ids(own_inputs: Path) -> None:
    write_xnli(own_inputs, "fr", [{**GOOD_ROW, "id": n, "premise": "a" * n} for n in (1, 2, 60)])
    assert evaluation_ids(own_inputs, {**XNLI, "longer": "refuse"}) == evaluation_ids(own_inputs, XNLI)
    with pytest.raises(TaskFileError):
        needed(own_inputs, XNLI)
    ids = [evaluation_ids(own_inputs, {**XNLI, "longer": how}) for how in ("refuse", "skip", "truncate_left")]
    assert len({tuple(one) for one in ids}) == 3
    for how, n_kept in (("skip", 2), ("truncate_left", 3)):
        plan = plan_of(own_inputs, {**XNLI, "longer": how})
        run_plan(plan, store := Store(own_inputs / f"store-{how}"))
        (job,) = (job for job in plan.jobs if isinstance(job, EvaluateJob))
        record = store.require(*job.evaluations[0].identity.key)
        (row,) = record.rows["evaluations"]
        assert (row["n_examples"], row["longer"], row["n_longer"]) == (n_kept, how, 1)
        assert {metric["n"] for metric in record.rows["metrics"] if metric["metric"] == "accuracy"} == {n_kept}
        assert Recheck(store, lambda _: own_inputs / "model").contradictions(record) == []


def test_a_task_whose_items_may_be_left_out_is_not_translated_by_the_model(own_inputs: Path) -> None:
    baseline = {"name": "t", "kind": "self_translate", "shots": 1, "max_new_tokens": 4}
    with pytest.raises(RecipeError):
        plan_of(own_inputs, {**FACTS, "languages": ["fr"], "longer": "skip"}, baselines=[baseline])


@pytest.mark.parametrize("limit", [10**10, 10**30])
def test_an_absurd_limit_is_refused_and_a_large_one_costs_no_more_than_the_items(own_inputs: Path, limit: int) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(own_inputs, {**FACTS, "limit": limit})
    assert "limit" in caught.value.context["key"]
    variants = [{"name": "m", "score": "magnitude", "sparsity": 0.5}]
    costs = []
    for few_or_many in (N_FACTS, 10**9):
        plan = plan_of(own_inputs, {**FACTS, "limit": few_or_many}, variants=variants)
        costs.append(max(cost.fixed_bytes for cost in needs_of(plan, plan.jobs).costs if cost.step == "compare"))
    assert costs[1] < 2**30


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ({**XNLI, "languages": ["de"]}, TaskFileError, "de.test.jsonl"),
        ({**XNLI, "languages": ["it"], "prompt_language": "native"}, TaskFileError, "native"),
        ({**FACTS, "languages": ["de"]}, TaskFileError, "de.test.jsonl"),
        ({**FACTS, "split": "dev"}, TaskFileError, "en.dev.jsonl"),
        ({**FACTS, "path": "corpus"}, RecipeError, "facts"),
        ({**FACTS, "shots_from": "corpus"}, RecipeError, "shots_from"),
        ({**PERPLEXITY, "languages": ["de"]}, CorpusError, "de"),
        ({**TRANSLATION, "pairs": ["fr-de"]}, CorpusError, "de"),
        ({**TRANSLATION, "max_new_tokens": 60}, TaskFileError, "fr-en"),
        ({**TRANSLATION, "path": "facts"}, CorpusError, "facts"),
    ],
)
def test_missing_inputs_of_an_evaluation_are_found_while_planning(
    own_inputs: Path, entry: dict[str, Any], error: type[BadInputError], words: str
) -> None:
    write_xnli(own_inputs, "it", [GOOD_ROW])
    with pytest.raises(error) as caught:
        needed(own_inputs, entry)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def jobs_of(folder: Path, *evaluations: dict[str, Any], **sections: Any) -> list[EvaluateJob]:
    return [job for job in plan_of(folder, *evaluations, **sections).jobs if isinstance(job, EvaluateJob)]


def test_rules_prompts_and_seeds_of_shots_multiply_out(own_inputs: Path) -> None:
    write_xnli(own_inputs, "fr", [GOOD_ROW])
    entry = {**XNLI, "rule": ["mean", "pmi"], "prompt_language": ["en", "native"]}
    (job,) = jobs_of(own_inputs, entry, {**TRANSLATION, "shot_seed": [0, 1]})
    tasks = [evaluation.task for evaluation in job.evaluations]
    chosen = [(task.scoring_rule, task.prompt_language, task.prompts) for task in tasks[:4]]
    assert chosen == [(rule, *prompts) for rule in ("mean", "pmi") for prompts in (("en", "en"), ("fr", "native"))]
    assert [(task.shots, task.shot_seed, task.max_new_tokens) for task in tasks[4:]] == [(1, 0, 4), (1, 1, 4)]
    shots = [shot_lines(evaluation.task) for evaluation in job.evaluations[4:]]
    lines = sorted(set(range(N_LINES)) - {int(item.example_id) for item in task_data(job.evaluations[4].task).items})
    assert shots == [(by_hash(seed, lines)[0],) for seed in (0, 1)]
    assert len({evaluation.identity.id for evaluation in job.evaluations}) == 6
    seeded = {**TRANSLATION, "shot_seed": 0}
    assert evaluation_ids(own_inputs, seeded) == evaluation_ids(own_inputs, TRANSLATION), "the seed of the entry"


MOOD = {"name": "mood", "template": "{text} is {candidate}", "answer": "label", "labels": ["0", "1"]}


def test_a_template_task_is_planned_and_its_description_is_in_the_id(own_inputs: Path) -> None:
    (own_inputs / "mood").mkdir()
    rows = [{"id": n, "text": f"t{n}", "label": n % 2} for n in range(3)]
    (own_inputs / "mood" / "fr.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {"task": "mood", "path": "mood", "languages": ["fr"]}
    (job,) = jobs_of(own_inputs, entry, tasks=[MOOD])
    assert task_data(job.evaluations[0].task).items[2].texts == ("t2 is 0", "t2 is 1")
    first = evaluation_ids(own_inputs, entry, tasks=[MOOD])
    assert evaluation_ids(own_inputs, entry, tasks=[{**MOOD, "words": ["sad", "glad"]}]) != first
    with pytest.raises(RecipeError):
        plan_of(own_inputs, entry, tasks=[{**MOOD, "template": "{text}"}])
    with pytest.raises(TaskFileError):
        plan_of(own_inputs, entry, tasks=[{**MOOD, "answer": "gold"}])


def test_two_splits_that_read_the_same_rows_are_refused(own_inputs: Path) -> None:
    (own_inputs / "mood").mkdir()
    rows = [{"id": n, "text": f"t{n}", "label": n % 2} for n in range(3)]
    (own_inputs / "mood" / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries = [{"task": "mood", "path": "mood", "languages": ["fr"], "split": split} for split in ("dev", "test")]
    tasks = [{**MOOD, "files": "all.jsonl"}]
    for entry in entries:
        assert evaluation_ids(own_inputs, entry, tasks=tasks), "one split alone"
    with refused(RecipeError, task="mood", language="fr"):
        plan_of(own_inputs, *entries, tasks=tasks)


def tasks_of(folder: Path, *evaluations: dict[str, Any]) -> list[TaskSpec]:
    (job,) = jobs_of(folder, *evaluations)
    return [evaluation.task for evaluation in job.evaluations]


def test_the_profile_is_left_out_of_the_id_of_a_corrected_evaluation(tiny_inputs: Path) -> None:
    corrected = evaluation_ids(tiny_inputs, FACTS)
    assert evaluation_ids(tiny_inputs, {**FACTS, "profile": "corrected"}) == corrected
    both = evaluation_ids(tiny_inputs, {**FACTS, "profile": ["corrected", "paper"]})
    assert both[0] == corrected[0]
    assert both[1:] == evaluation_ids(tiny_inputs, {**FACTS, "profile": "paper"}) != corrected


def test_profile_paper_has_the_published_number_and_order_of_examples(tiny_inputs: Path) -> None:
    corrected, paper = tasks_of(tiny_inputs, {**FACTS, "profile": ["corrected", "paper"]})
    assert (corrected.limit, paper.limit, paper.seed) == (None, 1000, 0)
    assert corrected.protocol.id != paper.protocol.id
    _, paper = tasks_of(tiny_inputs, {**FACTS, "limit": 3, "seed": 5, "profile": ["corrected", "paper"]})
    assert (paper.limit, paper.seed) == (3, 0)
    ids = [item.example_id for item in task_data(replace(paper, limit=1000)).items]
    assert set(task_data(paper).rows) == set(published_examples(ids, 3))


def test_shots_of_a_translation_may_be_from_another_text(own_inputs: Path) -> None:
    (own_inputs / "other").mkdir()
    for language in ("fr", "en"):
        (own_inputs / "other" / f"{language}.txt").write_text("".join(f"{language} {n}\n" for n in range(9)))
    entry = {**TRANSLATION, "path": "other", "limit": None}
    with pytest.raises(RecipeError):
        plan_of(own_inputs, entry)
    own = {**entry, "limit": 3}
    ids = [evaluation_ids(own_inputs, {**own, **more})[0] for more in ({}, {"shots_from": "corpus"})]
    assert ids[0] != ids[1]
    for same in ("other", "./other"):
        assert evaluation_ids(own_inputs, {**own, "shots_from": same})[0] == ids[0]
    (task,) = tasks_of(own_inputs, {**entry, "shots_from": "corpus"})
    (line,) = shot_lines(task)
    assert line == by_hash(0, list(range(N_LINES)))[0]
    prepared = prepared_task(task, open_inputs(parse_recipe(recipe_of(), folder=own_inputs)).model, 128)
    assert isinstance(prepared, PreparedTranslation)
    shown = f"French: {CORPUS['fr']}</s>English: {CORPUS['en']}</s>".format(n=line)
    assert prepared.prompts[0] == f"{shown}French: fr 0</s>English:"
    (own_task,) = tasks_of(own_inputs, own)
    assert task.protocol.id != own_task.protocol.id
    (own_inputs / "corpus" / "en.txt").write_text("".join(f"new {n}\n" for n in range(N_LINES)))
    open_corpus.cache_clear()
    assert evaluation_ids(own_inputs, {**own, "shots_from": "corpus"})[0] not in ids


def test_shots_of_another_text_are_not_evaluated_sentences(own_inputs: Path) -> None:
    (own_inputs / "other").mkdir()
    for language in ("fr", "en"):
        lines = [CORPUS[language].format(n=line) for line in range(N_LINES - 2)]
        (own_inputs / "other" / f"{language}.txt").write_text("\n".join([*lines, f"only here, {language}"]) + "\n")
    entry = {**TRANSLATION, "path": "other", "shots_from": "corpus", "limit": None, "shots": 2}
    assert shot_lines(tasks_of(own_inputs, entry)[0]) == tuple(by_hash(0, [N_LINES - 2, N_LINES - 1]))
    with pytest.raises(RecipeError):
        plan_of(own_inputs, {**entry, "shots": 3})


def test_evaluations_of_published_text_use_the_corpus_only_in_the_same_split(own_inputs: Path) -> None:
    for split, n_lines in (("dev", 5), ("devtest", 4)):
        (own_inputs / "flores" / split).mkdir(parents=True)
        for code in ("eng_Latn", "fra_Latn"):
            lines = [f"{code} {split} {line}\n" for line in range(n_lines)]
            (own_inputs / "flores" / split / f"{code}.{split}").write_text("".join(lines))
    corpus = {"kind": "parallel_text", "path": "flores"}
    used = {}
    for path, split in (("flores", "dev"), ("flores/dev", "dev"), ("flores", "test"), ("flores", "devtest")):
        entry = {**PERPLEXITY, "path": path, "split": split}
        recipe = parse_recipe(recipe_of(entry, corpus=corpus), folder=own_inputs)
        used[path, split] = len(evaluated_lines(recipe, open_inputs(recipe)))
    assert list(used.values()) == [5, 5, 0, 0]
    for bad in ({"split": "train"}, {"path": "corpus", "split": "dev"}):
        with pytest.raises(CorpusError):
            plan_of(own_inputs, PERPLEXITY, corpus={**corpus, **bad})


def test_rules_and_profiles_that_share_a_run_are_priced_once(tiny_inputs: Path) -> None:
    costs = []
    for more in ({}, {"rule": ["mean", "candidate_sum"]}, {"profile": ["corrected", "paper"]}):
        (job,) = jobs_of(tiny_inputs, {**FACTS, **more})
        costs.append(job.cost(footprint(Path(job.model.path), "float32"), {}))
    assert costs[0].flops == costs[1].flops == costs[2].flops > 0
    assert costs[0].disk_bytes < costs[1].disk_bytes == costs[2].disk_bytes
