"""The central promise: exported zeros equal those of a float64 reference that runs one demonstration at a time."""

import functools
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing

from mlprune.capabilities.publishing.export import export_variant
from mlprune.models.local_chain import local_chain
from mlprune.planning import build_plan, pending_jobs
from mlprune.recipe.loading import load_recipe
from mlprune.store.store import Store
from tests.float64_reference import (
    BLOCKS,
    LAYERS,
    Float64Model,
    alpha_counts,
    alpha_for,
    code_texts,
    end_of,
    few_shot_texts,
    group_size,
    lowest_of_rows,
    removed_weights,
    scores_of,
    tokens_of,
)
from tests.tiny_models import ALL_FAMILY_NAMES, END, FAMILY_NAMES, save_tiny_model, tiny_tokenizer
from tests.tiny_recipes import write_recipe

HIDDEN = 100
"""Of 100 inputs, a sparsity of 0.29 removes 29; binary floating point would give 28."""
SMALLER = 40
"""Hidden size for the families that are not in the paper."""
POSITIONS = 192
SAMPLES = 5
SHOTS = 2
MAX_TOKENS = 160
SEED = 3

CLOSE = 1e-5
"""Relative difference of two scores below which either weight may be removed."""
MAX_EXCUSED = 0.002
"""Largest share of a variant's weights that may differ because their scores are close."""


@dataclass(frozen=True)
class Execution:
    """Settings that must not change the result of a recipe."""

    batch_tokens: int
    n_shards: int


MANY_BATCHES_SHARDED = Execution(batch_tokens=2 * MAX_TOKENS, n_shards=2)
MANY_BATCHES_ONE_SHARD = Execution(batch_tokens=2 * MAX_TOKENS, n_shards=1)
ONE_BATCH = Execution(batch_tokens=SAMPLES * MAX_TOKENS, n_shards=1)


MIXED_WINDOWS = "gemma3_text"
"""A family with two kinds of blocks, which get different masks."""
DEEPER = {"row": [0.29, 0.5], "matrix": [0.29], "alpha": [0.5], "2:4": []}
SHORTER = {"row": [0.5], "2:4": []}
"""Structure -> sparsities; N:M has its own. Selection does not depend on the family, so other families need fewer."""


def recipe_of(execution, family):
    """All structures and both propagations, scores with and without demonstrations; more for the paper's families."""
    is_paper = family in FAMILY_NAMES
    shown = {"samples": SAMPLES, "max_tokens": MAX_TOKENS, "seed": SEED}
    mono = {"name": "mono", "kind": "monolingual", "language": "sw", "shots": SHOTS, **shown}
    reading = [
        {"score": "wanda", "demonstrations": "mt"},
        {"score": "contrast", "demonstrations": "mt", "contrast": "code"},
    ]
    sparsities = DEEPER if is_paper else SHORTER
    structures = [{"structure": name, **({"sparsity": some} if some else {})} for name, some in sparsities.items()]
    both = {"propagation": ["dense", "sequential"]}
    return {
        "name": "exact",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "demonstrations": [
            {"name": "mt", "kind": "translation", "source": "fr", "target": "en", "shots": SHOTS, **shown},
            *([mono] if family == "xglm" else []),
            {"name": "code", "kind": "code", "path": "code", **shown},
        ],
        "variants": [
            *({**score, **structure, **both} for score in reading for structure in structures),
            *([{"score": "wanda", "demonstrations": "mono", "sparsity": 0.5, **both}] if family == "xglm" else []),
            *({"score": "magnitude", **structure} for structure in structures),
        ],
        "compute": {"batch_tokens": execution.batch_tokens},
    }


def write_corpus(folder):
    """Aligned files whose lines have one to twelve words."""
    words = random.Random(7)
    folder.mkdir()
    for language, file in {"en": "en.txt", "fr": "fr.txt", "sw": "swh_Latn.txt"}.items():
        letters = {"en": "abcdefgh", "fr": "aàbcçdeé", "sw": "ngmkwaui"}[language]
        lines = [
            " ".join("".join(words.choices(letters, k=words.randint(1, 6))) for _ in range(words.choice((1, 2, 4, 12))))
            for _ in range(20)
        ]
        (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_code(folder):
    """Python files of one to twelve lines, some in subfolders, and one file that is not code."""
    (folder / "inner" / "deep").mkdir(parents=True)
    for number, n_lines in enumerate((1, 2, 12, 3, 1, 8, 5)):
        subfolder = ("", "inner/", "inner/deep/")[number % 3]
        text = "".join(f"x{line} = {line * number}\n" for line in range(n_lines))
        (folder / f"{subfolder}part{number}.py").write_text(text, encoding="utf-8")
    (folder / "notes.txt").write_text("no code")


def write_model(folder, family):
    """A random model; XGLM's tokenizer adds a special token at the start, like the published one."""
    size = HIDDEN if family in FAMILY_NAMES else SMALLER
    blocks = 3 if family == "xglm" else 2
    save_tiny_model(folder, family, seed=11, positions=POSITIONS, hidden=size, blocks=blocks)
    if family == "xglm":
        tokenizer = tiny_tokenizer()
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="</s> $A", pair="</s> $A $B", special_tokens=[("</s>", END)]
        )
        tokenizer.save_pretrained(folder)


