"""Models of a store: variants with their masks, tokenizers, and where the base models are."""

from pathlib import Path
from typing import TYPE_CHECKING

from mlprune.errors import BadInputError, unknown

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from mlprune.store.store import Store


def load(
    store: "Store",
    variant_id: str,
    *,
    dtype: str | None,
    device: "str | torch.device | None",
    folder: str | Path | None,
) -> "PreTrainedModel":
    """Load a variant; see `OpenStore.load`."""
    from mlprune.models.checkpoint.weight_files import DTYPES  # noqa: PLC0415 - loads torch
    from mlprune.steps.export.masked_model import load_masked_model  # noqa: PLC0415 - loads transformers

    name = next((known for known in DTYPES if known == str(dtype).removeprefix("torch.")), None)
    if dtype is not None and name is None:
        raise unknown("dtype", dtype, DTYPES, error=BadInputError)
    path = model_folder(store, variant_id) if folder is None else Path(folder).expanduser()
    return load_masked_model(store, variant_id, path, dtype=name, device=_device(device))


def tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model folder; see `OpenStore.tokenizer`."""
    from mlprune.models.loading import load_tokenizer  # noqa: PLC0415 - loads torch

    return load_tokenizer(folder.expanduser())


def model_folder(store: "Store", variant_id: str) -> Path:
    """Find the base model of a variant; see `OpenStore.model_folder`."""
    from mlprune.steps.base_model import find_base_model  # noqa: PLC0415 - loads torch

    return find_base_model(store, store.require("variants", variant_id).parent("base_model"), option="model=FOLDER")


def _device(name: "str | torch.device | None") -> "torch.device | None":
    import torch  # noqa: PLC0415 - takes a second

    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as err:
        # torch raises an AssertionError for a device that it was built without
        reason = " ".join(str(err).split())
        raise BadInputError(
            "the device cannot be used", expected="cpu, cuda or cuda:0", got=name, reason=reason
        ) from err
    return device
