"""Variants without masks: every command that needs masks or weights refuses them by their name."""

from pathlib import Path

import pytest

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.harness.harness import HarnessOptions, run_harness
from mlprune.capabilities.publishing.patches import export_patches
from mlprune.errors import BadInputError
from mlprune.steps.rescore.verify import verify_variant
from tests.mlprune.capabilities.publishing.publications import publish
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_inputs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A smaller vocabulary, and a variant without a block."""
    folder = write_inputs(tmp_path_factory.mktemp("forms"))
    variants = [
        {"name": "tokens", "structure": "vocabulary", "keep": {"languages": ["fr"]}},
        {"name": "blocks", "score": "given", "structure": "blocks", "scope": {"blocks": [1]}},
    ]
    return finished_run(folder, {**small_recipe(), "variants": variants, "evaluations": []}, name="forms")


@pytest.mark.parametrize(
    ("name", "got"),
    [("tokens", "intervention vocabulary"), ("blocks", "removed blocks"), ("dense", "the dense model")],
)
def test_masks_that_cannot_be_rebuilt_are_named(run: FinishedRun, name: str, got: str) -> None:
    variants = run.named(name) or [one for one in run.plan.variants.values() if one.is_dense]
    record = run.store.require("variants", variants[0].id)
    with refused(BadInputError, variant_id=record.id, got=got):
        verify_variant(run.store, record, run.folder / "model")


def test_a_smaller_vocabulary_is_no_set_of_weights_and_the_next_step_is_its_export(
    run: FinishedRun, tmp_path: Path
) -> None:
    variant, model = run.named("tokens")[0].id, run.folder / "model"
    dense = next(one.id for one in run.plan.variants.values() if one.is_dense)
    options = HarnessOptions(limit=None, batch_tokens=200)
    calls = [
        lambda: load_masked_model(run.store, variant, model),
        lambda: publish(run.store, [variant], model, tmp_path / "masks"),
        lambda: export_patches(run.store, (dense, variant), model, tmp_path / "patches"),
        lambda: list(
            run_harness(run.store, pytest.fail, model=run.plan.model, variant_ids=[variant], tasks=[], options=options)
        ),
    ]
    for call in calls:
        with refused(BadInputError, variant_id=variant, got="vocabulary") as caught:
            call()
        assert "mlprune export" in str(caught.value.context["next"])
        assert "\n" not in str(caught.value)
