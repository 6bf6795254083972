"""Variants in memory are the variants of the run: masks, changed weights, quantisation; tied weights stay tied."""

import pytest
import torch
from safetensors.torch import load_file

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError, StoreError
from mlprune.store.store import Store
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import FinishedRun


@pytest.mark.thorough("exports and loads models")
def test_every_kind_of_variant_has_the_weights_of_its_export(derived_run: FinishedRun, tmp_path) -> None:
    folder = derived_run.folder / "model"
    for number, variant in enumerate(derived_run.plan.variants.values()):
        model = load_masked_model(derived_run.store, variant.id, folder)
        export_variant(derived_run.store, variant.id, folder, tmp_path / str(number))
        exported = load_file(tmp_path / str(number) / "model.safetensors")
        weights = model.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in exported.items()), variant.label
        assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_the_files_are_mapped_only_in_their_own_dtype(derived_run: FinishedRun) -> None:
    folder = derived_run.folder / "model"
    variant_id = next(one.id for one in derived_run.plan.variants.values() if one.is_dense)
    for dtype in ("float32", "float16"):
        model = load_masked_model(derived_run.store, variant_id, folder, dtype=dtype, device=torch.device("cpu"))
        blocks = model.get_submodule(ARCHITECTURES["xglm"].blocks)
        assert {parameter.dtype for parameter in blocks.parameters()} == {getattr(torch, dtype)}
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_variants_without_weights_of_their_own_and_other_models_are_refused(
    baseline_run: FinishedRun, derived_run: FinishedRun
) -> None:
    intervened = next(one for one in baseline_run.plan.variants.values() if one.label == "lrp2")
    with pytest.raises(BadInputError, match="intervention"):
        load_masked_model(baseline_run.store, intervened.id, baseline_run.folder / "model")
    variant_id = next(iter(derived_run.plan.variants))
    with pytest.raises(BadInputError, match="another model"):
        load_masked_model(derived_run.store, variant_id, baseline_run.folder / "small")
    with pytest.raises(StoreError, match="unknown variant"):
        load_masked_model(Store(derived_run.store.uri), "0" * 20, derived_run.folder / "model")
