"""Kinds of accelerators: names of users and of drivers, and stated rates."""

import pytest

from mlprune.errors import BadInputError
from mlprune.plan.gpu_kinds import GPU_KINDS, named_kind, recognised_kind, share_of_peak

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("A100-80GB", "A100-80GB"),
        ("a100 80gb", "A100-80GB"),
        ("NVIDIA H100", "H100-80GB"),
        ("rtx 4090", "RTX4090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Tesla V100-16GB", "V100-16GB"),
    ],
)
def test_a_kind_is_named_in_any_case_and_with_any_separators(name: str, kind: str) -> None:
    assert named_kind(name) == kind


def test_a_model_with_several_memories_needs_its_memory_in_the_name() -> None:
    with pytest.raises(BadInputError) as caught:
        named_kind("A100")
    assert set(str(caught.value.context["nearest"]).split(", ")) == {"A100-40GB", "A100-80GB"}


@pytest.mark.parametrize(
    ("name", "gib", "kind"),
    [
        ("NVIDIA A100-SXM4-80GB", 78, "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", 39, "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", 60, "H100-80GB"),
        ("NVIDIA A10", 20, "A10"),
        ("NVIDIA A10G", 20, None),
        ("NVIDIA L40S", 40, "L40S"),
        ("NVIDIA GeForce RTX 4090", 20, "RTX4090"),
        ("AMD Instinct MI250X", 60, "MI250"),
        ("A100-40GB", 80, "A100-40GB"),
        ("", 80, None),
    ],
)
def test_the_name_of_a_driver_is_recognised_with_its_memory(name: str, gib: int, kind: str | None) -> None:
    assert recognised_kind(name, gib * GIB) == kind


def test_every_kind_has_plausible_rates() -> None:
    for kind in GPU_KINDS.values():
        assert kind.half >= kind.tf32 >= kind.float32 > 1e13
        assert 14 * GIB < kind.memory_bytes < 200 * GIB
        assert kind.peak("float32", tf32=True) == kind.tf32
        assert kind.peak("bfloat16") == (kind.half if kind.has_bfloat16 else kind.float32)
        assert kind.rate("float16", 512) == pytest.approx(0.6 * kind.half)


def test_the_share_of_the_peak_grows_with_the_rows() -> None:
    assert [share_of_peak(n_rows) for n_rows in (80, 160, 336, 512, 9_999)] == pytest.approx([0.2, 0.4, 0.5, 0.6, 0.6])
