"""Dense passes block by block: costs, statistics, and scores that read gradients, compared with float64 loops."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import BadInputError, WorkerLostError
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.planning import build_plan, pending_jobs
from mlprune.processes.job_parts import PartCounter, counting_parts
from mlprune.pruning.spec import StatisticsSelection
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.job import SetSize, block_flops
from mlprune.steps.observe import passes
from mlprune.steps.observe.block_files import read_block_gradients, read_block_products, read_block_sums
from mlprune.steps.observe.block_pass import ObserveBlocksJob, block_pass_cost, read_set_statistics
from mlprune.steps.observe.dense_pass import statistics_cost
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.steps.rescore.verify import verify_variant
from mlprune.store.store import Store
from tests.chains import TransportChain, WatchedChain, chain_with_masks, worker_threads
from tests.method_reference import INPUT_OF, LAYERS
from tests.mlprune.models.gradients.gradient_reference import Gradients, root_mean_squares
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    contents,
    finished_run,
    layer_inputs,
    reference_model,
    run_plan,
    small_recipe,
    store_with_sets,
    tiny_recipe,
)

D, WIDE = 4096, 16384
XGLM_7_5B = Footprint(
    before=2**21,
    blocks=(4 * (4 * D**2 + 2 * D * WIDE),) * 32,
    tail=2**21,
    tied=0,
    on_demand=0,
    prunable=(D * WIDE,) * 2 + (D**2,) * 4,
    widest=WIDE,
    hidden=D,
    inputs=3 * D + WIDE,
    vocabulary=256_008,
    itemsize=4,
    input_products=3 * D**2 + WIDE**2,
)
SET = SetSize(n_tokens=100 * 512, n_demonstrations=100)


def test_gram_matrices_of_a_7_5b_model_take_41_gb_on_disk_and_two_matrices_of_a_block_in_memory() -> None:
    usual = statistics_cost("observe", XGLM_7_5B, SET, batch_tokens=512)
    cost = block_pass_cost("observe", XGLM_7_5B, SET, batch_tokens=512, observed=("products",))
    assert 40.5e9 < cost.disk_bytes - usual.disk_bytes < 41e9
    matrices, states = 8 * XGLM_7_5B.input_products, SET.n_tokens * D * 4
    assert 2 * matrices + states < cost.fixed_bytes < 2.1 * matrices + states + 2**28
    assert cost.device_fixed_bytes == matrices + states
    # 3 d^2 + (4 d)^2 products of features, against 12 d^2 weights of a block, twice
    assert cost.flops / block_flops(XGLM_7_5B, SET.n_tokens) == pytest.approx(1 + 19 / 24)


def test_sums_are_small_and_gradients_take_as_long_as_five_more_passes() -> None:
    plain, sums, gradients = (
        block_pass_cost("observe", XGLM_7_5B, SET, batch_tokens=512, observed=observed)
        for observed in ((), ("sums",), ("gradients",))
    )
    assert sums.disk_bytes - plain.disk_bytes == 32 * 16 * 100 * XGLM_7_5B.inputs
    assert sums.flops == plain.flops
    assert gradients.flops == 6 * plain.flops
    assert gradients.disk_bytes - plain.disk_bytes == 32 * 4 * sum(XGLM_7_5B.prunable)


XGLM = ARCHITECTURES["xglm"]
KINDS = {"sums": "feature_sums", "products": "gram_matrices"}


def block_recipe() -> dict[str, Any]:
    """A set of translations of which Gram matrices and sums are read, and one of which only sums of squares are."""
    recipe = small_recipe()
    recipe["demonstrations"] += [tiny_recipe()["demonstrations"][1]]
    wanda = {"score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    recipe["variants"] = [
        {"name": "swaps", **wanda, "demonstrations": "mt", "refine": "gram_swaps"},
        {"name": "dsnot", **wanda, "demonstrations": "mt", "refine": "dsnot"},
        {"name": "plain", **wanda, "demonstrations": "mono"},
    ]
    recipe["evaluations"] = []
    recipe["demonstrations"][0]["samples"] = 5
    return recipe


@pytest.fixture(scope="module")
def block_run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, block_recipe(), name="block-pass")


@pytest.fixture(scope="module")
def parts_run(tiny_inputs: Path) -> FinishedRun:
    """The same sets, cut into parts of two demonstrations at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PART_TOKENS", 2 * 48)
        return finished_run(tiny_inputs, block_recipe(), name="block-parts")


