"""The tensors that a model needs, from its config, and the check of an imported folder against them."""

from pathlib import Path

from mlprune.errors import ModelError
from mlprune.importing.tensor_names import ModelLayout
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, family_at


def model_layout(folder: Path) -> ModelLayout:
    """Return what the model of a config needs from its checkpoint. The model is built on the meta device.

    Raises:
        ModelError: the config cannot be used, or the model does not fit the record of its family.
    """
    from mlprune.models.meta_model import build_skeleton, checked_blocks  # noqa: PLC0415 - imports transformers

    family = family_at(folder)
    model = build_skeleton(folder, DTYPES["float32"])
    checked_blocks(model, family)
    return ModelLayout(
        parameters={name: tuple(value.shape) for name, value in model.named_parameters(remove_duplicate=False)},
        buffers=tuple(name for name, _ in model.named_buffers()),
        tied=dict(model.all_tied_weights_keys),
        prefix=f"{family.prefix}.",
        renamed=family.renamed,
    )


def check_imported(folder: Path) -> None:
    """Check that a folder has every tensor of its model with the right shape, as loading it would.

    Raises:
        ModelError: a tensor is missing or does not fit.
    """
    from mlprune.models.meta_model import build_skeleton, check_shape, checked_blocks, source_of  # noqa: PLC0415

    family = family_at(folder)
    files = WeightFiles(folder, family)
    model = build_skeleton(folder, DTYPES["float32"])
    checked_blocks(model, family)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        source = source_of(name, model, files)
        if not files.has(source):
            raise ModelError("the imported weights lack a tensor", path=str(folder), expected=source)
        check_shape(files.shape(source), tuple(parameter.shape), source)
