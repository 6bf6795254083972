"""The loop of a recovery on models of several types, compared with a plain float64 loop over the model's own code."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.recovery.checkpoint import CheckpointFile
from mlprune.capabilities.recovery.fit import LayerKey, Recovered, Recoverer, SetPart, split_set
from mlprune.capabilities.recovery.passes import Passes, Text
from mlprune.capabilities.recovery.settings import Recovery
from mlprune.capabilities.recovery.weights import FullWeight, LowRankWeight, TrainedWeight
from mlprune.errors import StatisticsError
from mlprune.models.local_chain import local_chain
from mlprune.numeric.weights.adamw import drawn_batches, relative_rate, root_mean_squares
from mlprune.store.store import Store
from tests.chains import worker_threads
from tests.expert_models import save_expert_model
from tests.float64_reference import default_float64
from tests.refusals import refused
from tests.tiny_models import VOCABULARY, save_tiny_model

TYPES = ("xglm", "gpt2", "gemma2", "qwen3_moe")
SETTINGS = Recovery(steps=4, learning_rate=0.01, batch=3, every=2, text_share=0.25, seed=5)
SHARES = (0.25, 0.75)
LENGTHS = ((12, 9, 15, 7), (11, 14, 8))


class Case:
    """A tiny model with masks, two sets of texts, and its passes."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder / kind
        if not self.folder.exists():
            save_expert_model(self.folder, kind) if kind.endswith("moe") else save_tiny_model(self.folder, kind)
        draw = torch.Generator().manual_seed(1)
        self.ids = [
            [torch.randint(3, VOCABULARY - 1, (n,), generator=draw).tolist() for n in lengths] for lengths in LENGTHS
        ]
        self.texts = [Text.of(ids, [place != 4 for place in range(len(ids))]) for of_set in self.ids for ids in of_set]
        shard = local_chain(self.folder).shards[0]
        self.passes = Passes(shard.runner, self.texts, settings=SETTINGS)
        self.passes.keep_dense_states()
        blocks = shard.blocks
        self.keys: list[LayerKey] = [
            (block, layer) for block in blocks for layer in shard.architecture().block(block).layers
        ]
        self.keeps: dict[LayerKey, Tensor] = {}
        for key in self.keys:
            weight = self.passes.weight(*key)
            self.keeps[key] = torch.rand(weight.shape, generator=draw) > 0.4
            weight.mul_(self.keeps[key])
        self.first = {key: self.passes.weight(*key).clone() for key in self.keys}
        self.parts: list[SetPart] = []
        self.held_out: list[SetPart] = []
        first = 0
        for number, (of_set, share) in enumerate(zip(self.ids, SHARES, strict=True)):
            for parts, chosen in zip(
                (self.parts, self.held_out), split_set(len(of_set), seed=SETTINGS.seed), strict=True
            ):
                numbers = tuple(first + one for one in chosen)
                n_positions = sum(len(self.texts[one].positions) for one in numbers)
                parts.append(SetPart(f"set {number}", share, numbers, n_positions))
            first += len(of_set)

    def recoverer(self, settings: Recovery = SETTINGS) -> Recoverer:
        names = {f"{block}/{layer}": (block, layer) for block, layer in self.keys}
        scales = root_mean_squares(
            {name: self.first[key] for name, key in names.items()},
            {name: self.keeps[key] for name, key in names.items()},
        )
        weights: dict[LayerKey, TrainedWeight] = {}
        for name, key in names.items():
            weight, removed, scale = self.first[key], ~self.keeps[key], scales[name]
            weights[key] = FullWeight(weight, removed, scale=scale)
            if settings.rank is not None:
                weights[key] = LowRankWeight(weight, removed, scale=scale, rank=settings.rank, draw=name)
        return Recoverer(self.passes, weights, parts=self.parts, held_out=self.held_out, settings=settings)

    def run(self, folder: Path, *, settings: Recovery = SETTINGS, every: int = 100) -> Recovered:
        return self.recoverer(settings).run(CheckpointFile(Store(folder), "one"), every=every, done=lambda _: None)

    def restore(self) -> None:
        for key, weight in self.first.items():
            self.passes.weight(*key).copy_(weight)