@dataclass
class Case:
    """The inputs of a family, the runs of the project on them, and the reference."""

    folder: Path
    family: str
    runs: dict = field(default_factory=dict)
    cached_squares: dict = field(default_factory=dict)

    @property
    def model(self):
        return self.folder / "model"

    @functools.cached_property
    def reference(self):
        return Float64Model(self.model, self.family)

    @functools.cached_property
    def tokens(self):
        """Name of a set -> its demonstrations, built from the files."""
        shown = {"samples": SAMPLES, "seed": SEED}
        few_shot = functools.partial(
            few_shot_texts, self.folder / "corpus", shots=SHOTS, end=end_of(self.model), **shown
        )
        texts = {
            "mt": few_shot(("fr", "en")),
            **({"mono": few_shot(("sw",))} if self.family == "xglm" else {}),
            "code": code_texts(self.folder / "code", **shown),
        }
        return {name: tokens_of(self.model, of_set, max_tokens=MAX_TOKENS) for name, of_set in texts.items()}

    def run(self, execution):
        """Run the recipe in this process: (plan, store)."""
        if execution not in self.runs:
            path = write_recipe(
                self.folder,
                recipe_of(execution, self.family),
                name=f"{execution.batch_tokens}-{execution.n_shards}.yaml",
            )
            plan, store = (
                build_plan(load_recipe(path)),
                Store(self.folder / f"store-{execution.batch_tokens}-{execution.n_shards}"),
            )
            chain = functools.cache(lambda: local_chain(self.model, n_shards=execution.n_shards))
            for job in pending_jobs(plan.jobs, store):
                job.run(store, chain)
            self.runs[execution] = plan, store
        return self.runs[execution]

    def squares(self, name, block, removed):
        """Sums of squares of a set in one block of a pruned model; cached, since many variants need them."""
        if name is None:
            return {}
        before = {key: mask for key, mask in removed.items() if key[0] < block}
        packed = b"".join(np.packbits(mask).tobytes() for mask in before.values())
        key = name, block, hashlib.sha256(packed).hexdigest()
        if key not in self.cached_squares:
            layers = [(block, layer) for layer in LAYERS[self.family]]
            self.cached_squares[key] = self.reference.squares(self.tokens[name], layers, before)
        return self.cached_squares[key]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small run fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    @functools.cache
    def case_of(family):
        folder = tmp_path_factory.mktemp(family)
        write_corpus(folder / "corpus")
        write_code(folder / "code")
        write_model(folder / "model", family)
        return Case(folder, family)

    return case_of


@pytest.fixture
def case(cases, family):
    return cases(family)


BY_DEFAULT = (*FAMILY_NAMES, "llama", MIXED_WINDOWS, "phi3")
"""The paper's families, and one each of gated blocks, of two kinds of blocks, and of fused projections. The code that
chooses masks is the same for all families, and the values it reads are compared with transformers for every one of them
(test_families_against_transformers), so the others are slow tests."""
EVERY_FAMILY = pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in BY_DEFAULT else pytest.mark.slow) for name in ALL_FAMILY_NAMES]
)


def exported_zeros(case, store, variant_id):
    """(block, layer) -> [out, in] bool: the zeros in the exported file."""
    out = case.folder / f"{store.local_root.name}-{variant_id}"
    export_variant(store, variant_id, case.model, out)
    tensors = load_file(out / "model.safetensors")
    zeros_of = {}
    for block, layer in case.reference.weights:
        zeros = (tensors[f"{BLOCKS[case.family]}.{block}.{layer}.weight"] == 0).numpy()
        zeros_of[block, layer] = zeros.T if case.family == "gpt2" else zeros
    return zeros_of


def n_excused(zeros, expected, scores, *, size):
    """Number of weights that differ; fails if their scores are not close.

    In each comparison group of `size` inputs, wrongly removed and wrongly kept weights must have close scores.
    """
    wrongly_removed, wrongly_kept = (mask.reshape(-1, size) for mask in (zeros & ~expected, expected & ~zeros))
    for group in np.flatnonzero((wrongly_removed | wrongly_kept).any(axis=1)):
        values = scores.reshape(-1, size)[group]
        assert wrongly_removed[group].sum() == wrongly_kept[group].sum()
        best, worst = values[wrongly_removed[group]].max(), values[wrongly_kept[group]].min()
        assert best - worst < CLOSE * best
    return int((zeros != expected).sum())


def test_the_comparison_excuses_close_scores_and_nothing_else():
    scores = np.array([[1.0, 2.0, 2.0 * (1 + CLOSE / 2), 3.0]])
    expected, close, far, more = (
        np.array([mask], dtype=bool) for mask in ((1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 1, 1, 0))
    )
    assert n_excused(expected, expected, scores, size=4) == 0
    assert n_excused(close, expected, scores, size=4) == 2
    for wrong in (far, more):
        with pytest.raises(AssertionError):
            n_excused(wrong, expected, scores, size=4)


