"""The description of a recipe, as the command and the Python interface print it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.errors import BadInputError, RecipeError
from mlprune.planning import pending_jobs
from mlprune.planning.resources.estimate import adopted_evaluations, needs_of
from mlprune.planning.resources.node_capacity import Gpu, Node
from mlprune.planning.resources.rates import Rates
from mlprune.planning.text import needs_lines
from mlprune.steps.observe import expert_products
from ray_jobs.driver.describe_recipe import Place, describe_recipe
from tests.chat_models import ALTERNATING, chat_tokenizer
from tests.command_line import Done
from tests.earlier_versions import to_version_4
from tests.expert_models import save_expert_model
from tests.recurrent_models import save_recurrent_model
from tests.tiny_recipes import FinishedRun, copy_of, small_recipe, write_recipe, write_texts


@pytest.fixture(autouse=True)
def measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs_lines, "measure_rates", lambda _model, *, n_threads: Rates(n_threads * 1e9, 1e8))


def plan_text(recipe: Path, store: str, *, nodes: Sequence[Node] = ()) -> str:
    return describe_recipe(recipe, store, place=Place(described=nodes)).text


def with_activations(folder: Path, quota_gib: float) -> Path:
    recipe = small_recipe()
    recipe["demonstrations"][0]["activations"] = {"quota_gib": quota_gib}
    return write_recipe(folder, recipe, name="activations.yaml")


def test_the_plan_shows_the_size_limit_of_raw_activations(own_inputs: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    text = plan_text(with_activations(own_inputs, 0.25), store)
    assert "raw activations of mt: at most 0.000 GiB, quota 0.25 GiB" in text.splitlines()
    assert "raw activations" not in plan_text(write_recipe(own_inputs, small_recipe()), store)


@pytest.mark.thorough("runs commands that start or finish runs")
def test_the_plan_names_what_stays_dense_in_one_line(own_inputs: Path, tmp_path: Path) -> None:
    save_recurrent_model(own_inputs / "hybrid", "qwen3_5_text")
    recipe = {**small_recipe(), "model": {"path": "./hybrid"}}
    text = plan_text(write_recipe(own_inputs, recipe, name="hybrid.yaml"), str(tmp_path / "store"))
    (line,) = (line for line in text.splitlines() if line.startswith("stays dense"))
    weights = 2 * 48 * 4  # two blocks, channels of queries, keys and values, kernel
    assert line.startswith(f"stays dense: {weights} weights in blocks: linear_attn.conv1d.weight (")
    assert line.endswith(f"mlprune check model {own_inputs / 'hybrid'}")
    assert "stays dense" not in plan_text(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"))


def test_the_plan_shows_what_gram_matrices_of_a_set_cost(own_inputs: Path, tmp_path: Path) -> None:
    recipe, store = small_recipe(), str(tmp_path / "store")
    recipe["variants"] = [{**recipe["variants"][0], "sparsity": 0.5, "refine": ["gram_swaps", "dsnot"]}]
    text = plan_text(write_recipe(own_inputs, recipe, name="swaps.yaml"), store)
    (line,) = (line for line in text.splitlines() if line.startswith("observed block by block"))
    assert line.startswith("observed block by block: fr-en: squares, sums, products: ")
    # 3 x 16^2 + 64^2 products of features, against 4 x 16^2 + 2 x 16 x 64 weights of a block, twice
    assert line.endswith(f"{1 + 4864 / 6144:.1f} times the operations of a pass for squares alone")
    assert "block by block" not in plan_text(write_recipe(own_inputs, small_recipe()), store)


def test_a_plan_above_the_quota_is_refused_in_one_line(own_inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="quota_gib"):
        plan_text(with_activations(own_inputs, 1e-6), str(tmp_path / "store"))


def test_evaluations_of_an_earlier_version_are_adopted_and_need_no_model(
    small_run: FinishedRun, tmp_path: Path
) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    assert "adopted" not in plan_text(small_run.recipe_path, store.uri)
    n_evaluations = len(to_version_4(store))
    (line,) = (line for line in plan_text(small_run.recipe_path, store.uri).splitlines() if "adopted" in line)
    assert line.startswith(f"adopted: {n_evaluations} evaluations ")
    pending = pending_jobs(small_run.plan.jobs, store)
    adopted = adopted_evaluations(pending, store)
    costs = needs_of(small_run.plan, pending, adopted=adopted).costs
    everything = needs_of(small_run.plan, pending).costs
    assert {(cost.flops, cost.n_passes, cost.thread_bytes, cost.runs_model) for cost in costs} == {(0.0, 0.0, 0, False)}
    assert [cost.disk_bytes for cost in costs] == [cost.disk_bytes for cost in everything]
    some = needs_of(small_run.plan, pending, adopted=sorted(adopted)[1:]).costs
    assert 0 < sum(cost.flops for cost in some) < sum(cost.flops for cost in everything)


def test_options_that_a_score_ignores_are_reported(own_inputs: Path, tmp_path: Path) -> None:
    recipe = small_recipe()
    options = {"propagation": ["dense", "sequential"], "samples": 2, "demonstrations": "mt"}
    recipe["variants"] = [{"score": ["wanda", "magnitude"], "sparsity": 0.5, **options}]
    text = plan_text(write_recipe(own_inputs, recipe, name="ignored.yaml"), str(tmp_path / "store"))
    warnings = [line for line in text.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert all(word in warnings[0] for word in ("magnitude", "propagation", "samples"))
    assert "warning" not in plan_text(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"))


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize(
    ("halves", "is_warned"),
    [
        ({"dev": "items", "test": "items"}, True),
        ({"dev": "clusters", "test": "items"}, True),
        ({"dev": "clusters", "test": "clusters"}, False),
        ({"test": "items"}, False),
    ],
)
def test_halves_that_share_clusters_are_a_warning(
    own_inputs: Path, tmp_path: Path, halves: dict[str, str], *, is_warned: bool
) -> None:
    shared = {"task": "facts", "path": "corpus", "languages": ["en"], "limit": 9, "longer": "skip"}
    recipe = small_recipe() | {
        "corpus": {"kind": "cldr", "lines": 40},
        "evaluations": [{**shared, "split": split, "split_by": split_by} for split, split_by in halves.items()],
    }
    text = plan_text(write_recipe(own_inputs, recipe, name="halves.yaml"), str(tmp_path / "store"))
    assert any("split_by: clusters" in line for line in text.splitlines() if line.startswith("warning")) is is_warned


@pytest.mark.parametrize(("limit", "is_warned"), [(99, True), (100, False)])
def test_perplexity_on_few_texts_is_a_warning(own_inputs: Path, tmp_path: Path, limit: int, *, is_warned: bool) -> None:
    perplexity = {
        "task": "perplexity",
        "path": "corpus",
        "languages": ["en"],
        "limit": limit,
        "longer": "truncate_left",
    }
    corpus = {"kind": "cldr", "lines": 400, "leave_out_evaluated": True}
    recipe = small_recipe() | {"corpus": corpus, "evaluations": [perplexity]}
    text = plan_text(write_recipe(own_inputs, recipe, name="texts.yaml"), str(tmp_path / "store"))
    assert any("perplexity" in line for line in text.splitlines() if line.startswith("warning")) is is_warned


def test_the_split_of_a_corpus_is_shown_if_it_has_splits(own_inputs: Path, tmp_path: Path) -> None:
    (own_inputs / "flores" / "dev").mkdir(parents=True)
    for file in (own_inputs / "corpus").glob("*.txt"):
        (own_inputs / "flores" / "dev" / file.name).write_bytes(file.read_bytes())
    recipe = small_recipe()
    recipe["corpus"]["path"] = "flores"
    text = plan_text(write_recipe(own_inputs, recipe, name="flores.yaml"), str(tmp_path / "store"))
    assert "corpus: flores, split dev, chosen by default" in text.splitlines()
    assert "corpus:" not in plan_text(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"))


def test_the_object_store_is_shown_only_for_a_plan_with_shards(own_inputs: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    assert "object store" not in plan_text(write_recipe(own_inputs, small_recipe()), store)
    sharded = {**small_recipe(), "compute": {"replicas": 1, "shards": 2}}
    assert "object store" in plan_text(write_recipe(own_inputs, sharded, name="sharded.yaml"), store)


def test_a_recipe_is_planned_for_a_cluster_that_is_described(own_inputs: Path, tmp_path: Path) -> None:
    recipe, store = write_recipe(own_inputs, small_recipe()), str(tmp_path / "store")
    lines = plan_text(recipe, store, nodes=[Node(8, 2**34)] * 3).splitlines()
    assert [line for line in lines if line.startswith("pool:")] != [
        line for line in plan_text(recipe, store).splitlines() if line.startswith("pool:")
    ]
    with_gpus = plan_text(recipe, store, nodes=[Node(8, 2**34, (Gpu(2**36),) * 2)])
    assert "accelerators: 3 of 3 blocks" in with_gpus
    assert "accelerators:" not in "\n".join(lines)
    with pytest.raises(BadInputError, match="does not fit"):
        plan_text(recipe, store, nodes=[Node(8, 2**20)])


GPU_NODE = Node(8, 2**34, (Gpu(2**34),) * 2)


@pytest.mark.parametrize(
    ("model", "compute", "nodes", "line"),
    [
        ({}, {}, (), "device: cpu, float32"),
        ({}, {}, [GPU_NODE], "device: cuda, bfloat16"),
        ({}, {"device": "cpu"}, [GPU_NODE], "device: cpu, float32"),
        ({"dtype": "float32"}, {"tf32": True}, [GPU_NODE], "device: cuda, float32, products in TF32"),
        ({"dtype": "float32"}, {"tf32": True}, (), "device: cpu, float32"),
    ],
)
def test_a_plan_shows_the_device_and_dtype_of_the_machines_of_the_run(
    model: dict[str, str], compute: dict[str, Any], nodes: Sequence[Node], line: str, own_inputs: Path, tmp_path: Path
) -> None:
    recipe = small_recipe()
    recipe["model"] |= model
    recipe["compute"] |= compute
    path = write_recipe(own_inputs, recipe, name="device.yaml")
    lines = plan_text(path, str(tmp_path / "store"), nodes=nodes).splitlines()
    assert f"{line}, batches of 128 tokens" in lines


def test_the_plan_names_the_items_and_counts_the_demonstrations_that_are_too_long(
    own_inputs: Path, tmp_path: Path
) -> None:
    recipe = small_recipe()
    (own_inputs / "xnli").mkdir()
    rows = [{"id": n, "premise": "a" * n, "hypothesis": "b", "label": 0} for n in (1, 2, 60)]
    (own_inputs / "xnli" / "fr.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    xnli = {"task": "xnli", "path": "xnli", "languages": ["fr"], "longer": "skip"}
    recipe["evaluations"] = [*recipe["evaluations"], xnli]
    recipe["demonstrations"] = [{**entry, "longer": "truncate_left"} for entry in recipe["demonstrations"]]
    lines = plan_text(write_recipe(own_inputs, recipe, name="long.yaml"), str(tmp_path / "store")).splitlines()
    assert "longer than the model: 1 item of xnli fr test: skip: 60" in lines
    assert any("longer than max_tokens" in line and "truncate_left" in line for line in lines)


def test_the_plan_counts_the_demonstrations_that_are_cut_before_their_target(own_inputs: Path, tmp_path: Path) -> None:
    recipe = small_recipe()
    recipe["demonstrations"] = [{**entry, "max_tokens": 4} for entry in recipe["demonstrations"]]
    lines = plan_text(write_recipe(own_inputs, recipe, name="cut.yaml"), str(tmp_path / "store")).splitlines()
    assert [line for line in lines if "4 of 4 demonstrations of translation fr-en" in line]


@pytest.mark.usefixtures("no_accelerator")
def test_a_recipe_for_accelerators_is_planned_on_a_machine_without_one(own_inputs: Path, tmp_path: Path) -> None:
    recipe = {**small_recipe(), "compute": {"device": "cuda"}}
    lines = plan_text(write_recipe(own_inputs, recipe, name="cuda.yaml"), str(tmp_path / "store")).splitlines()
    assert "device: cuda, bfloat16, batches of 32768 tokens" in lines
    assert "--cluster" in lines[-1]


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_one_job_of_a_step_is_in_the_singular(own_inputs: Path, tmp_path: Path) -> None:
    recipe = small_recipe()
    recipe["demonstrations"] = recipe["demonstrations"][:1]
    recipe["variants"], recipe["evaluations"] = [], []
    text = plan_text(write_recipe(own_inputs, recipe, name="one.yaml"), str(tmp_path / "store"))
    assert "1 variant," in text
    assert "1 job " in text
    assert "1 jobs" not in text


def test_the_plan_states_the_passes_for_gram_matrices_of_experts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path)
    save_expert_model(tmp_path / "model", n_experts=8)
    for name in ("FILE_BYTES", "PASS_BYTES"):
        monkeypatch.setattr(expert_products, name, 4000)
    recipe = small_recipe()
    recipe["variants"] = [{**recipe["variants"][0], "sparsity": 0.5, "refine": "gram_swaps"}]
    text = plan_text(write_recipe(tmp_path, recipe), str(tmp_path / "store"))
    (line,) = (line for line in text.splitlines() if line.startswith("observed block by block"))
    assert ", 4 passes over the experts of every block, " in line


def test_a_chat_that_the_model_cannot_write_is_one_line_and_exit_code_2(
    own_inputs: Path, here: Callable[..., Done]
) -> None:
    facts = {"task": "facts", "path": "facts", "languages": ["fr"], "chat": {"system": "Answer."}}
    recipe = write_recipe(own_inputs, {**small_recipe(), "demonstrations": [], "variants": [], "evaluations": [facts]})
    for template, hint in ((None, "no chat template"), (ALTERNATING, "System role not supported")):
        if template:
            chat_tokenizer(template).save_pretrained(own_inputs / "model")
        done = here("plan", recipe, "--store", own_inputs / "store")
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert hint in done.err