def load_float64(folder: Path) -> Any:
    choice = {"attn_implementation": "eager", "experts_implementation": "eager"}
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **choice).eval()


class Reference:
    """The model library's own model in float64, with the same masks; gradients are those of torch."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.model, dense = (load_float64(case.folder) for _ in range(2))
        self.places = {key: self._place(*key) for key in case.keys}
        for key, value in case.first.items():
            self.set(key, value.double())
        self.dense = [self._log_probs(dense, text).detach() for text in case.texts]

    def _place(self, block: int, layer: str) -> Callable[[], Tensor]:
        """Return a function of the view of a weight, [out, in]."""
        blocks = self.model.transformer.h if hasattr(self.model, "transformer") else self.model.model.layers
        parts = layer.split(".")
        if "experts" in parts:
            module, number, name = blocks[block].get_submodule(".".join(parts[:-2])), int(parts[-2]), parts[-1]
            return lambda: getattr(module, name)[number]
        module = blocks[block].get_submodule(layer)
        is_transposed = type(module).__name__ == "Conv1D"
        return lambda: module.weight.T if is_transposed else module.weight

    def set(self, key: LayerKey, value: Tensor) -> None:
        with torch.no_grad():
            self.places[key]().copy_(value)

    def weight(self, key: LayerKey) -> Tensor:
        return self.places[key]().detach().clone()

    def _log_probs(self, model: Any, text: Text) -> Tensor:
        with default_float64():
            logits = model(input_ids=text.token_ids).logits[0, text.positions]
        assert logits.dtype == torch.float64
        return torch.log_softmax(logits, dim=1)

    def losses(self, number: int) -> tuple[Tensor, Tensor]:
        text, log_p = self.case.texts[number], self.dense[number]
        log_q = self._log_probs(self.model, text)
        divergence = (log_p.exp() * (log_p - log_q)).sum()
        return divergence, -log_q[torch.arange(len(text.positions)), text.targets].sum()

    def loss(self, parts: Sequence[SetPart]) -> float:
        with torch.no_grad():
            terms = [(part.coefficient, self.losses(number)) for part in parts for number in part.numbers]
        return math.fsum(factor * float(one + SETTINGS.text_share * other) for factor, (one, other) in terms)

    def gradients(self, factors: dict[int, float]) -> dict[LayerKey, Tensor]:
        self.model.zero_grad()
        for number, factor in factors.items():
            divergence, cross_entropy = self.losses(number)
            (factor * (divergence + SETTINGS.text_share * cross_entropy)).backward()
        values = {key: self.weight(key) for key in self.case.keys}
        for parameter in self.model.parameters():
            parameter.data.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        found = {key: self.weight(key) for key in self.case.keys}
        self._reload()
        for key, value in values.items():
            self.set(key, value)
        return found

    def _reload(self) -> None:
        self.model.load_state_dict(load_float64(self.case.folder).state_dict())

    def draws(self) -> list[dict[int, float]]:
        """Return demonstration -> factor of each step."""
        owners = {number: part for part in self.case.parts for number in part.numbers}
        numbers = sorted(owners)
        drawn = drawn_batches(len(numbers), batch=SETTINGS.batch, steps=SETTINGS.steps, seed=SETTINGS.seed)
        share = len(numbers) / SETTINGS.batch
        return [{numbers[one]: share * owners[numbers[one]].coefficient for one in batch} for batch in drawn]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", TYPES)
def test_gradients_of_all_layers_are_those_of_the_model_in_float64(folder: Path, kind: str) -> None:
    case = Case(folder, kind)
    reference = Reference(case)
    factors = reference.draws()[0]
    found = case.passes.forward(list(factors))
    for number, losses in zip(factors, found, strict=True):
        divergence, cross_entropy = reference.losses(number)
        assert losses.divergence == pytest.approx(float(divergence.detach()), rel=1e-4)
        assert losses.cross_entropy == pytest.approx(float(cross_entropy.detach()), rel=1e-5)
    expected = reference.gradients(factors)
    got = {
        (block, layer): one for block, of in case.passes.backward(list(factors.values())) for layer, one in of.items()
    }
    assert set(got) <= set(expected)
    for key, gradient in expected.items():
        if key in got:
            assert relative(got[key], gradient) < 1e-4, key
        else:
            assert not gradient.any()  # an expert without tokens


@pytest.mark.parametrize("kind", TYPES)
def test_steps_are_those_of_a_plain_loop_in_float64(folder: Path, tmp_path: Path, kind: str) -> None:
    case = Case(folder, kind)
    reference = Reference(case)
    got = case.run(tmp_path)
    current = {key: value.double() for key, value in case.first.items()}
    first, second = ({key: torch.zeros_like(value) for key, value in current.items()} for _ in range(2))
    measured = {0: reference.loss(case.held_out)}
    states = {0: current}
    for step, factors in enumerate(reference.draws(), start=1):
        gradients = reference.gradients(factors)
        for key, keep in case.keeps.items():
            gradient = gradients[key] * keep
            first[key] = 0.9 * first[key] + 0.1 * gradient
            second[key] = 0.95 * second[key] + 0.05 * gradient**2
            change = (first[key] / (1 - 0.9**step)) / ((second[key] / (1 - 0.95**step)).sqrt() + 1e-8)
            scale = float((case.first[key].double() ** 2).sum() / max(1, int(keep.sum()))) ** 0.5
            rate = SETTINGS.learning_rate * relative_rate(step, SETTINGS.steps) * scale
            current = {**current, key: current[key] - rate * change}
            reference.set(key, current[key])
        if step % SETTINGS.every == 0:
            measured[step], states[step] = reference.loss(case.held_out), current
    best = min(measured, key=lambda step: measured[step])
    assert best > 0
    assert {row["step"] for row in got.rows if row["is_stored"]} == {best}
    shares = {part.set_id: part.share for part in case.held_out}
    for step, expected in measured.items():
        rows = [row for row in got.rows if row["is_held_out"] and row["step"] == step]
        loss = sum(
            shares[str(row["demonstration_set_id"])] * (row["divergence"] + SETTINGS.text_share * row["cross_entropy"])
            for row in rows
        )
        assert loss == pytest.approx(expected, rel=1e-4)
    for key, expected in states[best].items():
        moved = expected - case.first[key].double()
        assert relative(got.weights[key].double() - case.first[key].double(), moved) < 0.02, key
        assert not got.weights[key][~case.keeps[key]].any()


def test_updates_of_low_rank_are_merged_into_kept_weights(folder: Path, tmp_path: Path) -> None:
    case = Case(folder, "xglm")
    settings = Recovery(steps=6, learning_rate=0.02, batch=3, every=2, rank=2, seed=5)
    got = case.run(tmp_path, settings=settings)
    for key, weight in got.weights.items():
        assert not weight[~case.keeps[key]].any()
        assert not torch.equal(weight, case.first[key])
    held_out = {row["step"]: row["divergence"] for row in got.rows if row["is_held_out"]}
    assert held_out[6] < held_out[0]
    full = Case(folder, "xglm").run(tmp_path / "full", settings=SETTINGS)
    assert any(not torch.equal(weight, full.weights[key]) for key, weight in got.weights.items())


def test_a_low_rank_weight_follows_its_formula_in_float64() -> None:
    draw = torch.Generator().manual_seed(3)
    weight, keep = torch.randn(6, 5, generator=draw), torch.rand(6, 5, generator=draw) > 0.5
    weight *= keep
    trained = LowRankWeight(weight, ~keep, scale=0.5, rank=2, draw="a layer")
    assert torch.equal(trained.value(), weight)
    right = trained.tensors()["right weight"].double().clone()
    assert right.abs().max() <= (3 / 2) ** 0.5
    left = torch.zeros(6, 2, dtype=torch.float64)
    moments = [[torch.zeros_like(one) for one in (left, right)] for _ in range(2)]
    for step in range(1, 4):
        gradient = torch.randn(6, 5, generator=draw)
        of_kept = gradient.double() * keep
        trained.update(gradient, rate=0.1)
        slopes = of_kept @ right.T, left.T @ of_kept
        for place, (slope, scale) in enumerate(zip(slopes, (0.5, 2**-0.5), strict=True)):
            moments[0][place] = 0.9 * moments[0][place] + 0.1 * slope
            moments[1][place] = 0.95 * moments[1][place] + 0.05 * slope**2
            mean, square = moments[0][place] / (1 - 0.9**step), moments[1][place] / (1 - 0.95**step)
            (left, right)[place].sub_(0.1 * scale * mean / (square.sqrt() + 1e-8))
        expected = (weight.double() + left @ right) * keep
        torch.testing.assert_close(trained.value().double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_loop_that_begins_at_a_checkpoint_ends_with_equal_bits(
    folder: Path, tmp_path: Path, rank: int | None
) -> None:
    settings = Recovery(steps=6, learning_rate=0.01, batch=2, every=2, rank=rank, seed=5)
    undisturbed = Case(folder, "xglm").run(tmp_path / "a", settings=settings)
    case, file = Case(folder, "xglm"), CheckpointFile(Store(tmp_path / "b"), "one")

    def stop_at(n: int) -> None:
        steps.append(n)
        if len(steps) == 5:
            raise KeyboardInterrupt

    steps: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        case.recoverer(settings).run(file, every=3, done=stop_at)
    case.restore()
    found: list[int] = []
    resumed = case.recoverer(settings).run(file, every=3, done=found.append)
    assert found == [3, 1, 1, 1]
    assert resumed.rows == undisturbed.rows
    assert all(torch.equal(weight, undisturbed.weights[key]) for key, weight in resumed.weights.items())


def test_a_damaged_checkpoint_counts_as_missing(folder: Path, tmp_path: Path) -> None:
    case = Case(folder, "xglm")
    settings = Recovery(steps=2, learning_rate=0.01, batch=2, every=1, seed=5)
    undisturbed, store = case.run(tmp_path, settings=settings, every=1), Store(tmp_path)
    (path,) = (tmp_path / "checkpoints").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert CheckpointFile(store, "one").read() is None
    case.restore()
    again = case.run(tmp_path, settings=settings, every=1)
    assert all(torch.equal(weight, undisturbed.weights[key]) for key, weight in again.weights.items())


def test_threads_change_no_bit(folder: Path, tmp_path: Path) -> None:
    alone = Case(folder, "qwen3_moe").run(tmp_path / "a")
    with worker_threads(3):
        together = Case(folder, "qwen3_moe").run(tmp_path / "b")
    assert alone.rows == together.rows
    assert all(torch.equal(weight, together.weights[key]) for key, weight in alone.weights.items())


def test_a_loss_that_is_not_finite_ends_the_recovery(folder: Path, tmp_path: Path) -> None:
    case = Case(folder, "xglm")
    settings = Recovery(steps=3, learning_rate=1e38, batch=3, every=1, seed=5)
    with refused(StatisticsError, demonstration_set_id="set 0") as caught:
        case.run(tmp_path, settings=settings)
    assert "learning_rate" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [2, 9, 10, 11, 40])
def test_a_tenth_of_a_set_is_held_out_and_at_least_one_demonstration(n: int) -> None:
    part, held_out = split_set(n, seed=3)
    assert sorted((*part, *held_out)) == list(range(n))
    assert len(held_out) == math.ceil(n / 10)
    assert (part, held_out) == split_set(n, seed=3)
    if n > 2:
        assert any(split_set(n, seed=seed)[1] != held_out for seed in range(4, 9))
