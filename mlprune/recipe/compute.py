"""Section `compute` of a recipe: number of actors, and the resources of each.

The planner replaces `auto` by numbers that depend on the model's size and the machines.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlprune.strict_model import Model
from mlprune.vocabulary import DeviceName

Auto = Literal["auto"]
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
LabelName = Annotated[str, Field(pattern=rf"^([a-zA-Z0-9][a-zA-Z0-9.-]*/)?{_LABEL}$", max_length=317)]
LabelSelector = Annotated[str, Field(pattern=rf"^!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))$")]
"""Label of a node and condition on its value, in Ray's grammar."""


class NodeLabels(dict[str, str]):
    """Label -> selector. Nothing changes it, so that a recipe has a hash."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


AUTO_BATCH_TOKENS: Mapping[DeviceName, int] = {"cpu": 512, "cuda": 8192}
"""Kind of device -> tokens of a batch if the recipe has `auto`: an accelerator needs large products to be fast."""


class ComputeConfig(Model):
    """Resources and batch size. Only `batch_tokens`, `device` and `tf32` change results, in their last bits."""

    device: Literal[DeviceName, "auto"] = "auto"
    """What runs the model: `cuda` (accelerators), `cpu`, or accelerators if the machines of the run have any."""
    tf32: bool = False
    """Let accelerators round factors of float32 products to TF32: several times faster, with 10 instead of 23 bits."""
    replicas: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Copies of the model that work in parallel."""
    shards: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Actors that share the blocks of a replica."""
    memory_gib_per_actor: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Resident memory of the process of one actor."""
    gpus_per_actor: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Accelerators of one actor; a fraction if actors share one, 0 to use none."""
    batch_tokens: Annotated[int, Field(ge=16)] | Auto = "auto"
    """Tokens of one batch, including padding; `auto`: 512 on CPUs, 8192 on accelerators."""
    node_labels: Annotated[dict[LabelName, LabelSelector], AfterValidator(NodeLabels)] = NodeLabels()
    """Nodes of a cluster that may be used, by their labels in Ray, such as `{ray.io/accelerator-type: H100}`. A value
    is `VALUE`, `!VALUE`, `in(A, B)` or `!in(A, B)`."""

    object_store_gib: Annotated[float, Field(ge=0.1)] | Auto = "auto"
    """Memory of the object store of the Ray that a run starts on this machine, through which its actors exchange data;
    `auto`: a tenth of the free memory, at most 1."""
    spill_dir: str | None = None
    """Folder where that Ray writes objects that do not fit in its object store, such as a local disk with much space;
    by default a folder of the session below /tmp/ray."""

    @model_validator(mode="after")
    def _gpus_are_whole_or_a_part(self) -> "ComputeConfig":
        gpus = self.gpus_per_actor
        if gpus != "auto" and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_actor above 1 has to be an integer, got {gpus}")
        return self

    @model_validator(mode="after")
    def _device_fits_gpus(self) -> "ComputeConfig":
        gpus = self.gpus_per_actor
        if gpus != "auto" and self.device != "auto" and (gpus > 0) != (self.device == "cuda"):
            expected = "above 0" if self.device == "cuda" else "0"
            raise ValueError(f"device {self.device} needs gpus_per_actor {expected} or auto, got {gpus:g}")
        return self

    def planned_batch_tokens(self, device: DeviceName) -> int:
        """Return the batch size that the plan uses on a kind of device."""
        return AUTO_BATCH_TOKENS[device] if self.batch_tokens == "auto" else self.batch_tokens
