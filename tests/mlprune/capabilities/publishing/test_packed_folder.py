"""Packed folders: what transformers computes from them, what they contain, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing import packed_folder
from mlprune.capabilities.publishing.export import export_packed, export_variant
from mlprune.errors import BadInputError, PermanentError
from mlprune.models.checkpoint.tensor_hashes import read_hashes, sha256_of_tensor
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.variants.variant_rows import require_masks
from tests.expert_models import save_expert_model
from tests.refusals import refused
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts

WANDA = {"score": "wanda", "demonstrations": "mt", "propagation": "dense", "sparsity": 0.5}
FOUR_BITS = {"bits": 4, "group": 32}
ENTRIES: dict[str, dict[str, Any]] = {
    "masks": {**WANDA, "quantise": FOUR_BITS},
    "n-m": {**WANDA, "structure": "2:4", "quantise": {**FOUR_BITS, "method": "nearest"}},
    "eight": {"sparsity": 0, "quantise": {"bits": 8, "group": "row", "demonstrations": "mt"}},
    "tokens": {**WANDA, "quantise": FOUR_BITS, "keep": {"languages": ["en"]}},
    "three": {"sparsity": 0, "quantise": {"bits": 3, "group": 32, "method": "nearest"}},
    "zero-points": {"sparsity": 0, "quantise": {**FOUR_BITS, "symmetric": False, "method": "nearest"}},
    "wide": {"sparsity": 0, "quantise": {"bits": 4, "group": 128, "method": "nearest"}},
    "plain": WANDA,
}
HIDDEN = 64
"""Groups of 32 divide it."""
TOKENS = torch.tensor([[5, 9, 20, 31, 7, 12, 15], [3, 8, 21, 2, 9, 11, 4]])


def run_of(folder: Path, names: tuple[str, ...], *, family: str = "llama", dtype: str = "float32") -> FinishedRun:
    write_texts(folder)
    save_tiny_model(folder / "model", family, hidden=HIDDEN)
    return finished_run(folder, recipe_of(names, dtype=dtype), name="packed")


def recipe_of(names: tuple[str, ...], *, dtype: str = "float32") -> dict[str, Any]:
    recipe = {**small_recipe(), "evaluations": []}
    recipe["model"] = {**recipe["model"], "dtype": dtype}
    recipe["variants"] = [{"name": name, **ENTRIES[name]} for name in names]
    return recipe


def last_of(run: FinishedRun, name: str) -> str:
    """The id of the last variant of an entry; the others are those that it is derived from."""
    return run.named(name)[-1].id


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run_of(tmp_path_factory.mktemp("packed"), tuple(ENTRIES))


def assert_equal_logits(run: FinishedRun, variant_id: str, folder: Path) -> None:
    """The folder computes, in the dtype of its config, exactly what the variant in place computes."""
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    in_place = load_masked_model(run.store, variant_id, run.folder / "model")
    assert loaded.dtype == in_place.dtype
    with torch.no_grad():
        assert torch.equal(loaded(TOKENS).logits, in_place(TOKENS).logits)


@pytest.mark.parametrize("name", ["masks", "n-m", "eight"])
def test_transformers_computes_from_the_codes_exactly_what_the_variant_computes(
    run: FinishedRun, name: str, tmp_path: Path
) -> None:
    variant_id = last_of(run, name)
    packed = export_packed(run.store, variant_id, run.folder / "model", tmp_path / "out")
    assert_equal_logits(run, variant_id, tmp_path / "out")
    assert packed.n_bytes < packed.n_bytes_before
    card = (tmp_path / "out" / "README.md").read_text()
    assert "packed codes" in card
    assert "dequantised weights" not in card
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert file.stat().st_mode == (tmp_path / "out" / "config.json").stat().st_mode, "as readable as other files"
    hashes = {key: one.sha256 for key, one in read_hashes(tmp_path / "out").items()}
    assert hashes == {key: sha256_of_tensor(tensor) for key, tensor in load_file(file).items()}


def test_in_bfloat16_too(tmp_path: Path) -> None:
    run = run_of(tmp_path, ("masks",), dtype="bfloat16")
    variant_id = last_of(run, "masks")
    export_packed(run.store, variant_id, run.folder / "model", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert_equal_logits(run, variant_id, tmp_path / "out")


def test_a_smaller_vocabulary_and_codes_are_in_one_folder(run: FinishedRun, tmp_path: Path) -> None:
    variant_id = last_of(run, "tokens")
    for export, name in ((export_packed, "packed"), (export_variant, "plain")):
        export(run.store, variant_id, run.folder / "model", tmp_path / name, vocabulary_multiple=8)
    packed, plain = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("packed", "plain"))
    assert packed.get_input_embeddings().num_embeddings % 8 == 0
    with torch.no_grad():
        assert torch.equal(packed(TOKENS).logits, plain(TOKENS).logits)


FLAP = {
    "score": "flap",
    "demonstrations": "mt",
    "propagation": "dense",
    "equal_widths": True,
    "head_power": 0.01,
    "sparsity": 1 / 3,
}
"""The power makes weak heads the first that are removed."""
UNITS: dict[str, dict[str, Any]] = {
    "units": {**FLAP, "compensate": False, "quantise": {**FOUR_BITS, "propagation": "dense"}},
    "biases": {**FLAP, "quantise": {**FOUR_BITS, "order": "by_activation"}},
    "fewer-tokens": {**FLAP, "compensate": False, "quantise": FOUR_BITS, "keep": {"languages": ["en"]}},
    "odd": {**FLAP, "compensate": False, "sparsity": 0.25, "quantise": FOUR_BITS},
    "rows": {**FLAP, "sparsity": 0.25, "quantise": {"group": "row", "method": "nearest"}},
    "uneven": {**FLAP, "equal_widths": False, "quantise": FOUR_BITS},
}
"""A third of the weights is a key head of two, and 32 of 128 neurons."""


def save_with_weak_units(folder: Path) -> None:
    """Write a LLaMA model of which a key head and 32 neurons of each block pass little on."""
    save_tiny_model(folder, "llama", hidden=HIDDEN, num_attention_heads=4, num_key_value_heads=2)
    tensors = load_file(folder / "model.safetensors")
    for block in range(3):
        tensors[f"model.layers.{block}.self_attn.o_proj.weight"][:, 32 * (block % 2) :][:, :32] *= 1e-3
        tensors[f"model.layers.{block}.mlp.down_proj.weight"][:, block : block + 3 * 32 : 3] *= 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def units_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("units")
    write_texts(folder)
    save_with_weak_units(folder / "model")
    recipe = recipe_of(())
    recipe["variants"] = [{"name": name, **entry} for name, entry in UNITS.items()]
    return finished_run(folder, recipe, name="units")


@pytest.mark.parametrize("name", ["units", "biases", "rows"])
def test_removed_heads_and_neurons_are_cut_out_of_the_codes(units_run: FinishedRun, name: str, tmp_path: Path) -> None:
    """Sums over fewer inputs round differently, so that logits are equal within 1e-5 only."""
    variant_id, model = last_of(units_run, name), units_run.folder / "model"
    packed = export_packed(units_run.store, variant_id, model, tmp_path / "out", smaller=True)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    in_place = load_masked_model(units_run.store, variant_id, model)
    with torch.no_grad():
        torch.testing.assert_close(loaded(TOKENS).logits, in_place(TOKENS).logits, rtol=1e-5, atol=1e-5)
    (_, n_heads, n_kept_heads), (_, n_neurons, n_kept_neurons) = packed.units
    assert (n_heads, n_neurons) == (6, 384)
    assert n_kept_heads < 6 or n_kept_neurons < 384
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (3 * config["num_key_value_heads"], 3 * config["intermediate_size"]) == (n_kept_heads, n_kept_neurons)
    assert packed.n_bytes < packed.n_bytes_before < packed.n_bytes_of_base
    hashes = {key: one.sha256 for key, one in read_hashes(tmp_path / "out").items()}
    tensors = {key: one for file in (tmp_path / "out").glob("*.safetensors") for key, one in load_file(file).items()}
    assert hashes == {key: sha256_of_tensor(tensor) for key, tensor in tensors.items()}
    for block, artefact in enumerate(require_masks(units_run.store, variant_id).weights):
        kept = json.loads((tmp_path / "out" / "kept_units.json").read_text())["blocks"][block]
        weights, prefix = read_block_weights(units_run.store, artefact), f"model.layers.{block}.mlp"
        for layer, expected in (
            ("up_proj", weights["mlp.up_proj"][kept["neurons"]]),
            ("down_proj", weights["mlp.down_proj"][:, kept["neurons"]]),
        ):
            words, scales, shape = (tensors[f"{prefix}.{layer}.weight_{end}"] for end in ("packed", "scale", "shape"))
            assert tuple(shape.tolist()) == expected.shape
            group = -(-expected.shape[1] // scales.shape[1])
            for column in range(0, expected.shape[1], 5):
                values = ((words[:, column // 8].long() & 0xFFFFFFFF) >> (4 * (column % 8)) & 15) - 8
                assert torch.equal(values * scales[:, column // group], expected[:, column])
    assert "6 heads" in (tmp_path / "out" / "README.md").read_text()


def test_fewer_heads_neurons_and_tokens_and_codes_are_in_one_folder(units_run: FinishedRun, tmp_path: Path) -> None:
    variant_id, model = last_of(units_run, "fewer-tokens"), units_run.folder / "model"
    packed = export_packed(units_run.store, variant_id, model, tmp_path / "packed", smaller=True, vocabulary_multiple=8)
    export_variant(units_run.store, variant_id, model, tmp_path / "plain", smaller=True, vocabulary_multiple=8)
    loaded, plain = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("packed", "plain"))
    assert packed.units == (("heads", 6, 3), ("neurons", 384, 288))
    assert loaded.get_input_embeddings().num_embeddings % 8 == 0
    with torch.no_grad():
        assert torch.equal(loaded(TOKENS).logits, plain(TOKENS).logits)


@pytest.mark.parametrize(
    ("name", "smaller", "context"),
    [
        ("units", False, {"expected": "--smaller --as compressed_tensors"}),
        ("odd", True, {"layer": "mlp.down_proj"}),
        ("uneven", True, {"next": "load it in memory with store.load, or export without --as"}),
    ],
)
def test_removed_units_that_no_folder_with_codes_can_express_are_refused(
    units_run: FinishedRun, name: str, smaller: bool, context: dict[str, Any], tmp_path: Path
) -> None:
    with refused(BadInputError, **context) as caught:
        export_packed(
            units_run.store, last_of(units_run, name), units_run.folder / "model", tmp_path / "out", smaller=smaller
        )
    if name == "odd":
        assert str(caught.value.context["expected"]).startswith("96 or 128 of 128 neurons in each block")
    assert list(tmp_path.iterdir()) == []


def test_codes_without_removed_units_have_no_smaller_folder(run: FinishedRun, tmp_path: Path) -> None:
    with refused(BadInputError):
        export_packed(run.store, last_of(run, "masks"), run.folder / "model", tmp_path / "out", smaller=True)
    assert list(tmp_path.iterdir()) == []


def test_files_have_the_codes_with_the_lowest_bits_first(run: FinishedRun, tmp_path: Path) -> None:
    variant_id = last_of(run, "masks")
    export_packed(run.store, variant_id, run.folder / "model", tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.safetensors")
    tensors = load_file(file)
    weights = read_block_weights(run.store, require_masks(run.store, variant_id).weights[1])
    for layer, expected in weights.items():
        name = f"model.layers.1.{layer}.weight"
        assert name not in tensors
        words, scales, shape = (tensors[f"{name}_{end}"] for end in ("packed", "scale", "shape"))
        assert tuple(shape.tolist()) == expected.shape
        for row in range(0, expected.shape[0], 7):
            for column in range(expected.shape[1]):
                word = int(words[row, column // 8]) & 0xFFFFFFFF
                value = (word >> (4 * (column % 8)) & 15) - 8
                assert float(value * scales[row, column // 32]) == float(expected[row, column])


def test_the_config_lists_the_linear_layers_without_codes(run: FinishedRun, tmp_path: Path) -> None:
    export_packed(run.store, last_of(run, "eight"), run.folder / "model", tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert settings["ignore"] == ["lm_head"]
    assert settings["config_groups"]["group_0"]["weights"]["strategy"] == "channel"


@pytest.mark.parametrize("name", ["plain", "three", "zero-points", "wide"])
def test_a_variant_that_no_engine_reads_is_refused_and_nothing_is_left(
    run: FinishedRun, name: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError) as caught:
        export_packed(run.store, last_of(run, name), run.folder / "model", tmp_path / "out")
    assert caught.value.context["expected"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["gpt2", "qwen3_moe"])
def test_layers_that_the_format_cannot_express_are_refused(family: str, tmp_path: Path) -> None:
    write_texts(tmp_path)
    (save_tiny_model if family == "gpt2" else save_expert_model)(tmp_path / "model", family)
    run = finished_run(tmp_path, recipe_of(("eight",)), name="packed")
    with refused(BadInputError, model_type=family):
        export_packed(run.store, last_of(run, "eight"), run.folder / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_codes_that_give_other_weights_are_noticed(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = packed_folder._packed

    def with_a_fault(*args: Any, **more: Any) -> dict[str, torch.Tensor]:
        tensors = packed(*args, **more)
        next(iter(tensors.values()))[0, 0] ^= 1
        return tensors

    monkeypatch.setattr(packed_folder, "_packed", with_a_fault)
    with pytest.raises(PermanentError):
        export_packed(run.store, last_of(run, "masks"), run.folder / "model", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
