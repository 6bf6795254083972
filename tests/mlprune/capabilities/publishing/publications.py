"""Published folders that tests make, without a catalog."""

from collections.abc import Sequence
from pathlib import Path

from mlprune.capabilities.publishing import apply_published as loader
from mlprune.capabilities.publishing.apply import apply_published
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.publish import Publication, PublishedFolder, publish_variants
from mlprune.models.checkpoint.tensor_hashes import TensorHash, read_hashes, tensor_hashes
from mlprune.store.store import Store


def publish(store: Store, variant_ids: Sequence[str], model: Path, out: Path) -> list[PublishedFolder]:
    """Publish variants of one base model."""
    publications = [Publication(variant_id, f"label of {variant_id}") for variant_id in variant_ids]
    models = {store.require("variants", one).parent("base_model"): model for one in variant_ids}
    return publish_variants(store, publications, models, out)


def weights_of(folder: Path) -> dict[str, bytes]:
    """Name -> content of the weight files of a model."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("model*"))}


def require_equal_models(store: Store, variant_id: str, model: Path, folder: Path) -> dict[str, TensorHash]:
    """Check that both ways to apply a published variant give the files of its export, and return its hashes."""
    export_variant(store, variant_id, model, folder / "exported")
    publish(store, [variant_id], model, folder / "published")
    apply_published(str(model), folder / "published", folder / "applied")
    loader.write(model, folder / "alone", folder / "published")
    expected = weights_of(folder / "exported")
    assert weights_of(folder / "applied") == expected
    assert weights_of(folder / "alone") == expected
    hashes = read_hashes(folder / "exported")
    assert read_hashes(folder / "applied") == hashes == tensor_hashes(folder / "alone")
    return hashes