def block_job(run: FinishedRun) -> ObserveBlocksJob:
    (job,) = (job for job in run.plan.jobs if isinstance(job, ObserveBlocksJob))
    return job


def reference_inputs(run: FinishedRun, set_id: str) -> list[dict[tuple[int, str], torch.Tensor]]:
    """The inputs of every layer for each demonstration alone, in float64."""
    table = run.store.read_table(run.store.require("demonstration_sets", set_id).artefacts[0])
    model = reference_model(run.folder / "model")
    read = [layer_inputs(model, ids, layers=XGLM.input_names) for ids in table["token_ids"]]
    return [{key: rows.double() for key, rows in of_one.items()} for of_one in read]


def with_set_only(run: FinishedRun, folder: Path) -> Store:
    return store_with_sets(run, block_job(run).demonstration_set_id, folder=folder)


def assert_same(store: Store, run: FinishedRun) -> None:
    """Every file of the store equals that of the run, and all records of the job exist."""
    expected = contents(run.store)
    for path, data in contents(store).items():
        assert data == expected[path], path
    for key in block_job(run).makes:
        assert store.is_intact(store.require(*key))


def test_one_job_observes_what_the_variants_read_of_a_set_and_other_sets_are_observed_as_usual(
    block_run: FinishedRun,
) -> None:
    job = block_job(block_run)
    assert [name for name, _ in job.observed] == ["sums", "products"]
    assert [kind for kind, _ in job.makes] == ["statistics", "feature_sums", "gram_matrices"]
    (other,) = (job for job in block_run.plan.jobs if isinstance(job, ObserveJob))
    assert other.demonstration_set_id != job.demonstration_set_id
    assert not job.shares_replicas