def expected_zeros(zeros, scores, *, structure, sparsity):
    """Zeros by definition; a row of the alpha variant may have any count whose sum is close to the limit."""
    expected = removed_weights(scores, structure=structure, sparsity=sparsity)
    if structure != "alpha" or (zeros.sum(axis=1) == expected.sum(axis=1)).all():
        return expected
    alpha = alpha_for(scores, sparsity)
    fewest, most = (alpha_counts(scores, alpha * (1 + sign * CLOSE)) for sign in (-1, 1))
    counts = zeros.sum(axis=1)
    assert (counts >= fewest).all()
    assert (counts <= most).all()
    return lowest_of_rows(scores, counts)


def test_in_the_alpha_variant_one_alpha_determines_the_count_of_each_row():
    scores = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 10.0]])
    assert alpha_counts(scores, 0.5).tolist() == [2, 3]
    expected = removed_weights(scores, structure="alpha", sparsity=0.625)
    assert expected.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert (expected_zeros(expected, scores, structure="alpha", sparsity=0.625) == expected).all()
    one_less = expected & (scores < 3)
    with pytest.raises(AssertionError):
        expected_zeros(one_less, scores, structure="alpha", sparsity=0.625)


def check_variant(case, store, planned):
    """Compare the zeros of one exported variant with the reference, block by block."""
    spec = planned.spec
    score, sequential = spec.score, spec.propagation == "sequential"
    sets = [chosen.name if chosen else None for chosen in (next(iter(planned.sets), None), planned.contrast)]
    zeros = exported_zeros(case, store, planned.id)
    excused = 0
    for block in range(case.reference.n_blocks):
        # earlier blocks were compared already: use their exported zeros, excused weights included
        squares, contrast = (case.squares(name, block, zeros if sequential else {}) for name in sets)
        for layer in LAYERS[case.family]:
            key = block, layer
            scores = scores_of(score.score, case.reference.weights[key], squares.get(key), contrast.get(key))
            expected = expected_zeros(zeros[key], scores, structure=score.structure, sparsity=spec.sparsity)
            size = group_size(score.structure, scores.shape)
            excused += n_excused(zeros[key], expected, scores, size=size)
    assert excused <= MAX_EXCUSED * sum(mask.size for mask in zeros.values())


@pytest.mark.thorough("computes every family in float64")
@EVERY_FAMILY
def test_demonstrations_are_those_of_the_reference(case):
    plan, store = case.run(MANY_BATCHES_SHARDED)
    by_name = {
        chosen.name: chosen.id
        for variant in plan.variants.values()
        for chosen in (*variant.sets, variant.contrast)
        if chosen
    }
    assert set(by_name) == set(case.tokens)
    for name, set_id in by_name.items():
        table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
        assert [ids.tolist() for ids in table["token_ids"]] == case.tokens[name]


@EVERY_FAMILY
def test_demonstrations_differ_in_length_so_that_batches_are_padded_and_some_are_truncated(case):
    lengths = {name: [len(ids) for ids in demonstrations] for name, demonstrations in case.tokens.items()}
    assert all(max(of_set) > 2 * min(of_set) for of_set in lengths.values())
    assert MAX_TOKENS in lengths["mt"]
    assert min(lengths["mt"]) < MAX_TOKENS
    assert sum(lengths["mt"]) > MANY_BATCHES_SHARDED.batch_tokens


def check_all_variants(case, execution):
    plan, store = case.run(execution)
    _, *pruned = plan.variants.values()
    sparsities = DEEPER if case.family in FAMILY_NAMES else SHORTER
    n_structures = sum(max(1, len(some)) for some in sparsities.values())
    n_mono = 2 if case.family == "xglm" else 0
    assert len(pruned) == n_structures * (2 * 2 + 1) + n_mono
    for planned in pruned:
        check_variant(case, store, planned)


@EVERY_FAMILY
def test_exported_zeros_are_those_of_the_definition_in_float64(case):
    check_all_variants(case, MANY_BATCHES_SHARDED)


@pytest.mark.parametrize("family", ["bloom", pytest.param("llama", marks=pytest.mark.slow)])
def test_exported_zeros_are_the_same_when_all_demonstrations_are_one_batch(case):
    check_all_variants(case, ONE_BATCH)


@EVERY_FAMILY
def test_the_dense_export_has_no_zeros(case):
    plan, store = case.run(MANY_BATCHES_SHARDED)
    assert not any(mask.any() for mask in exported_zeros(case, store, next(iter(plan.variants))).values())


@pytest.mark.parametrize("family", ["xglm", pytest.param("bloom", marks=pytest.mark.slow), MIXED_WINDOWS])
def test_one_shard_and_several_write_the_same_bytes(case):
    stores = [case.run(execution)[1] for execution in (MANY_BATCHES_SHARDED, MANY_BATCHES_ONE_SHARD)]
    first, second = ({path: (store.local_root / path).read_bytes() for path in store.list("")} for store in stores)
    assert any(path.startswith("masks/") for path in first)
    assert first == second
