"""A tokenizer that does not know the texts of a demonstration set is found while planning."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mlprune.errors import CorpusError
from mlprune.models.loading import SENTENCE
from mlprune.planning import Plan
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from mlprune.steps.demonstrate.planned_sets import plan_demonstrations, plan_sets
from mlprune.steps.demonstrate.writing import (
    N_TEXTS,
    DemonstrateJob,
    MixJob,
    check_unknown_tokens,
    sample_texts,
    set_sizes,
)
from mlprune.steps.inputs import open_inputs
from mlprune.steps.job import make_identity
from mlprune.steps.sets import PlannedSet, SourceTexts
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import ProfileName
from tests.mlprune.steps.job_costs import SET_TOKENS
from tests.tiny_models import END as END_ID
from tests.tiny_models import PAD, save_tiny_model, tiny_tokenizer
from tests.tiny_recipes import CORPUS, N_LINES, FinishedRun, fact, tiny_recipe


def _english_tokenizer() -> PreTrainedTokenizerFast:
    """Tokenizer of single characters that knows ASCII only."""
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = {token: number for number, token in enumerate(["</s>", "<unk>", "▁", *letters, *"éàèçêîôû"])}
    tokenizer = Tokenizer(models.Unigram([(token, -float(number)) for token, number in vocabulary.items()], unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


def _recipe(folder: Path, language: str) -> Recipe:
    demonstrations = {"name": "mono", "kind": "monolingual", "language": language, "samples": 4, "max_tokens": 32}
    variants = [{"name": "wanda", "demonstrations": "mono", "score": "wanda", "sparsity": 0.5}]
    values = {"model": {"path": str(folder)}, "corpus": {"kind": "cldr", "lines": 60}, "variants": variants}
    return parse_recipe({"name": "r", **values, "demonstrations": [demonstrations]}, folder=folder)


@pytest.mark.thorough("runs a model for every case")
def test_sets_in_a_language_that_the_tokenizer_lacks_are_refused_by_the_plan(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", vocab_size=105)
    _english_tokenizer().save_pretrained(folder)
    known, unknown = (_recipe(folder, language) for language in ("fr", "hi"))
    plan_demonstrations(known, open_inputs(known), evaluated=frozenset())
    with pytest.raises(CorpusError) as caught:
        plan_demonstrations(unknown, open_inputs(unknown), evaluated=frozenset())
    assert "hi" in str(caught.value.context["demonstrations"])


def test_a_sample_is_spread_over_all_texts() -> None:
    texts = SourceTexts("sentences", {}, (lambda number, end: f"{number}{end}",), lambda _: {})
    sample = sample_texts(texts, [(2 * number, 2 * number + 1) for number in range(500)])
    assert len(sample) == N_TEXTS
    assert (sample[0], int(sample[-1]) > 900) == ("0", True)


def test_a_set_of_unknown_tokens_is_refused_when_it_is_made() -> None:
    tokenizer = _english_tokenizer()
    check_unknown_tokens([tokenizer(SENTENCE)["input_ids"]], tokenizer)
    with pytest.raises(CorpusError):
        check_unknown_tokens([tokenizer("ab नमस्ते cd")["input_ids"]], tokenizer)


END = "</s>"


def jobs_of(run: FinishedRun) -> dict[str, DemonstrateJob]:
    """What a set is -> its job."""
    jobs = [job for job in run.plan.jobs if isinstance(job, DemonstrateJob)]
    return {"-".join(job.spec.languages) or job.spec.kind: job for job in jobs}


def table_of(run: FinishedRun, job: DemonstrateJob | MixJob) -> dict[str, list[Any]]:
    return run.store.read_table(run.store.require(*job.identity.key).artefacts[0])


class Written:
    """The stored demonstration sets of some entries."""

    def __init__(
        self, folder: Path, *entries: dict[str, Any], profile: ProfileName = "corrected", **changes: Any
    ) -> None:
        recipe = {key: value for key, value in tiny_recipe().items() if key not in ("variants", "evaluations")}
        recipe |= {"demonstrations": list(entries), **changes}
        parsed = parse_recipe(recipe, folder=folder)
        sets = plan_sets(parsed, open_inputs(parsed), evaluated=frozenset(), profile=profile)
        self.store = Store(folder / "sets-store")
        self.sets: list[PlannedSet] = [one for found in sets.values() for one in found]
        for one in self.sets:
            one.job.run(self.store, None)  # type: ignore[arg-type]

    def record(self, index: int = -1) -> Record:
        return self.store.require(*self.sets[index].identity.key)

    def table(self, index: int = -1) -> dict[str, list[Any]]:
        return self.store.read_table(self.record(index).artefacts[0])

    def row(self, index: int = -1) -> dict[str, Any]:
        (row,) = self.record(index).rows["demonstration_sets"]
        return row


def order(seed: int, left_out: tuple[int, ...]) -> list[int]:
    lines = [line for line in range(N_LINES) if line not in left_out]
    return sorted(lines, key=lambda line: hashlib.sha256(f"{seed}:{line}".encode()).hexdigest())


@pytest.mark.parametrize("source", ["fr", "sw"])
def test_a_translation_set_has_the_texts_of_the_method(tiny_run: FinishedRun, source: str) -> None:
    job = jobs_of(tiny_run)[f"{source}-en"]
    table = table_of(tiny_run, job)
    label = {"fr": "French", "sw": "Swahili"}[source]
    lines = order(0, job.spec.left_out)
    for index in range(4):
        chosen = lines[2 * index : 2 * index + 2]
        form = f"{label}: {CORPUS[source]}{END}English: {CORPUS['en']}{END}"
        assert table["text"][index] == "".join(form.format(n=line) for line in chosen)
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


TEXTS = ["a", "b" * 20, "c" * 3, "d" * 30, "e" * 4, "f" * 5]
TEXT: dict[str, Any] = {"name": "t", "kind": "text", "path": "texts.txt", "samples": 3, "max_tokens": 10}


@pytest.fixture
def texts(own_inputs: Path) -> Path:
    """Inputs with short and long texts; the drawing order of three of them has a long one."""
    (own_inputs / "texts.txt").write_text("\n\n".join(TEXTS))
    return own_inputs


def test_longer_demonstrations_can_be_replaced_by_the_next_ones(texts: Path) -> None:
    order = sorted(range(len(TEXTS)), key=lambda number: hashlib.sha256(f"0:{number}".encode()).hexdigest())
    short = [number for number in order if len(TEXTS[number]) <= 8][:3]
    assert short != order[:3]
    written = Written(texts, {**TEXT, "longer": "skip", "template": "{text}"})
    assert [ids.tolist() for ids in written.table()["sentence_ids"]] == [[number] for number in short]
    n_longer = order.index(short[-1]) - 2
    assert (written.row()["samples"], written.row()["longer"], written.row()["n_longer"]) == (3, "skip", n_longer)
    job = written.sets[-1].job
    assert isinstance(job, DemonstrateJob)
    assert job.n_longer == n_longer > 0
    with pytest.raises(CorpusError) as caught:
        Written(texts, {**TEXT, "longer": "skip", "samples": 5})
    assert "2 longer" in str(caught.value)


def test_longer_demonstrations_can_lose_their_start(texts: Path) -> None:
    written = Written(texts, {**TEXT, "longer": "truncate_left", "samples": 6})
    tokenizer = tiny_tokenizer()
    for text, ids in zip(written.table()["text"], written.table()["token_ids"], strict=True):
        assert ids.tolist() == tokenizer(text)["input_ids"][-10:]
    assert (written.row()["longer"], written.row()["n_longer"]) == ("truncate_left", 2)
    assert "longer" not in Written(texts, TEXT).row()


def test_a_token_budget_is_filled_without_the_demonstrations_that_are_skipped(texts: Path) -> None:
    budget = {key: value for key, value in TEXT.items() if key != "samples"} | {"token_budget": 14}
    written = Written(texts, {**budget, "longer": "skip"})
    assert sum(len(ids) for ids in written.table()["token_ids"]) == 14
    assert all(len(text) < 12 for text in written.table()["text"])


def test_no_demonstration_shows_a_sentence_that_is_evaluated(tiny_run: FinishedRun) -> None:
    left_out = set(jobs_of(tiny_run)["fr-en"].spec.left_out)
    assert len(left_out) >= 4
    for name in ("fr-en", "sw-en", "fr"):
        used = [line for ids in table_of(tiny_run, jobs_of(tiny_run)[name])["sentence_ids"] for line in ids]
        assert not left_out & set(used)


def test_a_code_demonstration_is_one_file_in_hashed_order(tiny_run: FinishedRun) -> None:
    table = table_of(tiny_run, jobs_of(tiny_run)["code"])
    names = [f"part{number}.py" for number in range(6)]
    chosen = sorted(names, key=lambda name: hashlib.sha256(f"0:{name}".encode()).hexdigest())[:4]
    assert table["text"] == [(tiny_run.folder / "code" / name).read_text() for name in chosen]
    assert [len(ids) for ids in table["sentence_ids"]] == [0] * 4


def test_the_row_describes_the_set(tiny_run: FinishedRun) -> None:
    rows = {row["demonstration_set_id"]: row for row in tiny_run.rows("demonstration_sets")}
    jobs = jobs_of(tiny_run)
    translation = jobs["fr-en"].identity.id
    languages = {"kind": "translation", "source_language": "fr", "target_language": "en"}
    sizes = {"shots": 2, "samples": 4, "max_tokens": 48, "seed": 0, "profile": "corrected"}
    sizes["n_tokens"] = sum(len(ids) for ids in table_of(tiny_run, jobs["fr-en"])["token_ids"])
    nothing = dict.fromkeys(("template", "token_budget", "task"))
    assert rows[translation] == {"demonstration_set_id": translation, **languages, **sizes, **nothing}
    mono, code = rows[jobs["fr"].identity.id], rows[jobs["code"].identity.id]
    assert (mono["source_language"], mono["target_language"]) == ("fr", None)
    assert (code["source_language"], code["target_language"], code["shots"]) == (None, None, None)


def test_a_mixed_set_is_its_parts_in_order(tiny_run: FinishedRun) -> None:
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


SMALL: dict[str, Any] = {"samples": 4, "max_tokens": 48}
MT: dict[str, Any] = {"name": "mt", "kind": "translation", "pair": "fr-en", "shots": 2, **SMALL}
MONO: dict[str, Any] = {"name": "mono", "kind": "monolingual", "language": "fr", "shots": 2, **SMALL}
CODE: dict[str, Any] = {"name": "code", "kind": "code", "path": "code", **SMALL}


def test_equal_shares_take_as_many_from_every_part_as_the_smallest_has(own_inputs: Path) -> None:
    mixed = {"name": "mixed", "kind": "mixed", "parts": ["mt", "code"], "shares": "equal"}
    found = Written(own_inputs, {**MT, "pair": ["fr-en", "sw-en"]}, {**CODE, "samples": 3}, mixed)
    assert (found.row()["samples"], found.row()["max_tokens"]) == (9, 48)
    assert found.table()["kind"] == ["translation"] * 6 + ["code"] * 3


def test_a_mixed_set_of_a_multiplied_entry_takes_the_first_ones_of_every_pair(own_inputs: Path) -> None:
    mixed = {"name": "mixed", "kind": "mixed", "parts": ["mt"], "samples": 5, "shares": "proportional"}
    found = Written(own_inputs, {**MT, "pair": ["fr-en", "sw-en"], "shots": 1}, mixed)
    parts = [found.table(0), found.table(1)]
    for name in ("text", "kind", "profile"):
        assert found.table()[name] == [*parts[0][name][:3], *parts[1][name][:2]]
    for name in ("token_ids", "sides", "shots", "sentence_ids"):
        joined = [one.tolist() for one in (*parts[0][name][:3], *parts[1][name][:2])]
        assert [one.tolist() for one in found.table()[name]] == joined
    assert found.table()["demonstration"] == [0, 1, 2, 3, 4]
    rows = found.record().rows["demonstration_set_parts"]
    assert [(row["part_id"], row["share"]) for row in rows] == [(found.sets[0].id, 3 / 5), (found.sets[1].id, 2 / 5)]


def test_every_token_has_its_side_and_shot(own_inputs: Path) -> None:
    found = Written(own_inputs, {**MT, "samples": 1})
    table = found.table()
    expected = []
    for shot, line in enumerate(order(0, ())[:2]):
        for side, text in enumerate((f"French: {CORPUS['fr']}", f"English: {CORPUS['en']}"), start=1):
            expected += [(side, shot)] * (len(text.format(n=line)) + 1)
    assert list(zip(table["sides"][0].tolist(), table["shots"][0].tolist(), strict=True)) == expected[:48]


def test_a_template_is_written_on_every_side(own_inputs: Path) -> None:
    template = "<{endonym}|{language}> {text}{end}\n"
    found = Written(own_inputs, {**MT, "shots": 1, "samples": 1, "template": template})
    line = order(0, ())[0]
    french, english = CORPUS["fr"].format(n=line), CORPUS["en"].format(n=line)
    assert found.table()["text"] == [f"<français|French> {french}{END}\n<English|English> {english}{END}\n"]
    assert found.row()["template"] == template


@pytest.mark.parametrize("entry", [MT, MONO, CODE])
def test_sets_of_one_token_budget_have_equally_many_tokens(own_inputs: Path, entry: dict[str, Any]) -> None:
    found = Written(own_inputs, {**entry, "samples": None, "token_budget": 101})
    whole = Written(own_inputs, entry)
    table = found.table()
    assert sum(len(ids) for ids in table["token_ids"]) == found.row()["n_tokens"] == 101
    assert (found.row()["token_budget"], found.row()["samples"]) == (101, len(table["text"]))
    assert table["text"] == whole.table()["text"][: len(table["text"])]
    for mine, theirs in zip(table["token_ids"][:-1], whole.table()["token_ids"], strict=False):
        assert mine.tolist() == theirs.tolist()


def sentences(table: dict[str, list[Any]]) -> list[str]:
    """The sentences of a stored set with their labels, sorted."""
    return sorted(sentence for text in table["text"] for sentence in text.split(END) if sentence)


@pytest.mark.parametrize("samples", [4, 5])
def test_a_set_without_pairs_has_the_sentences_and_tokens_of_the_set_with_pairs(own_inputs: Path, samples: int) -> None:
    entry = {**MT, "shots": 1, "samples": samples, "max_tokens": 64}
    paired, unpaired = Written(own_inputs, entry), Written(own_inputs, {**entry, "paired": False})
    assert sentences(unpaired.table()) == sentences(paired.table())
    assert unpaired.row() == {**paired.row(), "demonstration_set_id": unpaired.sets[0].id, "paired": False}
    for numbers in unpaired.table()["sentence_ids"]:
        assert len(set(numbers.tolist())) == 2, "a source and a target that is not its translation"


@pytest.mark.parametrize("budget", [150, 221, 470])
def test_a_set_without_pairs_fills_a_token_budget_with_the_sentences_of_the_set_with_pairs(
    own_inputs: Path, budget: int
) -> None:
    """The sentences have very different lengths, so the last demonstrations do too."""
    for language, factor in (("fr", 5), ("en", 3)):
        lines = [f"{line} {'a' * (factor * line * line % 17)}" for line in range(N_LINES)]
        (own_inputs / "corpus" / f"{language}.txt").write_text("\n".join(lines) + "\n")
    entry = {**MT, "shots": 1, "samples": None, "token_budget": budget, "max_tokens": 64}
    paired, unpaired = Written(own_inputs, entry), Written(own_inputs, {**entry, "paired": False})
    assert sentences(unpaired.table()) == sentences(paired.table())
    assert unpaired.row()["n_tokens"] == paired.row()["n_tokens"] == budget


def test_plain_text_is_documents_each_followed_by_the_end(own_inputs: Path) -> None:
    paragraphs = [f"paragraph {number}\nof two lines" for number in range(9)]
    (own_inputs / "book.txt").write_text("\n\n".join(paragraphs))
    text = {"name": "text", "kind": "text", "path": "book.txt", "max_tokens": 60, "seed": 3}
    chosen = sorted(range(9), key=lambda number: hashlib.sha256(f"3:{number}".encode()).hexdigest())
    one = Written(own_inputs, {**text, "samples": 4})
    assert one.table()["text"] == [paragraphs[number] + END for number in chosen[:4]]
    assert [ids.tolist() for ids in one.table()["sentence_ids"]] == [[number] for number in chosen[:4]]
    two = Written(own_inputs, {**text, "samples": 4, "shots": 2, "language": "en", "template": "{language}: {text}"})
    assert two.table()["text"][1] == "".join(f"English: {paragraphs[number]}" for number in chosen[2:4])
    assert two.table()["shots"][1].tolist() == ([0] * 33 + [1] * 33)[:60]
    row = {name: two.row()[name] for name in ("kind", "source_language", "target_language", "shots", "samples")}
    assert row == {"kind": "text", "source_language": "en", "target_language": None, "shots": 2, "samples": 4}
    assert {type(value) for value in Written(own_inputs, {**text, "samples": 9}).table()["kind"]} == {str}


def test_the_id_of_a_text_set_is_that_of_the_documents_it_shows(own_inputs: Path) -> None:
    text = {"name": "text", "kind": "text", "path": "book.jsonl", "samples": 2, "max_tokens": 48}
    chosen = sorted(range(4), key=lambda number: hashlib.sha256(f"0:{number}".encode()).hexdigest())
    ids = []
    for changed in (None, chosen[3], chosen[1]):
        rows = [{"text": "new" if number == changed else f"text {number}"} for number in range(4)]
        (own_inputs / "book.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        ids.append(Written(own_inputs, text).sets[0].id)
    assert ids[0] == ids[1] != ids[2]


def test_a_task_set_shows_items_with_their_right_answer_and_the_end(own_inputs: Path) -> None:
    facts = {"name": "facts", "kind": "task", "task": "facts", "path": "facts", "language": "fr", "split": "test"}
    found = Written(own_inputs, {**facts, "shots": 2, **SMALL, "samples": 3, "seed": 1})
    chosen = sorted(range(8), key=lambda number: hashlib.sha256(f"1:{number}".encode()).hexdigest())

    def text_of(number: int) -> str:
        row = fact("fr", number)
        return str(row["prompt"]).replace("<mask>", row["candidates"][row["answer"]]) + END

    assert found.table()["text"] == [text_of(chosen[2 * i]) + text_of(chosen[2 * i + 1]) for i in range(3)]
    assert [ids.tolist() for ids in found.table()["sentence_ids"]] == [chosen[2 * i : 2 * i + 2] for i in range(3)]
    row = {name: found.row()[name] for name in ("kind", "task", "source_language", "target_language", "shots")}
    assert row == {"kind": "task", "task": "facts", "source_language": "fr", "target_language": None, "shots": 2}


def test_the_text_of_a_task_is_its_own_template_and_its_numbers_are_lines_of_the_file(own_inputs: Path) -> None:
    texts = (("x", "so so", 3), ("y", "a b", 5), ("z", "c", 1))
    reviews = [{"id": name, "text": text, "label": label} for name, text, label in texts]
    pairs = [{"id": 7, "premise": "P", "hypothesis": "H", "label": "neutral"}]
    (own_inputs / "tasks").mkdir()
    for name, rows in (("fr.dev", reviews), ("en.dev", pairs)):
        (own_inputs / "tasks" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"kind": "task", "path": "tasks", "shots": 1, "max_tokens": 48}
    marc = {**task, "name": "marc", "task": "marc", "language": "fr", "samples": 2}
    xnli = {**task, "name": "xnli", "task": "xnli", "language": "en", "samples": 1}
    found = Written(own_inputs, marc, xnli)
    shown = dict(zip((ids[0] for ids in found.table(0)["sentence_ids"]), found.table(0)["text"], strict=True))
    assert shown == {1: f"a b It is positive{END}", 2: f"c It is negative{END}"}
    assert found.table(1)["text"] == [f"P , right?  Also , H{END}"]


def test_profile_paper_takes_lines_in_order_skips_one_after_each_demonstration_and_pads(own_inputs: Path) -> None:
    found = Written(own_inputs, {**MONO, "shots": 4, "samples": 8, "max_tokens": 64, "seed": 5}, profile="paper")
    table = found.table()
    lines = [[5 * i, 5 * i + 1, 5 * i + 2, 5 * i + 3] for i in range(8)]
    assert [ids.tolist() for ids in table["sentence_ids"]] == lines
    shown = ["".join(f"French: {CORPUS['fr'].format(n=line)}{END}" for line in four) for four in lines]
    assert table["text"] == shown
    tokenizer = tiny_tokenizer()
    expected = [tokenizer(text)["input_ids"][:64] for text in shown]
    assert [ids.tolist() for ids in table["token_ids"]] == [ids + [PAD] * (64 - len(ids)) for ids in expected]
    row = {name: found.row()[name] for name in ("profile", "seed", "n_tokens", "samples")}
    assert row == {"profile": "paper", "seed": None, "n_tokens": 8 * 64, "samples": 8}
    short = Written(own_inputs, {**MONO, "shots": 1, "samples": 3, "max_tokens": 20}, profile="paper").table()
    assert [ids.tolist() for ids in short["sentence_ids"]] == [[0], [2], [4]]
    assert short["token_ids"][0].tolist()[-5:] == [END_ID, PAD, PAD, PAD, PAD]
    assert short["sides"][0].tolist() == [1] * 16 + [0] * 4


def test_the_profile_paper_takes_code_by_path_and_mixes_padded_parts(own_inputs: Path) -> None:
    mixed = {"name": "mixed", "kind": "mixed", "parts": ["code", "mono"]}
    code = {**CODE, "samples": 6}
    found = Written(own_inputs, code, {**MONO, "samples": 2, "max_tokens": 40}, mixed, profile="paper")
    texts = [(own_inputs / "code" / f"part{number}.py").read_text() for number in range(6)]
    assert found.table(0)["text"] == texts
    assert [len(ids) for ids in found.table(2)["token_ids"]] == [48] * 6 + [40] * 2
    assert found.table(2)["profile"] == ["paper"] * 8
    assert (found.row(2)["profile"], found.row(2)["n_tokens"]) == ("paper", 6 * 48 + 2 * 40)


def test_a_drawn_set_has_its_demonstrations_of_full_length(tiny_plan: Plan) -> None:
    sizes = set_sizes(tiny_plan.jobs)
    drawn = [job for job in tiny_plan.jobs if isinstance(job, DemonstrateJob)]
    assert drawn
    assert {sizes[job.identity.id] for job in drawn} == {(SET_TOKENS, 4)}


@pytest.mark.parametrize(("token_budget", "n_tokens"), [(100, 125), (10_000, SET_TOKENS)])
def test_a_set_of_a_token_budget_has_its_tokens_and_some_padding(
    tiny_plan: Plan, token_budget: int, n_tokens: int
) -> None:
    drawn = next(job for job in tiny_plan.jobs if isinstance(job, DemonstrateJob))
    job = replace(drawn, spec=replace(drawn.spec, token_budget=token_budget))
    assert set_sizes([job])[job.identity.id] == (n_tokens, 4)


def test_a_mixed_set_has_what_it_takes_of_each_part_even_if_a_part_is_mixed(tiny_plan: Plan) -> None:
    (mix,) = [job for job in tiny_plan.jobs if isinstance(job, MixJob)]
    outer = MixJob(make_identity("demonstration_sets", {"kind": "mixed"}), (mix.identity.id,), (5,), mix.spec)
    sizes = set_sizes([*tiny_plan.jobs, outer])
    assert sizes[mix.identity.id] == (48 * sum(mix.taken), sum(mix.taken))
    assert sizes[outer.identity.id] == (48 * 5, 5)