@pytest.mark.parametrize("run_name", ["block_run", "parts_run"])
def test_gram_matrices_and_moments_are_those_of_float64_loops(request: pytest.FixtureRequest, run_name: str) -> None:
    run: FinishedRun = request.getfixturevalue(run_name)
    job = block_job(run)
    ids = dict(job.observed)
    inputs = reference_inputs(run, job.demonstration_set_id)
    records = {name: run.store.require(kind, ids[name].id) for name, kind in KINDS.items()}
    statistics = read_set_statistics(
        run.store, {name: ids[name].id for name in KINDS}, 1, selection=StatisticsSelection(n_demonstrations=3)
    )
    for block in range(3):
        products = read_block_products(run.store, records["products"].artefacts, block)
        sums, n_tokens = read_block_sums(run.store, records["sums"].artefacts, block)
        assert set(products) == set(sums) == set(XGLM.input_names)
        for name, matrix in products.items():
            rows = [of_one[block, name] for of_one in inputs]
            expected = torch.zeros_like(matrix)
            for token in torch.cat(rows):
                expected += torch.outer(token, token)
            torch.testing.assert_close(matrix, expected, rtol=1e-4, atol=1e-4)
            assert torch.equal(matrix, matrix.T)
            assert n_tokens.tolist() == [len(of_one) for of_one in rows]
            totals = torch.stack([of_one.sum(dim=0) for of_one in rows])
            deviations = torch.stack([(of_one - of_one.mean(dim=0)).square().sum(dim=0) for of_one in rows])
            torch.testing.assert_close(sums[name].sums, totals, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(sums[name].deviations, deviations, rtol=1e-4, atol=1e-4)
            if block == 1:
                assert torch.equal(statistics.products[name], matrix)
                torch.testing.assert_close(statistics.moments[name].sums, sums[name].sums[:3].sum(dim=0))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("run_name", ["block_run", "parts_run"])
def test_the_statistics_are_those_of_the_usual_pass_byte_for_byte(
    request: pytest.FixtureRequest, run_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: FinishedRun = request.getfixturevalue(run_name)
    if run_name == "parts_run":
        monkeypatch.setattr(passes, "PART_TOKENS", 2 * 48)
    recipe = block_recipe()
    recipe["variants"] = [{**one, "refine": None} for one in recipe["variants"][::2]]
    plan = build_plan(parse_recipe(recipe, folder=run.folder))
    store = with_set_only(run, tmp_path / "store")
    run_plan(plan, store)
    record = store.require(*block_job(run).identity.key)
    assert run.store.require(*block_job(run).identity.key) == record
    for artefact in record.artefacts:
        assert run.store.read_bytes(artefact) == store.read_bytes(artefact)


@pytest.mark.parametrize(("n_shards", "n_threads"), [(1, 2), (3, 1)])
def test_threads_shards_and_masks_left_on_the_chain_change_no_byte(
    block_run: FinishedRun, tmp_path: Path, n_shards: int, n_threads: int
) -> None:
    store = with_set_only(block_run, tmp_path / "store")
    chain = TransportChain(chain_with_masks(Path(block_run.plan.model.path), n_shards=n_shards))
    with worker_threads(n_threads):
        block_job(block_run).run(store, lambda: chain)
    assert_same(store, block_run)
    assert set(chain.tensors) <= {"sweep_release"}
    with pytest.raises(KeyError):
        chain.on_block(0, Shard.sweep_release, ("", 0))


def test_the_sizes_of_batches_change_gram_matrices_by_rounding_at_most(block_run: FinishedRun, tmp_path: Path) -> None:
    store, job = with_set_only(block_run, tmp_path / "store"), block_job(block_run)
    replace(job, batch_tokens=48).run(store, lambda: chain_of(block_run.plan))
    products_id = dict(job.observed)["products"].id
    for block in range(3):
        found, expected = (
            read_block_products(one, one.require("gram_matrices", products_id).artefacts, block)
            for one in (store, block_run.store)
        )
        for name, matrix in found.items():
            torch.testing.assert_close(matrix, expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.thorough("runs a model for every case")
def test_a_pretended_accelerator_observes_the_bits_of_the_cpu(block_run: FinishedRun, tmp_path: Path) -> None:
    store = with_set_only(block_run, tmp_path / "store")
    with pretended_gpus(1):
        chain = local_chain(Path(block_run.plan.model.path))
        block_job(block_run).run(store, lambda: chain)
    ids = dict(block_job(block_run).observed)
    for block in range(3):
        for name, kind in KINDS.items():
            found, expected = (one.require(kind, ids[name].id) for one in (store, block_run.store))
            assert found.artefacts[block].sha256 == expected.artefacts[block].sha256


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("stop_at", "files_are_written"), [(0, True), (1, False), (2, True)])
def test_a_killed_pass_resumes_at_the_block_where_it_stopped(
    block_run: FinishedRun, tmp_path: Path, stop_at: int, files_are_written: bool
) -> None:
    store, job = with_set_only(block_run, tmp_path / "store"), block_job(block_run)
    killed = WatchedChain(
        chain_of(block_run.plan), stop_at=stop_at, method=Shard.sweep_write, files_are_written=files_are_written
    )
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: killed)
    assert len(store.record_names("observed_blocks")) == stop_at
    resumed = WatchedChain(chain_of(block_run.plan))
    with counting_parts(counter := PartCounter(job.step)):
        job.run(store, lambda: resumed)
    assert (parts := counter.parts) is not None
    assert (parts.kind, parts.n, parts.share, parts.found) == ("block", 3, 1, pytest.approx(stop_at / 3))
    assert resumed.blocks_of(Shard.sweep_observe) == list(range(stop_at, 3))
    assert resumed.blocks_of(Shard.sweep_advance) == list(range(stop_at))
    assert_same(store, block_run)


def test_a_block_whose_file_was_damaged_is_observed_again(block_run: FinishedRun, copied_store: Any) -> None:
    store, job = copied_store(block_run.store), block_job(block_run)
    products = store.require(*job.makes[-1])
    path = store.local_root / products.artefacts[1].path
    path.write_bytes(path.read_bytes()[:-8])
    pending = pending_jobs(block_run.plan.jobs, store, repair=True)
    assert job in pending
    chain = WatchedChain(chain_of(block_run.plan))
    job.run(store, lambda: chain)
    assert chain.blocks_of(Shard.sweep_observe) == [1]
    assert_same(store, block_run)


def test_a_block_that_was_set_aside_is_observed_again_after_the_pass(block_run: FinishedRun, copied_store: Any) -> None:
    store, job = Store(copied_store(block_run.store).uri, quarantine=True), block_job(block_run)
    store.quarantine(store.require(*job.intermediates[1]))
    assert pending_jobs(block_run.plan.jobs, store, repair=True) == [job]
    chain = WatchedChain(chain_of(block_run.plan))
    job.run(store, lambda: chain)
    assert chain.blocks_of(Shard.sweep_observe) == [1]
    assert pending_jobs(block_run.plan.jobs, store, repair=True) == []
    assert_same(store, block_run)


def test_each_block_runs_forward_once(block_run: FinishedRun, tmp_path: Path) -> None:
    chain = WatchedChain(chain_of(block_run.plan))
    block_job(block_run).run(with_set_only(block_run, tmp_path / "store"), lambda: chain)
    assert chain.blocks_of(Shard.sweep_observe) == [0, 1, 2]
    assert chain.blocks_of(Shard.sweep_advance) == []


def test_tokens_that_do_not_count_are_in_no_statistic(block_run: FinishedRun, tmp_path: Path) -> None:
    store, job = with_set_only(block_run, tmp_path / "store"), replace(block_job(block_run), token_scope="target")
    job.run(store, lambda: chain_of(block_run.plan))
    table = store.read_table(store.require("demonstration_sets", job.demonstration_set_id).artefacts[0])
    inputs = reference_inputs(block_run, job.demonstration_set_id)
    products = read_block_products(store, store.require(*job.makes[-1]).artefacts, 2)
    for name, matrix in products.items():
        rows = [of_one[2, name][torch.tensor(sides) == 2] for of_one, sides in zip(inputs, table["sides"], strict=True)]
        torch.testing.assert_close(matrix, torch.cat(rows).T @ torch.cat(rows), rtol=1e-4, atol=1e-4)


def test_regional_gradients_are_observed_in_the_same_pass(block_run: FinishedRun, tmp_path: Path) -> None:
    store, job = with_set_only(block_run, tmp_path / "store"), block_job(block_run)
    gradients = replace(dict(job.observed)["sums"], kind="regional_gradients")
    job = replace(job, observed=(*job.observed, ("gradients", gradients)))
    job.run(store, lambda: chain_of(block_run.plan))
    assert store.require(*job.makes[2]).artefacts == block_run.store.require(*job.makes[2]).artefacts
    for block in range(3):
        found = read_block_gradients(store, store.require(*gradients.key).artefacts, block)
        shapes = {**dict.fromkeys(XGLM.layers, (16, 16)), "fc1": (64, 16), "fc2": (16, 64)}
        assert {layer: tuple(one.shape) for layer, one in found.items()} == shapes
        assert all(bool((one > 0).any()) for one in found.values())


Key = tuple[int, str]
ALPHA = 100.0


def gradient_recipe() -> dict[str, Any]:
    """One set, and the score that reads gradients."""
    recipe = small_recipe()
    shared = {"demonstrations": "mt", "sparsity": 0.5}
    recipe["variants"] = [
        {"name": "regional", "score": "wanda_plus_plus", **shared, "propagation": ["dense", "sequential"]},
    ]
    recipe["evaluations"] = []
    return recipe


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, gradient_recipe(), name="gradients")


