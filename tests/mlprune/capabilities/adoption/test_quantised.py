"""Quantised checkpoints of the same base model are adopted as they are: their values, embeddings and costs."""

import shutil
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.adoption.difference import compare_checkpoint
from mlprune.capabilities.adoption.quantised import is_rounded, rounding_error
from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.importing.sources.gguf_source import ARCHITECTURES
from mlprune.capabilities.publishing.export import export_packed, export_variant
from mlprune.capabilities.publishing.publish import Publication, publish_variants
from mlprune.errors import BadInputError, ModelError, RecipeError
from tests.gguf_files import write_gguf
from tests.refusals import refused
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import finished_run, small_recipe, write_texts

TOKENS = torch.tensor([[5, 9, 20, 31, 7, 12, 15], [3, 8, 21, 2, 9, 11, 4]])


def base_of(folder: Path, architecture: str) -> Path:
    """Write a GGUF file of 8 bits and the folder of the model that it was made from."""
    write_gguf(folder / "q8.gguf", architecture).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def imported(source: Path, out: Path, base: Path) -> Path:
    return import_model(source, out, base=base, report=lambda _: None).path


class Adopted:
    """A run that adopts a GGUF file and a folder of compressed-tensors of its own, next to their bases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_texts(folder)
        self.base = base_of(folder, "llama")
        own = {"sparsity": 0, "quantise": {"bits": 4, "group": 32, "method": "nearest"}}
        first = {**small_recipe(), "variants": [{"name": "own", **own}], "evaluations": []}
        export_packed(
            (run := finished_run(folder, first, name="first")).store,
            run.named("own")[-1].id,
            self.base,
            folder / "int4",
        )
        self.values = imported(folder / "q8.gguf", folder / "gguf-values", self.base)
        imported(folder / "int4", folder / "int4-values", self.base)
        variants = [
            {"name": "own", **own},
            {"name": "int4", "adopt": "int4-values"},
            {"name": "gguf", "adopt": "gguf-values"},
        ]
        self.run = finished_run(folder, {**small_recipe(), "variants": variants}, name="adopted")

    def variant(self, name: str) -> str:
        return self.run.named(name)[-1].id

    def metrics(self, name: str) -> list[tuple[object, ...]]:
        keys = ("task", "language", "metric", "value")
        rows = [row for row in self.run.rows("metrics") if row["variant_id"] == self.variant(name)]
        return sorted(tuple(row.get(key) for key in keys) for row in rows)


@pytest.fixture(name="adopted", scope="module")
def _adopted(tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    torch.set_num_threads(1)
    return Adopted(tmp_path_factory.mktemp("adopted"))


def test_codes_of_an_own_export_have_the_results_of_the_variant_in_place(adopted: Adopted) -> None:
    assert adopted.metrics("int4") == adopted.metrics("own")
    assert adopted.metrics("int4")


def test_the_loaded_and_the_exported_variant_are_the_model_of_the_values(adopted: Adopted, tmp_path: Path) -> None:
    expected = load_file(adopted.values / "model.safetensors")
    base = load_file(adopted.base / "model.safetensors")
    model = load_masked_model(adopted.run.store, adopted.variant("gguf"), adopted.base)
    export_variant(adopted.run.store, adopted.variant("gguf"), adopted.base, tmp_path / "out")
    exported = load_file(tmp_path / "out" / "model.safetensors")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "the embedding (Q8_0)" in card
    assert "are those of the base model" not in card
    assert set(exported) == set(expected) == set(base)
    for name, values in model.state_dict().items():
        assert torch.equal(values, expected[name])
        assert torch.equal(exported[name], expected[name])
    assert sum(not torch.equal(base[name], values) for name, values in exported.items()) == sum(
        values.dim() == 2 for values in base.values()
    )


def test_the_record_says_what_is_quantised_and_claims_no_sparsity(adopted: Adopted) -> None:
    row = adopted.run.row("variants", adopted.variant("gguf"))
    assert (row["sparsity"], row["achieved_sparsity"], row["weights_changed"]) == (0, 0, True)
    ours = {one["variant_id"]: one for one in adopted.run.rows("quantised_checkpoints")}
    of_gguf, of_int4 = (ours[adopted.variant(name)] for name in ("gguf", "int4"))
    assert (of_gguf["format"], of_gguf["bits"], of_gguf["bits_per_weight"]) == ("gguf", 8, 8.5)
    assert (of_gguf["embedding"], of_gguf["head"], of_gguf["embedding_bits"]) == ("Q8_0", "Q8_0", 8.5)
    assert (of_int4["format"], of_int4["bits"], of_int4["layers_share"]) == ("compressed-tensors", 4, 1.0)
    assert (of_int4["embedding"], of_int4["head"], of_int4["calibration"]) == (None, None, "unknown")
    assert of_int4["n_zeros"] > 0
    layers = [one for one in adopted.run.rows("quantised_layers") if one["variant_id"] == adopted.variant("gguf")]
    assert {one["method"] for one in layers} == {"Q8_0"}


def test_the_cost_by_language_is_one_query(adopted: Adopted) -> None:
    with Catalog.open(adopted.run.store) as catalog:
        costs = run_user_query(catalog, "quantisation_cost").as_dicts()
        labels = {row["variant_id"]: row["label"] for row in catalog.query("FROM described_variants")}
    found = {row["variant_id"]: row for row in costs}
    of_gguf, of_own = (found[adopted.variant(name)] for name in ("gguf", "own"))
    assert (of_gguf["quantisation_method"], of_gguf["format"], of_gguf["bits"]) == ("adopted", "gguf", 8)
    assert (of_gguf["embedding"], of_gguf["head"]) == ("Q8_0", "Q8_0")
    assert (of_own["quantisation_method"], of_own["format"]) == ("nearest", None)
    differences = [
        {row["language"]: row["difference"] for row in costs if row["variant_id"] == adopted.variant(name)}
        for name in ("own", "int4")
    ]
    assert differences[0] == differences[1]
    assert "Q8_0" in labels[adopted.variant("gguf")]


def test_masks_of_a_quantised_checkpoint_are_not_published(adopted: Adopted, tmp_path: Path) -> None:
    with refused(BadInputError, variant_id=adopted.variant("gguf")):
        publication = Publication(adopted.variant("gguf"), "gguf")
        publish_variants(adopted.run.store, [publication], {}, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("change", [{"bits": 8}, {"quantise": {}}, {"keep": {"languages": ["en"]}}])
def test_a_quantised_checkpoint_is_only_evaluated(adopted: Adopted, change: dict[str, object]) -> None:
    recipe = {**small_recipe(), "variants": [{"name": "gguf", "adopt": "gguf-values", **change}]}
    with pytest.raises(RecipeError):
        finished_run(adopted.folder, recipe, name="changed")


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "llama"])
def test_files_of_every_architecture_are_compared_with_their_base(architecture: str, tmp_path: Path) -> None:
    base = base_of(tmp_path, architecture)
    difference = compare_checkpoint(base, imported(tmp_path / "q8.gguf", tmp_path / "values", base))
    assert (difference.n_removed, len(difference.embeddings)) == (0, 2)


def test_files_of_another_model_are_refused_by_the_tensor(tmp_path: Path) -> None:
    base = base_of(tmp_path, "qwen2")
    values = imported(tmp_path / "q8.gguf", tmp_path / "values", base)
    for end, change in {
        "embed_tokens.weight": lambda tensor: tensor[torch.randperm(len(tensor))],
        "norm.weight": lambda tensor: 1.01 * tensor,
        "lm_head.weight": lambda tensor: tensor + 0.3 * torch.randn_like(tensor),
    }.items():
        other = shutil.copytree(values, tmp_path / end)
        tensors = load_file(other / "model.safetensors")
        name = next(name for name in tensors if name.endswith(end))
        save_file({**tensors, name: change(tensors[name]).contiguous()}, other / "model.safetensors")
        with refused(BadInputError, tensor=name, path=str(other)):
            compare_checkpoint(base, other)


def test_a_file_with_other_settings_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    base = base_of(tmp_path, "qwen2")
    write_gguf(tmp_path / "other.gguf", "qwen2", changes={"rope.freq_base": 5e5, "rope.scaling.factor": 2.0})
    with refused(ModelError, got={"rope.freq_base": 5e5}):
        imported(tmp_path / "other.gguf", tmp_path / "out", base)
    with refused(ModelError, path=str(tmp_path / "q8.gguf")):
        (tmp_path / "q8.gguf").write_bytes((tmp_path / "q8.gguf").read_bytes()[:-100])
        imported(tmp_path / "q8.gguf", tmp_path / "out", base)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"])
def test_rounding_of_each_type_is_within_the_bound_and_other_rows_are_not(kind: str) -> None:
    base, bits = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) ** 3, int(kind[1])
    base[7] *= 1e-6
    number = gguf.GGMLQuantizationType[kind]
    values = torch.from_numpy(gguf.dequantize(gguf.quantize(base.numpy(), number), number))
    assert rounding_error(base, values, bits) is None
    for wrong in (values.roll(1, 0), -values, values * float("nan")):
        assert rounding_error(base, wrong, bits) is not None


def test_other_tensors_are_equal_up_to_the_narrower_dtype() -> None:
    base = torch.randn(100, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert is_rounded(base, base.to(dtype))
        assert is_rounded(base.to(dtype), base)
        assert not is_rounded(base, (1.02 * base).to(dtype))
    assert not is_rounded(base, base * 1.0001)
    assert not is_rounded(base, base[:50])
