"""Sets of profile paper: those that its variants read, and those that the published code cannot make."""

import copy
import json
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from mlprune.errors import BadInputError, CorpusError, RecipeError, TaskFileError
from mlprune.hashing import ordered_by_hash
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from mlprune.steps.demonstrate.planned_sets import plan_sets, refuse_without_counterpart, with_published_sets
from mlprune.steps.demonstrate.writing import CutTargets, DemonstrateJob, MixJob
from mlprune.steps.inputs import open_inputs
from mlprune.steps.observe.passes import plan_observation
from mlprune.steps.sets import PlannedSet, check_token_scope
from mlprune.vocabulary import ProfileName, TokenScope
from tests.mlprune.steps.demonstrate.test_writing import Written
from tests.refusals import refused
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import N_FACTS, small_recipe, tiny_recipe

SIZES = {"shots": 2, "max_tokens": 48, "samples": 4}
PAIRS = {"kind": "translation", "source": "fr", "target": "en", **SIZES}


@pytest.mark.parametrize(
    ("entry", "got"),
    [
        ({**PAIRS, "paired": False}, "paired: false"),
        ({**PAIRS, "samples": None, "token_budget": 60}, "token_budget"),
        ({"kind": "text", "path": "a.txt", **SIZES}, "kind text"),
    ],
)
def test_sets_without_a_published_counterpart_are_refused(tmp_path: Path, entry: dict[str, Any], got: str) -> None:
    sets = [{"name": "published", **PAIRS}, {"name": "own", **entry}]
    recipe = parse_recipe({**small_recipe(), "demonstrations": sets, "variants": []}, folder=tmp_path)
    refuse_without_counterpart(recipe.demonstrations[0])
    with refused(RecipeError, demonstrations="own", got=got):
        refuse_without_counterpart(recipe.demonstrations[1])


