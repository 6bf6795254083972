"""Smaller exports: a plain folder where the config can express it, otherwise one with its own loader."""

import ast
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from mlprune.capabilities.publishing.export import copy_files, export_variant, make_smaller, smaller_text
from mlprune.errors import BadInputError, DamagedArtefactError, ModelError, PermanentError, StoreError
from mlprune.models.architecture.units import LOADER_FILE
from mlprune.models.checkpoint.tensor_hashes import HASHES_FILE, read_hashes, tensor_hashes
from mlprune.models.checkpoint.tensor_slices import overwrite_tensor
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at, weight_name
from mlprune.numeric.masks.packing import unpack_levels
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.store import Store
from tests.exported_models import loaded_by_its_own_loader
from tests.tiny_models import ARCHITECTURES, FAMILY_NAMES, save_tiny_model, tiny_tokenizer
from tests.tiny_recipes import run_here, small_recipe, write_recipe, write_texts

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])


def removed_neurons(
    folder: Path, model_type: str, *, per_block: tuple[int, ...]
) -> Iterator[tuple[tuple[int, str], Tensor]]:
    """The columns of the first neurons of each block, as masks of removed weights."""
    architecture = ARCHITECTURES[model_type]
    (layer,), files = {kind.feed_forward.after for kind in architecture.kinds}, WeightFiles(folder, architecture)
    for block, n_removed in enumerate(per_block):
        removed = torch.zeros(files.shape(weight_name(architecture, block, layer)), dtype=torch.bool)
        removed[:, :n_removed] = True
        yield (block, layer), removed


