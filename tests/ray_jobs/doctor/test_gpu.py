"""GPUs: no driver, a build of torch that does not fit, hidden and busy GPUs, and GPUs without kernels or bfloat16."""

import pytest

from ray_jobs.doctor.findings import Level
from ray_jobs.doctor.gpu import TorchBuild, examine_gpus, gpu_findings, has_kernels
from ray_jobs.process.nvidia_driver import NvidiaDriver, SeenGpu

GIB = 2**30
H100 = SeenGpu("H100", 80 * GIB, 79 * GIB, (9, 0))
T4 = SeenGpu("T4", 15 * GIB, 14 * GIB, (7, 5))
BUILD = TorchBuild("2.10", "12.8", ("sm_80", "sm_90"), 1)


def driver(*gpus: SeenGpu, cuda: tuple[int, int] = (12, 8)) -> NvidiaDriver:
    return NvidiaDriver("570.1", cuda, gpus)


def levels(found: NvidiaDriver | None, build: TorchBuild = BUILD, visible: str | None = None) -> list[Level]:
    return [finding.level for finding in gpu_findings(found, build, visible=visible)]


def test_a_machine_without_gpus_is_fine() -> None:
    assert levels(None) == [Level.OK]
    assert levels(driver()) == [Level.OK]


def test_a_usable_gpu_is_fine() -> None:
    assert levels(driver(H100)) == [Level.OK, Level.OK]


@pytest.mark.parametrize(
    ("build", "visible", "text"),
    [
        (TorchBuild("2.10", None, (), 0), None, "built for CPUs"),
        (TorchBuild("2.10", "13.0", ("sm_90",), 0), None, "too old"),
        (TorchBuild("2.10", "12.8", ("sm_90",), 0), "", "hides"),
        (TorchBuild("2.10", "12.8", ("sm_90",), 0), None, "sees no GPU"),
    ],
)
def test_gpus_that_torch_cannot_use_are_missing(build: TorchBuild, visible: str | None, text: str) -> None:
    finding = next(iter(gpu_findings(driver(H100), build, visible=visible)))
    assert finding.level is Level.MISSING
    assert text in finding.text
    assert finding.help


def test_a_gpu_that_another_process_uses_is_a_warning() -> None:
    busy = SeenGpu("H100", 80 * GIB, 10 * GIB, (9, 0))
    assert levels(driver(busy)) == [Level.OK, Level.WARNING]


def test_an_old_gpu_has_no_kernels_and_no_bfloat16() -> None:
    assert levels(driver(T4)) == [Level.OK, Level.MISSING, Level.WARNING]
    with_kernels = TorchBuild("2.10", "12.8", ("sm_75", "sm_90"), 1)
    assert levels(driver(T4), with_kernels) == [Level.OK, Level.OK, Level.WARNING]


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ((8, 9), ["sm_80"], True),
        ((8, 0), ["sm_89"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90", "sm_100"], True),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((7, 5), ["sm_80", "compute_80"], False),
    ],
)
def test_kernels_run_within_a_major_version_and_compiled_code_on_newer_gpus(
    capability: tuple[int, int], architectures: list[str], *, expected: bool
) -> None:
    assert has_kernels(capability, architectures) == expected


def test_this_machine_is_examined() -> None:
    assert examine_gpus()