def test_a_recipe_keeps_what_its_published_variants_read_with_all_parts(tmp_path: Path) -> None:
    names = ("a", "b", "unread")
    sets = [{"name": name, **PAIRS} for name in names] + [{"name": "mixed", "kind": "mixed", "parts": ["a", "b"]}]
    wanda = {"score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    variants = [{**wanda, "demonstrations": "unread"}, {**wanda, "demonstrations": "mixed", "profile": "paper"}]
    recipe = parse_recipe({**small_recipe(), "demonstrations": sets, "variants": variants}, folder=tmp_path)
    assert [entry.name for entry in with_published_sets(recipe).demonstrations] == ["a", "b", "mixed"]


MT: dict[str, Any] = tiny_recipe()["demonstrations"][0]
CODE: dict[str, Any] = tiny_recipe()["demonstrations"][2]
FACTS = {"name": "facts", "kind": "task", "task": "facts", "path": "facts", "language": "fr", "split": "test"}
FACTS |= {"max_tokens": 48}
TEXT = {"name": "text", "kind": "text", "path": "corpus", "max_tokens": 48}
MIXED = {"name": "mixed", "kind": "mixed", "parts": ["mt"]}


def recipe_of(folder: Path, demonstrations: list[dict[str, Any]], **changes: Any) -> Recipe:
    recipe = {key: value for key, value in tiny_recipe().items() if key not in ("variants", "evaluations")}
    recipe |= {"demonstrations": copy.deepcopy(demonstrations), **changes}
    return parse_recipe(recipe, folder=folder)


def planned(
    folder: Path,
    demonstrations: list[dict[str, Any]],
    *,
    evaluated: frozenset[int] = frozenset(),
    leave_out: bool = False,
    profile: ProfileName = "corrected",
    **changes: Any,
) -> dict[str, tuple[PlannedSet, ...]]:
    corpus = {**tiny_recipe()["corpus"], "leave_out_evaluated": leave_out}
    parsed = recipe_of(folder, demonstrations, **{"corpus": corpus, **changes})
    return plan_sets(parsed, open_inputs(parsed), evaluated=evaluated, profile=profile)


def the_set(folder: Path, **changes: Any) -> PlannedSet:
    (one,) = planned(folder, [{**MT, "source": "fr", **changes}])["mt"]
    return one


def test_a_multiplied_entry_is_several_sets_of_one_name_with_labels(tiny_inputs: Path) -> None:
    sets = planned(tiny_inputs, [{**MT, "seed": [0, 1]}])["mt"]
    assert [one.label for one in sets] == ["fr-en", "fr-en seed 1", "sw-en", "sw-en seed 1"]
    assert len({one.id for one in sets}) == 4


def test_all_options_are_in_the_id(tiny_inputs: Path) -> None:
    changes: list[dict[str, Any]] = [{"shots": 3}, {"samples": 5}, {"max_tokens": 40}, {"seed": 1}, {"target": "sw"}]
    changes += [{"template": "{endonym}: {text}{end}"}, {"samples": None, "token_budget": 150}]
    changes += [{"paired": False}, {"longer": "truncate_left"}]
    entries = [{**MT, "source": "fr", **change, "name": str(n)} for n, change in enumerate(({}, *changes))]
    sets = planned(tiny_inputs, entries)
    assert len({one.id for of_name in sets.values() for one in of_name}) == len(changes) + 1


@pytest.mark.parametrize("same", [{"paired": True}, {"longer": "truncate_right"}, {"source": "fra_Latn"}])
def test_the_default_of_an_option_and_another_spelling_are_not_in_the_id(
    tiny_inputs: Path, same: dict[str, Any]
) -> None:
    (other,) = planned(tiny_inputs, [{**MT, "source": "fr", **same, "name": "other"}])["other"]
    assert other.id == the_set(tiny_inputs).id


def test_sets_without_pairs_have_it_in_their_label(tiny_inputs: Path) -> None:
    sets = planned(tiny_inputs, [{**MT, "source": "fr", "paired": [True, False]}])["mt"]
    assert [one.label for one in sets] == ["fr-en", "fr-en unpaired"]


def test_a_longer_demonstration_can_be_refused_while_planning(tiny_inputs: Path) -> None:
    with refused(CorpusError, demonstrations="mt"):
        the_set(tiny_inputs, longer="refuse", max_tokens=30)
    assert the_set(tiny_inputs, longer="refuse", shots=1, max_tokens=64).spec.longer == "refuse"


TARGET = {"mt": "English:", "facts": "rouge"}
"""First word of the target in the text of the first shot: a label, or an answer."""


@pytest.mark.parametrize("entry", [{**MT, "source": "fr", "shots": 1}, {**FACTS, "shots": 1, "template": "Q {text}"}])
def test_demonstrations_that_max_tokens_cuts_before_their_target_are_counted_and_warned_of(
    own_inputs: Path, caplog: pytest.LogCaptureFixture, entry: dict[str, Any]
) -> None:
    rows = [{"id": n, "prompt": f"{n} {'a' * (n // 2)} est <mask>", "candidates": ["rouge", "bleu"]} for n in range(40)]
    facts = own_inputs / "facts" / "fr.test.jsonl"
    facts.write_text("".join(json.dumps({**row, "answer": 0}) + "\n" for row in rows))
    for language, text in (("fr", "{n} {a} chats"), ("en", "{n} cats")):
        lines = [text.format(n=n, a="a" * (n // 2)) + "\n" for n in range(40)]
        (own_inputs / "corpus" / f"{language}.txt").write_text("".join(lines))

    def cut(max_tokens: int) -> tuple[CutTargets, list[str]]:
        caplog.clear()
        (one,) = planned(own_inputs, [{**entry, "samples": 20, "max_tokens": max_tokens}])[entry["name"]]
        assert isinstance(one.job, DemonstrateJob)
        return one.job.cut, [record.getMessage() for record in caplog.records if "target" in record.getMessage()]

    written = Written(own_inputs, {**entry, "samples": 20, "max_tokens": 64}).table()
    ids = tiny_tokenizer()
    before = [len(ids(text[: text.index(TARGET[entry["name"]])])["input_ids"]) for text in written["text"]]
    for max_tokens in (4, sorted(before)[10], max(before), max(before) + 1):
        n = sum(number >= max_tokens for number in before)
        count, warnings = cut(max_tokens)
        assert (count.n, count.n_checked) == (n, 20)
        assert [f"{n} of 20" in warning and str(max_tokens) in warning for warning in warnings] == [True] * (n >= 2)
    assert cut(4)[0].n == 20


def test_sets_without_targets_and_those_that_are_not_cut_at_the_end_lose_none(own_inputs: Path) -> None:
    mono = {"name": "mt", "kind": "monolingual", "language": "fr", "shots": 1, "samples": 4, "max_tokens": 4}
    for entry in (mono, {**MT, "source": "fr", "max_tokens": 4, "longer": "truncate_left"}):
        (one,) = planned(own_inputs, [entry])["mt"]
        assert isinstance(one.job, DemonstrateJob)
        assert one.job.cut == CutTargets()


def test_rows_with_a_blank_text_are_skipped_and_named_in_a_task_set(
    own_inputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"id": n, "premise": "p" if n else " ", "hypothesis": "h", "label": 0} for n in range(3)]
    (own_inputs / "xnli").mkdir()
    (own_inputs / "xnli" / "fr.dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {"name": "x", "kind": "task", "task": "xnli", "path": "xnli", "language": "fr", "split": "dev"}
    (one,) = planned(own_inputs, [{**entry, "shots": 1, "samples": 2, "max_tokens": 48}])["x"]
    assert one.spec.samples == 2
    (line,) = (record.getMessage() for record in caplog.records if "skipped" in record.getMessage())
    assert "fr 0" in line


def test_a_code_set_has_no_shots_and_no_corpus_in_its_id(own_inputs: Path) -> None:
    (first,) = planned(own_inputs, [CODE])["code"]
    (own_inputs / "corpus" / "fr.txt").write_text("x\n")
    (second,) = planned(own_inputs, [CODE], evaluated=frozenset({1}), leave_out=True)["code"]
    assert first.id == second.id
    assert (first.spec.shots, first.label) == (None, "code")
    for file in (own_inputs / "code").iterdir():
        file.write_text("y = 1\n")
    (third,) = planned(own_inputs, [CODE])["code"]
    assert third.id != first.id


def test_mixed_sets_may_be_parts_of_mixed_sets_in_any_order(tiny_inputs: Path) -> None:
    outer = {"name": "outer", "kind": "mixed", "parts": ["inner", "code"]}
    inner = {"name": "inner", "kind": "mixed", "parts": ["mt"], "shares": "equal"}
    sets = planned(tiny_inputs, [outer, inner, MT, CODE])
    assert sets["outer"][0].job.needs == tuple(one.identity.key for one in (*sets["inner"], *sets["code"]))
    assert sets["inner"][0].job.needs == tuple(one.identity.key for one in sets["mt"])
    assert (sets["inner"][0].spec.samples, sets["outer"][0].spec.samples) == (8, 12)
    names = list(sets)
    assert names.index("outer") > names.index("inner") > names.index("mt")


def test_shares_and_seed_of_a_mixed_set_are_in_its_id(tiny_inputs: Path) -> None:
    ids = {
        planned(tiny_inputs, [MT, {**MIXED, **change}])["mixed"][0].id
        for change in ({}, {"shares": "equal"}, {"seed": 1})
    }
    assert len(ids) == 3


MONO: dict[str, Any] = {"name": "mono", "kind": "monolingual", "language": ["en", "fr", "sw"], **SIZES, "samples": 10}


def mix_of(folder: Path, shares: dict[str, float], *parts: dict[str, Any], samples: int | None = None) -> PlannedSet:
    names = [part["name"] for part in parts]
    mixed = {"name": "m", "kind": "mixed", "parts": names, "shares": shares, "samples": samples}
    (one,) = planned(folder, [*parts, mixed])["m"]
    return one


def test_languages_are_mixed_with_numeric_shares_in_any_unit(tiny_inputs: Path) -> None:
    one = mix_of(tiny_inputs, {"en": 0.5, "fr": 0.3, "sw": 0.2}, MONO, samples=10)
    assert isinstance(one.job, MixJob)
    assert one.job.taken == (5, 3, 2)
    assert mix_of(tiny_inputs, {"sw": 20, "fr": 30, "en": 50}, MONO, samples=10).id == one.id
    assert mix_of(tiny_inputs, {"en": 0.4, "fr": 0.4, "sw": 0.2}, MONO, samples=10).id != one.id
    named = mix_of(tiny_inputs, {"mono": 1, "code": 3}, {**MONO, "language": "fr"}, CODE, samples=4)
    assert isinstance(named.job, MixJob)
    assert named.job.taken == (1, 3)


@pytest.mark.parametrize(
    "shares",
    [{"en": 1, "fr": 1}, {"en": 1, "fr": 1, "sw": 1, "de": 1}, {"mono": 1}, {"en": 1, "fr": 1, "sw": 1, "mono": 1}],
)
def test_every_part_has_one_share(tiny_inputs: Path, shares: dict[str, float]) -> None:
    with refused(RecipeError, demonstrations="m"):
        mix_of(tiny_inputs, shares, MONO)


def test_sentences_under_evaluation_are_refused_or_left_out(tiny_inputs: Path) -> None:
    every_other = frozenset(range(0, 40, 2))
    with refused(RecipeError, demonstrations="mt"):
        planned(tiny_inputs, [MT], evaluated=every_other)
    for one in planned(tiny_inputs, [MT], evaluated=every_other, leave_out=True)["mt"]:
        assert set(one.spec.left_out) == every_other
    with pytest.raises(CorpusError):
        planned(tiny_inputs, [MT], evaluated=frozenset(range(33)), leave_out=True)
    others = frozenset(range(40)) - set(ordered_by_hash(0, range(40))[:8])
    assert planned(tiny_inputs, [MT], evaluated=others)["mt"][0].spec.left_out == ()


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ({**MT, "source": "es"}, CorpusError, "language"),
        ({**MT, "samples": 21}, CorpusError, "too short"),
        ({**CODE, "samples": 7}, CorpusError, "7 Python files"),
        ({**CODE, "path": "facts"}, CorpusError, "code"),
        ({**TEXT, "samples": 4}, CorpusError, "4 documents"),
        ({**TEXT, "path": "code"}, CorpusError, "plain text"),
        ({**TEXT, "path": "none.txt"}, CorpusError, "none.txt"),
        ({**FACTS, "samples": 5, "shots": 2}, CorpusError, "10 items"),
        ({**FACTS, "language": "es"}, TaskFileError, "es"),
        ({**FACTS, "split": "dev"}, TaskFileError, "dev"),
        ({**FACTS, "path": "corpus"}, RecipeError, "corpus"),
        ({**MT, "paired": False, "longer": "skip"}, RecipeError, "skip"),
        ({**MIXED, "longer": "skip"}, RecipeError, "longer"),
        ({**MIXED, "samples": 9}, RecipeError, "mixed"),
        ({**MIXED, "samples": 1}, RecipeError, "mixed"),
        ({**MIXED, "parts": ["circle"]}, RecipeError, "['circle', 'mixed']"),
    ],
)
def test_what_a_set_cannot_be_made_of_is_found_while_planning_in_one_line(
    tiny_inputs: Path, entry: dict[str, Any], error: type[BadInputError], words: str
) -> None:
    others = [MT, {**MIXED, "name": "circle", "parts": ["mixed"]}] if entry["kind"] == "mixed" else []
    with pytest.raises(error) as caught:
        planned(tiny_inputs, [*others, entry])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_language_without_a_name_is_found_while_planning(own_inputs: Path) -> None:
    (own_inputs / "corpus" / "qqx.txt").write_text((own_inputs / "corpus" / "fr.txt").read_text())
    with pytest.raises(CorpusError):
        planned(own_inputs, [{**MT, "source": "qqx"}])
    own = planned(own_inputs, [{**MT, "source": "qqx", "template": "{text}{end}"}])
    assert own["mt"][0].spec.source == "qqx"


def test_a_wrong_template_is_found_while_planning_and_the_usual_one_is_none(tiny_inputs: Path) -> None:
    for template in ("{text", "{langage}: {text}", "{end}"):
        with refused(CorpusError, demonstrations="mt"):
            the_set(tiny_inputs, template=template)
    usual = the_set(tiny_inputs, template="{language}: {text}{end}")
    assert (usual.id, usual.spec.template) == (the_set(tiny_inputs).id, None)
    with pytest.raises(CorpusError):
        planned(tiny_inputs, [{**TEXT, "samples": 1, "template": "{language}: {text}"}])


def test_a_token_budget_finds_its_number_of_demonstrations_and_too_little_text(tiny_inputs: Path) -> None:
    mono = {"name": "mono", "kind": "monolingual", "language": "fr", "shots": 1, "max_tokens": 48}
    budget = {**MT, "source": "fr", "samples": None, "token_budget": 190, "max_tokens": 48}
    (translation,) = planned(tiny_inputs, [budget])["mt"]
    assert (translation.spec.samples, translation.label) == (4, "fr-en 190 tokens")
    # `French: {n} chats` and E: 16 bytes and a token, one byte more from ten on
    with refused(CorpusError, got=f"{10 * 16 + 30 * 17} tokens"):
        planned(tiny_inputs, [{**mono, "token_budget": 5000}])
    (whole,) = planned(tiny_inputs, [{**mono, "token_budget": 670}])["mono"]
    assert whole.spec.samples == 40


def test_a_budget_counts_no_further_than_the_evaluated_sentences_it_would_show(tiny_inputs: Path) -> None:
    first, *_, last = ordered_by_hash(0, range(40))
    entry = {**MT, "source": "fr", "samples": None, "token_budget": 48}
    assert planned(tiny_inputs, [entry], evaluated=frozenset({last}))["mt"]
    with refused(RecipeError, demonstrations="mt"):
        planned(tiny_inputs, [entry], evaluated=frozenset({first}))


def facts_evaluation(**changes: Any) -> dict[str, Any]:
    return {"task": "facts", "path": "./facts", "languages": ["en", "sw"], "split": "test", "limit": 3, **changes}


def test_items_of_files_that_are_not_aligned_are_refused_under_the_ids_of_the_file(tiny_inputs: Path) -> None:
    shown = {**FACTS, "shots": 2, "samples": 4}
    with pytest.raises(RecipeError, match="an evaluation uses"):
        planned(tiny_inputs, [shown], evaluations=[facts_evaluation(limit=None, aligned=False)])


def test_items_under_evaluation_are_refused_or_left_out_in_every_language(tiny_inputs: Path) -> None:
    shown = {**FACTS, "shots": 2, "samples": 4}
    evaluated = set(ordered_by_hash(0, [str(number) for number in range(N_FACTS)])[:3])
    with pytest.raises(RecipeError) as caught:
        planned(tiny_inputs, [shown], evaluations=[facts_evaluation()])
    assert caught.value.context["got"].startswith("3 evaluated items, the first is line ")
    with refused(CorpusError, got=N_FACTS - 3):
        planned(tiny_inputs, [shown], evaluations=[facts_evaluation()], leave_out=True)
    (left,) = planned(tiny_inputs, [{**shown, "samples": 2}], evaluations=[facts_evaluation()], leave_out=True)["facts"]
    assert set(left.spec.left_out) == evaluated
    assert left.label == "facts fr"


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("split_by", "is_refused"), [("items", False), ("clusters", True)])
def test_items_of_the_other_half_count_if_the_halves_are_drawn_in_another_way(
    tiny_inputs: Path, split_by: str, is_refused: bool
) -> None:
    shown = {**FACTS, "path": "corpus", "split": "dev", "shots": 2, "samples": 90}
    evaluation = facts_evaluation(path="corpus", limit=None, split_by=split_by)
    with refused(RecipeError, demonstrations="facts") if is_refused else nullcontext():
        planned(tiny_inputs, [shown], evaluations=[evaluation], corpus={"kind": "cldr", "lines": 10})


@pytest.mark.parametrize("change", [{"split": "dev"}, {"path": "others"}, {"task": "xcopa"}])
def test_items_of_another_task_folder_or_split_do_not_matter(own_inputs: Path, change: dict[str, Any]) -> None:
    shown = {**FACTS, "shots": 2, "samples": 4}
    (one,) = planned(own_inputs, [shown], evaluations=[facts_evaluation(**change)])["facts"]
    assert one.spec.left_out == ()


def test_the_same_items_under_another_path_are_items_under_evaluation(own_inputs: Path) -> None:
    archive = shutil.make_archive(str(own_inputs / "archive"), "zip", own_inputs / "facts")
    shown = {**FACTS, "shots": 2, "samples": 4}
    with refused(RecipeError, demonstrations="facts"):
        planned(own_inputs, [shown], evaluations=[facts_evaluation(path=archive)])


def test_the_facts_of_the_built_in_corpus_are_items_too(tiny_inputs: Path) -> None:
    shown = {**FACTS, "path": "corpus", "split": "dev", "samples": 2, "max_tokens": 64}
    cldr = {"kind": "cldr", "lines": 40}
    (one,) = planned(tiny_inputs, [shown], corpus=cldr)["facts"]
    assert (one.spec.path, one.spec.source, one.spec.samples) == ("", "fr", 2)
    tested = facts_evaluation(path="corpus", languages=["ru"], split="test", limit=None)
    assert planned(tiny_inputs, [shown], corpus=cldr, evaluations=[tested])["facts"][0].id == one.id
    with refused(RecipeError, demonstrations="facts"):
        planned(tiny_inputs, [shown], corpus=cldr, evaluations=[{**tested, "split": "dev"}])


def test_several_pairs_in_one_set_are_a_mixed_set_of_a_multiplied_entry(tiny_inputs: Path) -> None:
    pairs = {**MT, "source": None, "target": None, "pair": ["fr-en", "sw-en", "en-fr"]}
    for shares, samples, taken in (
        ("proportional", None, (4, 4, 4)),
        ("proportional", 6, (2, 2, 2)),
        ("equal", 7, (3, 2, 2)),
    ):
        sets = planned(tiny_inputs, [pairs, {**MIXED, "shares": shares, "samples": samples}])
        assert [one.label for one in sets["mt"]] == ["fr-en", "sw-en", "en-fr"]
        (one,) = sets["mixed"]
        assert isinstance(one.job, MixJob)
        assert (one.job.taken, one.spec.samples, one.label) == (taken, sum(taken), "mixed")
        assert one.job.parts == tuple(part.id for part in sets["mt"])
        assert one.spec.kinds == ("translation",)


def test_a_set_is_united_once_however_many_names_it_has(tiny_inputs: Path) -> None:
    again = {**MT, "name": "again"}
    (one,) = planned(tiny_inputs, [MT, again, {"name": "m", "kind": "mixed", "parts": ["mt", "again"]}])["m"]
    assert len(one.job.needs) == 2


def test_the_profile_is_part_of_the_id_and_the_default_is_the_corrected_one(tiny_inputs: Path) -> None:
    entries = [MT, CODE, {"name": "m", "kind": "mixed", "parts": ["mt", "code"]}]
    sets = [planned(tiny_inputs, entries, profile=profile) for profile in ("corrected", "paper")]
    ids = [{one.id for found in named.values() for one in found} for named in sets]
    assert [len(one) for one in ids] == [4, 4]
    assert not ids[0] & ids[1]
    assert {one.spec.profile for found in sets[1].values() for one in found} == {"paper"}
    assert {one.id for found in planned(tiny_inputs, entries).values() for one in found} == ids[0]


def test_profile_paper_ignores_the_seed_so_all_seeds_are_one_set(tiny_inputs: Path) -> None:
    sets = planned(tiny_inputs, [{**MT, "source": "fr", "seed": [0, 1]}], profile="paper")["mt"]
    assert [one.spec.seed for one in sets] == [0, 1]
    assert len({one.id for one in sets}) == 1


def test_the_published_code_needs_the_lines_it_skips_and_uses_them_in_file_order(tiny_inputs: Path) -> None:
    whole = {**MT, "source": "fr", "shots": 4, "samples": 8}
    assert planned(tiny_inputs, [whole], evaluated=frozenset({4, 9, 39}), profile="paper")
    with pytest.raises(RecipeError) as caught:
        planned(tiny_inputs, [whole], evaluated=frozenset({4, 5}), profile="paper")
    assert caught.value.context["got"].startswith("1 evaluated sentences")
    with refused(CorpusError, expected="44 sentences (9 x 4, 1 skipped after each)"):
        planned(tiny_inputs, [{**whole, "samples": 9}], profile="paper")


def test_planning_with_profile_paper_refuses_what_the_published_code_lacks(tiny_inputs: Path) -> None:
    with refused(RecipeError, got="kind task", demonstrations="facts"):
        planned(tiny_inputs, [FACTS], profile="paper")


def accepted_scopes(planned_set: PlannedSet) -> tuple[str, ...]:
    accepted = []
    for scope in get_args(TokenScope):
        with suppress(RecipeError):
            check_token_scope(planned_set, scope)
            accepted.append(scope)
    return tuple(accepted)


def test_a_token_scope_that_means_nothing_for_a_set_is_refused_with_its_name(tiny_inputs: Path) -> None:
    recipe = recipe_of(tiny_inputs, tiny_recipe()["demonstrations"])
    inputs = open_inputs(recipe)
    sets = plan_sets(recipe, inputs, evaluated=frozenset())
    assert {name: accepted_scopes(found[0]) for name, found in sets.items()} == {
        "mt": ("all", "content", "source", "target", "last_shot"),
        "mono": ("all", "content", "source", "last_shot"),
        "code": ("all", "content", "last_shot"),
        "mixed": ("all", "content", "last_shot"),
    }
    for name, scope, kind in (
        ("mono", "target", "monolingual"),
        ("code", "source", "code"),
        ("mixed", "target", "code"),
    ):
        for refuse in (check_token_scope, lambda one, scope: plan_observation(recipe, inputs, one, scope)):
            with refused(RecipeError, demonstrations=name, kind=kind, token_scope=scope):
                refuse(sets[name][0], scope)
    paper = plan_sets(recipe, inputs, evaluated=frozenset(), profile="paper")["mt"][0]
    assert accepted_scopes(paper) == ("all",)
