"""Faults that have no effect on a CPU, each planted in one place of the source, are found on pretended GPUs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.decoding import DecodingVisitor
from mlprune.models.inference.observation import CaptureVisitor, InfluenceVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement import placed_modules
from mlprune.models.shard import Shard
from mlprune.models.sweep_states import ResidentStates
from mlprune.numeric.activations.accelerator_statistics import HostCopies
from mlprune.numeric.activations.gram import GramAccumulator
from mlprune.numeric.masks.packed_masks import replace_mask, write_masked
from mlprune.numeric.masks.packing import pack_flags, unpack_flags
from mlprune.numeric.selection import levels
from tests.pretended_gpus import pretended_gpus
from tests.pretended_gpus.operations import OPERATIONS
from tests.pretended_gpus.pickled_chain import pickled_chain
from tests.pretended_gpus.placements import N_GPUS, place
from tests.pretended_gpus.planting import plant
from tests.tiny_models import ARCHITECTURES

TO_CPU = '.to(torch.device("cpu"))'


@dataclass(frozen=True)
class Fault:
    """One edit, and an operation in which it matters."""

    what: str
    function: Callable[..., Any]
    original: str
    fault: str
    operation: str
    sees: str = "device"
    """Part of the error."""
    family: str = "xglm"


PICKLED = "is pickled"
MOVES = placed_modules._move_inputs_to
FAULTS = (
    Fault("weights stay on the CPU", MetaModel.load, "value.to(device)", "value", "observe"),
    Fault("buffers stay on the CPU", placed_modules.move_inputs, "buffer.to(device)", "buffer", "observe"),
    Fault("angles are not moved", MOVES, "send_to_device(kwargs, device)", "kwargs", "score", family="llama"),
    Fault("states are not moved", MOVES, "send_to_device(args, device)", "args", "score"),
    Fault("a shift stays on the CPU", BlockRunner.step, ".to(hidden)", ".to(hidden.dtype)", "mask"),
    Fault("the head is elsewhere", BlockRunner.apply_final_norm, ".to(self.head.weight.device)", "", "score"),
    Fault("states leave a shard on its device", Shard.advance, TO_CPU, "", "score", PICKLED),
    Fault("tokens are returned on a device", DecodingVisitor.finish, ".cpu()", "", "decode", PICKLED),
    Fault("inputs are returned on a device", CaptureVisitor.around_block, "rows.cpu()", "rows", "capture", PICKLED),
    Fault("states of a sweep leave on a device", ResidentStates.release, TO_CPU, "", "sweep wanda row", PICKLED),
    Fault("a mask is on the CPU", write_masked, "mask.unpack(target.device)", "mask.unpack().cpu()", "mask"),
    Fault("dense weights are on the CPU", replace_mask, ".to(target.device)", "", "mask"),
    Fault("sums of products are on the CPU", GramAccumulator.__init__, "device=device", "", "sweep sparsegpt matrix"),
    Fault("packed bits are read on a device", pack_flags, ".cpu()", "", "sweep wanda row", "numpy"),
    Fault("bits are not moved", unpack_flags, ".to(device)", "", "mask"),
    Fault("positions are on the CPU", levels._levels_by_sorting, "d, device=scores.device", "d", "sweep wanda row"),
    Fault("a visitor leaves a shard as it is", Shard.advance, "message.visitor.leave_shard()", "", "observe", PICKLED),
    Fault(
        "states before a block stay on its device",
        InfluenceVisitor.around_block,
        "states.hidden.to(states_after.hidden.device)",
        "states.hidden",
        "influence of blocks",
    ),
    Fault("counts are returned on a device", HostCopies.take, ".cpu()", "", "count neurons", PICKLED),
)


@pytest.mark.thorough("computes on pretended devices")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_planted_fault_is_found_on_pretended_gpus(monkeypatch, folder_of, fault):
    plant(monkeypatch, fault.function, original=fault.original, fault=fault.fault)
    place(monkeypatch, "in turn")
    with pretended_gpus(N_GPUS), pytest.raises((RuntimeError, TypeError), match=fault.sees):
        OPERATIONS[fault.operation](pickled_chain(folder_of(fault.family), n_shards=2), ARCHITECTURES[fault.family])


def test_a_planted_fault_goes_unnoticed_on_the_cpu(monkeypatch, folder_of):
    fault = FAULTS[-1]
    plant(monkeypatch, fault.function, original=fault.original, fault=fault.fault)
    assert OPERATIONS[fault.operation](local_chain(folder_of(fault.family)), ARCHITECTURES[fault.family])