def zeroed(folder: Path, model_type: str, removed: list[tuple[tuple[int, str], Tensor]]) -> Any:
    """The model of a folder after removed weights became zero, saved."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for (block, layer), mask in removed:
            model.get_parameter(weight_name(ARCHITECTURES[model_type], block, layer)).masked_fill_(mask, 0)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(("per_block", "is_plain"), [((3, 3), True), ((3, 5), False)])
def test_neurons_removed_by_their_columns_alone_are_cut_out(
    per_block: tuple[int, ...], is_plain: bool, tmp_path: Path
) -> None:
    save_tiny_model(tmp_path, "xglm", blocks=2)
    removed = list(removed_neurons(tmp_path, "xglm", per_block=per_block))
    model = zeroed(tmp_path, "xglm", removed)
    result = make_smaller(tmp_path, architecture_at(tmp_path), removed)
    assert (result.needs_loader is None) == is_plain == (not (tmp_path / LOADER_FILE).exists())
    assert result.units == (("heads", 4, 4), ("neurons", 128, 128 - sum(per_block)))
    smaller = AutoModelForCausalLM.from_pretrained(tmp_path) if is_plain else loaded_by_its_own_loader(tmp_path)
    assert smaller.model.layers[1].fc1.weight.shape == (64 - per_block[1], 16)
    with torch.no_grad():
        torch.testing.assert_close(smaller(TOKENS).logits, model(TOKENS).logits, rtol=1e-5, atol=1e-5)
    assert ("load_smaller" in smaller_text(result)) == (not is_plain)


def test_the_loader_is_short_and_needs_torch_and_transformers_only() -> None:
    source = Path(make_smaller.__globals__["load_smaller"].__file__).read_text("utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names}
    assert packages == {"copy", "json", "pathlib", "safetensors", "torch", "transformers", "typing"}
    assert len(source.splitlines()) <= 80


def test_the_loader_never_makes_a_weight_of_the_original_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_model(tmp_path, "xglm", blocks=2)
    removed = list(removed_neurons(tmp_path, "xglm", per_block=(3, 5)))
    zeroed(tmp_path, "xglm", removed)
    make_smaller(tmp_path, architecture_at(tmp_path), removed)
    made: list[tuple[int, ...]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.device.type != "meta":
                made.append(tuple(result.shape))
            return result

    with Watch():
        model = loaded_by_its_own_loader(tmp_path)
    assert model.model.layers[0].fc1.weight.shape == (61, 16)
    assert (64, 16) not in made


def test_a_variant_without_whole_units_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "xglm", blocks=1)
    ((key, removed),) = removed_neurons(tmp_path, "xglm", per_block=(5,))
    removed[0] = False
    with pytest.raises(BadInputError):
        make_smaller(tmp_path, architecture_at(tmp_path), [(key, removed)])


DTYPES = {"xglm": torch.float16, "gpt2": torch.float32, "bloom": torch.bfloat16}


class Made:
    """A store with variants of one tiny model."""

    def __init__(self, folder, family, *, save=None, recipe=None):
        self.folder, self.model = folder, folder / "model"
        save_tiny_model(self.model, family, dtype=DTYPES[family])
        (self.model / "LICENSE").write_text("as you like")
        if save is not None:
            save(self.model)
        write_texts(folder)
        recipe = recipe or {**small_recipe(), "evaluations": []}
        self.store = Store(folder / "store")
        self.plan = run_here(write_recipe(folder, recipe), self.store)
        self.variants = dict(self.plan.variants)
        self.dense = next(iter(self.variants))

    @property
    def pruned(self):
        return [one for one in self.variants if one != self.dense]

    def copy(self, folder):
        """The same store in another place, to be damaged."""
        shutil.copytree(self.folder / "store", folder)
        return Store(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {name: Made(tmp_path_factory.mktemp(name), name) for name in FAMILY_NAMES}


def removed_by(store, variant_id):
    """(block, layer) -> bool [out, in] of a variant, from its mask files."""
    stored = require_masks(store, variant_id)
    found = {}
    for block, (artefact, level) in enumerate(stored.files):
        table = store.read_table(artefact)
        for layer, shape, sparsities, packed in zip(
            table["layer"], table["shape"], table["sparsities"], table["levels"], strict=True
        ):
            found[block, layer] = unpack_levels(packed, tuple(shape.tolist()), len(sparsities)) <= level
    return found


def header(path):
    data = path.read_bytes()
    return data[: 8 + int.from_bytes(data[:8], "little")]


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_removed_weights_are_zero_and_every_other_bit_is_the_base_models(made, name, tmp_path):
    one, architecture = made[name], ARCHITECTURES[name]
    base = load_file(one.model / "model.safetensors")
    assert len(one.pruned) == 3
    for variant_id in one.pruned:
        out = tmp_path / variant_id
        export_variant(one.store, variant_id, one.model, out)
        assert header(out / "model.safetensors") == header(one.model / "model.safetensors")
        written = load_file(out / "model.safetensors")
        removed = removed_by(one.store, variant_id)
        assert len(removed) == 3 * len(architecture.layers)
        for (block, layer), mask in removed.items():
            tensor = f"{architecture.blocks}.{block}.{layer}.weight"
            expected = base[tensor].masked_fill(mask.T if architecture.block(block).transposed else mask, 0)
            assert mask.any()
            assert torch.equal(written.pop(tensor), expected)
        assert written
        assert all(torch.equal(tensor, base[key]) for key, tensor in written.items())


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_an_export_loads_with_transformers_tied_and_as_sparse_as_its_record_says(made, name, tmp_path):
    one, architecture = made[name], ARCHITECTURES[name]
    variant_id = one.pruned[-1]
    export_variant(one.store, variant_id, one.model, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert model.dtype == DTYPES[name]
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    for row in one.store.require("variants", variant_id).rows["variant_layers"]:
        weight = model.get_submodule(architecture.blocks)[row["block"]].get_submodule(row["layer"]).weight
        assert int((weight == 0).sum()) == row["n_removed"] > 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("a</s>")["input_ids"] == tiny_tokenizer()("a</s>")["input_ids"]


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_all_files_but_weights_are_copied_byte_for_byte_and_of_the_dense_variant_these_too(made, name, tmp_path):
    one = made[name]
    names = {path.name for path in one.model.iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "LICENSE"} <= names
    for variant_id, same in ((one.dense, names), (one.pruned[0], names - {"model.safetensors"})):
        out = tmp_path / variant_id
        export_variant(one.store, variant_id, one.model, out)
        assert {path.name for path in out.iterdir()} == names | {"README.md", HASHES_FILE}
        for copied in same:
            assert (out / copied).read_bytes() == (one.model / copied).read_bytes()


def test_an_export_lists_the_hash_of_every_tensor(made, tmp_path):
    one = made["bloom"]
    export_variant(one.store, one.pruned[0], one.model, tmp_path / "out")
    base, written = tensor_hashes(one.model), load_file(tmp_path / "out" / "model.safetensors")
    listed = read_hashes(tmp_path / "out")
    assert set(listed) == set(base) == set(written)
    for name, tensor in written.items():
        data = tensor.flatten().view(torch.uint8).numpy().tobytes()
        assert listed[name].sha256 == hashlib.sha256(data).hexdigest()
        assert (listed[name].dtype, listed[name].shape) == ("BF16", tuple(tensor.shape))
    changed = {name for name in base if listed[name] != base[name]}
    assert len(changed) == 3 * len(ARCHITECTURES["bloom"].layers)


def damaged_copies(model, target):
    copy_files(model, target)
    data = bytearray((target / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (target / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(("name", "fault"), [("zero_weights", lambda *_: None), ("copy_files", damaged_copies)])
def test_an_export_whose_files_differ_from_what_was_computed_is_refused(made, tmp_path, monkeypatch, name, fault):
    one = made["gpt2"]
    monkeypatch.setattr(f"mlprune.capabilities.publishing.export.{name}", fault)
    with pytest.raises(PermanentError):
        export_variant(one.store, one.pruned[0], one.model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def in_several_files(model):
    """Write the weights again as a checkpoint of many small files with an index."""
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    (model / "model.safetensors").unlink()
    loaded.save_pretrained(model, max_shard_size="8KB")


def without_prefix(model):
    """Name the tensors as GPT-2's checkpoints on the hub do."""
    tensors = load_file(model / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_file(bare, model / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize(("name", "save"), [("bloom", in_several_files), ("gpt2", without_prefix)])
def test_a_checkpoint_of_several_files_or_without_the_base_prefix_keeps_files_and_names(tmp_path, name, save):
    one, architecture = Made(tmp_path / "m", name, save=save), ARCHITECTURES[name]
    files = sorted(path.name for path in one.model.glob("model*"))
    assert (len(files) > 3) == (save is in_several_files)
    export_variant(one.store, one.pruned[0], one.model, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("model*")) == files
    for file in one.model.glob("*.safetensors"):
        assert header(tmp_path / "out" / file.name) == header(file)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for (block, layer), removed in removed_by(one.store, one.pruned[0]).items():
        weight = model.get_submodule(architecture.blocks)[block].get_submodule(layer).weight
        assert torch.equal((weight.T if architecture.block(block).transposed else weight) == 0, removed)


def test_a_model_of_links_as_in_the_hubs_cache_is_exported_as_files(made, tmp_path):
    one = made["xglm"]
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for path in one.model.iterdir():
        (linked / path.name).symlink_to(path)
    before = (one.model / "model.safetensors").read_bytes()
    export_variant(one.store, one.pruned[0], linked, tmp_path / "out")
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert (one.model / "model.safetensors").read_bytes() == before


def test_an_empty_folder_is_filled_and_missing_parents_are_made(made, tmp_path):
    one = made["gpt2"]
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        export_variant(one.store, one.pruned[0], one.model, out)
        assert (out / "model.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]


def test_a_folder_with_something_in_it_and_a_place_that_cannot_be_written_are_left_alone(made, tmp_path):
    one = made["gpt2"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("a file")
    for out in (tmp_path / "out", tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(StoreError) as caught:
            export_variant(one.store, one.pruned[0], one.model, out)
        assert "\n" not in str(caught.value)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["file", "out", "mine.txt"]
    assert (tmp_path / "file").read_text() == "a file"


def test_an_unknown_variant_is_reported_with_the_nearest_and_the_known_ones(made, tmp_path):
    one = made["gpt2"]
    known = one.pruned[0]
    for almost in (known[:6], known[:-1] + "x"):
        with pytest.raises(StoreError, match=known):
            export_variant(one.store, almost, one.model, tmp_path / "out")
    with pytest.raises(StoreError) as caught:
        export_variant(one.store, "zzz", one.model, tmp_path / "out")
    assert len(caught.value.context["expected"]) == 4
    assert not (tmp_path / "out").exists()


def test_another_model_than_the_variants_is_refused(made, tmp_path):
    one = made["gpt2"]
    other = save_tiny_model(tmp_path / "other", "gpt2", seed=1, dtype=DTYPES["gpt2"])
    with pytest.raises(BadInputError):
        export_variant(one.store, one.pruned[0], other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["masks", "weights"])
def test_a_damaged_file_of_a_variant_leaves_nothing_behind(updated, tmp_path, kind):
    one = updated["gpt2"]
    store = one.copy(tmp_path / "store")
    damaged = getattr(require_masks(store, one.pruned[0]), kind)[0]
    (tmp_path / "store" / damaged.path).write_bytes(b"damaged")
    with pytest.raises(DamagedArtefactError):
        export_variant(store, one.pruned[0], one.model, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def changed(store, variant_id, change):
    """Write a variant's record again with other rows."""
    record = store.require("variants", variant_id)
    rows = json.loads(json.dumps(record.rows))
    change(rows)
    store.write_record(dataclasses.replace(record, rows=rows))
    return store


def of_variant(**columns):
    return lambda rows: rows["variants"][0].update(columns)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda rows: rows["variant_layers"][3].update(n_removed=1), PermanentError),
        (lambda rows: rows["variant_layers"].pop(), PermanentError),
        (lambda rows: rows["variant_layers"].append({**rows["variant_layers"][0], "block": 9}), PermanentError),
        (of_variant(weights_changed=True), PermanentError),
        (of_variant(intervention="lrp2"), BadInputError),
    ],
)
def test_an_export_that_is_not_what_the_record_says_is_refused(made, tmp_path, change, error):
    """Also new weights that are not stored, and what a variant does at run time."""
    one = made["gpt2"]
    store = changed(one.copy(tmp_path / "store"), one.pruned[0], change)
    with pytest.raises(error) as caught:
        export_variant(store, one.pruned[0], one.model, tmp_path / "out")
    assert caught.type is error
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def new_weights(store, variant_id):
    """(block, layer) -> [out, in] of a variant, from its files of changed weights."""
    found = {}
    for artefact in require_masks(store, variant_id).weights:
        block = int(artefact.path.rpartition("-")[2].removesuffix(".safetensors"))
        found |= {(block, layer): weight for layer, weight in load(store.read_bytes(artefact)).items()}
    return found


def updating_recipe():
    """SparseGPT on all layers, and on all but those of block 1."""
    recipe = small_recipe()
    sparsegpt = {"demonstrations": "mt", "score": "sparsegpt", "sparsity": 0.5}
    recipe["variants"] = [
        {"name": "all", **sparsegpt},
        {"name": "two blocks", **sparsegpt, "scope": {"without_blocks": [1]}},
    ]
    return {**recipe, "evaluations": []}


@pytest.fixture(scope="module")
def updated(tmp_path_factory):
    return {name: Made(tmp_path_factory.mktemp(name), name, recipe=updating_recipe()) for name in FAMILY_NAMES}


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_changed_weights_are_the_stored_ones_rounded_to_the_checkpoint_and_all_others_the_base_models(
    updated, name, tmp_path
):
    one, architecture = updated[name], ARCHITECTURES[name]
    base = load_file(one.model / "model.safetensors")
    for variant_id, pruned_blocks in zip(one.pruned, ({0, 1, 2}, {0, 2}), strict=True):
        export_variant(one.store, variant_id, one.model, tmp_path / variant_id)
        exported = tmp_path / variant_id / "model.safetensors"
        assert header(exported) == header(one.model / "model.safetensors")
        written, removed = load_file(exported), removed_by(one.store, variant_id)
        changes = new_weights(one.store, variant_id)
        assert {block for block, _ in changes} >= pruned_blocks
        for (block, layer), values in changes.items():
            tensor = f"{architecture.blocks}.{block}.{layer}.weight"
            found = written.pop(tensor)
            is_transposed = architecture.block(block).transposed
            stored = values.T if is_transposed else values
            assert values.dtype == torch.float32
            assert found.dtype == DTYPES[name]
            assert torch.equal(found, stored.to(DTYPES[name]))
            assert torch.equal(found[found != 0], base[tensor][found != 0]) is (block not in pruned_blocks)
            mask = removed[block, layer].T if is_transposed else removed[block, layer]
            assert bool((found[mask] == 0).all())
        assert all(torch.equal(tensor, base[key]) for key, tensor in written.items())
        assert AutoModelForCausalLM.from_pretrained(tmp_path / variant_id, dtype="auto").dtype == DTYPES[name]


def test_the_card_of_changed_weights_says_so_and_that_they_may_be_rounded(updated, tmp_path):
    one = updated["bloom"]
    export_variant(one.store, one.pruned[0], one.model, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "have new values" in card
    assert "rounded to the dtype" in card
    assert "SparseGPT" in card


def with_new_weights(store, variant_id, change):
    """Change the first file of a variant's new weights and let the record agree with it."""
    record = require_masks(store, variant_id).record
    place = next(place for place, one in enumerate(record.artefacts) if one.path.startswith("weights/"))
    tensors = load(store.read_bytes(record.artefacts[place]))
    change(tensors)
    artefact = store.write_bytes(record.artefacts[place].path, save(tensors))
    artefacts = (*record.artefacts[:place], artefact, *record.artefacts[place + 1 :])
    store.write_record(dataclasses.replace(record, artefacts=artefacts))
    return store


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda tensors: tensors["fc1"].add_((tensors["fc1"] == 0) * 0.5), PermanentError),
        (lambda tensors: tensors["fc1"].mul_(1e9), ModelError),
    ],
)
def test_new_weights_where_the_mask_removes_or_too_large_for_the_checkpoint_are_refused(
    updated, tmp_path, change, error
):
    one = updated["xglm"]
    store = with_new_weights(one.copy(tmp_path / "store"), one.pruned[0], change)
    with pytest.raises(error):
        export_variant(store, one.pruned[0], one.model, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_export_whose_new_weights_were_not_written_as_stored_is_refused(updated, tmp_path, monkeypatch):
    one = updated["gpt2"]

    def inexact(file, name, values):
        overwrite_tensor(file, name, values * 1.01)

    monkeypatch.setattr("mlprune.capabilities.publishing.export.overwrite_tensor", inexact)
    with pytest.raises(PermanentError):
        export_variant(one.store, one.pruned[0], one.model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