def texts(run: FinishedRun) -> Sequence[Sequence[int]]:
    (variant,) = run.named("regional", "dense")
    record = run.store.require("demonstration_sets", variant.sets[0].id)
    rows: Sequence[Sequence[int]] = run.store.read_table(record.artefacts[0])["token_ids"]
    return rows


@pytest.fixture(scope="module")
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    yield
    torch.set_default_dtype(torch.float32)


def root_means(run: FinishedRun, loss_of: Callable[[Any, Tensor, dict[int, Tensor]], Tensor]) -> Gradients:
    """Root of the mean over texts of the squared gradients of a loss of (model, tokens, block -> its output)."""
    model = AutoModelForCausalLM.from_pretrained(run.folder / "model", dtype=torch.float64).eval()
    after: dict[int, Tensor] = {}
    for block, module in enumerate(model.model.layers):
        module.register_forward_hook(lambda _, args, output, block=block: after.update({block: output}))
    tokens = (torch.tensor([list(text)], dtype=torch.int64) for text in texts(run))
    return root_mean_squares(model, ARCHITECTURES["xglm"], (loss_of(model, one, after) for one in tokens))


def kept(scores: Tensor) -> Tensor:
    """The higher half of every row."""
    mask = torch.ones(scores.shape, dtype=torch.bool)
    return mask.scatter_(1, scores.argsort(dim=1, stable=True)[:, : scores.shape[1] // 2], value=False)


@pytest.mark.thorough("runs a model for every case")
def test_masks_of_wanda_plus_plus_are_those_of_the_formula_in_float64(run: FinishedRun, in_float64: None) -> None:
    model = AutoModelForCausalLM.from_pretrained(run.folder / "model", dtype=torch.float64).eval()
    squares: dict[Key, Tensor] = {}
    for block, module in enumerate(model.model.layers):
        for name in dict.fromkeys(INPUT_OF.values()):

            def add(_: Any, args: tuple[Tensor, ...], key: Key = (block, name)) -> None:
                squares[key] = squares.get(key, 0) + (args[0][0].detach() ** 2).sum(dim=0) / len(texts(run))

            module.get_submodule(name).register_forward_pre_hook(add)
    for text in texts(run):
        model(torch.tensor([list(text)], dtype=torch.int64))
    (variant,) = run.named("regional", "dense")
    (sequential,) = run.named("regional", "sequential")
    masks, swept = run.keep_masks(variant.id), run.keep_masks(sequential.id)
    for block, module in enumerate(model.model.layers):
        # only the own block's weights: a loss of one block has gradients in the blocks before it, too
        gradients = root_means(run, lambda _model, tokens, after, block=block: (_model(tokens), after[block].norm())[1])
        for layer in LAYERS:
            norms = squares[block, INPUT_OF[layer]].sqrt()
            weight = module.get_submodule(layer).weight.detach()
            expected = kept(weight.abs() * (ALPHA * gradients[block, layer] + norms))
            assert torch.equal(masks[block, layer], expected)
            if block == 0:
                assert torch.equal(swept[block, layer], expected)
    assert any(not torch.equal(masks[key], mask) for key, mask in swept.items())


def test_dense_masks_are_rebuilt_from_stored_gradients_and_those_of_a_sweep_are_not(run: FinishedRun) -> None:
    (variant,) = run.named("regional", "dense")
    assert verify_variant(run.store, run.store.require("variants", variant.id), run.folder / "model").is_equal
    (sequential,) = run.named("regional", "sequential")
    with pytest.raises(BadInputError):
        verify_variant(run.store, run.store.require("variants", sequential.id), run.folder / "model")
