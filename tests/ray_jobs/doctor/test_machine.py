"""Findings about machines and clusters."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import GetTimeoutError

from ray_jobs.doctor import machine
from ray_jobs.doctor.findings import Finding, Level, is_healthy, missing, ok, to_json, to_text, warning
from ray_jobs.doctor.machine import (
    TorchBuild,
    address_space_findings,
    cache_finding,
    disk_findings,
    examine_gpus,
    examine_machine,
    extra_findings,
    gpu_findings,
    has_kernels,
    library_findings,
    memory_finding,
    open_files_finding,
)
from ray_jobs.doctor.ray_cluster import examine_ray, local_findings, port_finding, this_versions, version_findings
from ray_jobs.process.gpus import NvidiaDriver, SeenGpu

REQUIREMENTS = ["numpy>=2.2", "duckdb>=1.4", "lm-eval>=0.4; extra == 'harness'", "pytest>=8; extra == 'dev'"]


def found(**versions: str) -> dict[str, Level]:
    """Level of every library that a finding names."""
    installed = {name.replace("_", "-"): version for name, version in versions.items()}
    findings = list(library_findings(REQUIREMENTS, installed.get))
    return {finding.text.split()[0]: finding.level for finding in findings if finding.level is not Level.OK}


def test_libraries_in_their_range_are_counted() -> None:
    (finding,) = library_findings(REQUIREMENTS, {"numpy": "2.3", "duckdb": "1.4.1"}.get)
    assert (finding.level, finding.text.split()[0]) == (Level.OK, "2")


def test_missing_and_old_libraries_are_named_with_the_command() -> None:
    assert found(duckdb="1.3") == {"numpy": Level.MISSING, "duckdb": Level.MISSING}
    finding = next(one for one in library_findings(REQUIREMENTS, {"duckdb": "1.4"}.get) if one.level is Level.MISSING)
    assert finding.help == "pip install 'numpy>=2.2'"


def test_an_old_optional_library_is_a_warning_and_a_missing_one_is_mentioned() -> None:
    assert found(numpy="2.2", duckdb="1.4", lm_eval="0.3") == {"lm-eval": Level.WARNING}
    (finding,) = extra_findings(REQUIREMENTS, {}.get)
    assert (finding.level, "lm-eval" in finding.text, "harness" in finding.text) == (Level.OK, True, True)
    assert list(extra_findings(REQUIREMENTS, {"lm-eval": "1"}.get)) == []


def test_without_metadata_nothing_is_known_about_versions() -> None:
    (finding,) = library_findings([], {}.get)
    assert finding.level is Level.WARNING


@pytest.mark.parametrize(("limit", "level"), [(1024, Level.WARNING), (65536, Level.OK), (-1, Level.OK)])
def test_a_low_limit_of_open_files_is_a_warning(limit: int, level: Level) -> None:
    assert open_files_finding(limit).level is level


@pytest.mark.parametrize(("free", "level"), [(2**30, Level.WARNING), (2**34, Level.OK)])
def test_little_free_memory_is_a_warning(free: int, level: Level) -> None:
    assert memory_finding(free).level is level


def test_disks_with_little_space_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(disk_findings(tmp_path, tmp_path / "no-shared-memory"))) == 1
    monkeypatch.setattr(machine, "LEAST_FREE_BYTES", 2**70)
    monkeypatch.setattr(machine, "LEAST_SHARED_BYTES", 2**70)
    findings = list(disk_findings(tmp_path, tmp_path))
    assert [one.level for one in findings] == [Level.WARNING] * 2
    assert all(one.help for one in findings)


def test_a_folder_of_temporary_files_that_does_not_exist_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nonexistent"))
    found = [one for one in examine_machine() if "nonexistent" in one.text]
    assert [one.level for one in found] == [Level.MISSING]
    assert list(tmp_path.iterdir()) == []


def test_caches_that_cannot_be_written_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_finding().level is Level.OK
    monkeypatch.delenv("XDG_CACHE_HOME")
    (tmp_path / "home").write_bytes(b"")  # also root cannot create a file in a file
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_finding().level is Level.WARNING
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_limit_of_the_address_space_is_a_warning() -> None:
    assert list(address_space_findings(-1)) == []
    (finding,) = address_space_findings(12 * 2**27)
    assert (finding.level, "1.5 GiB" in finding.text) == (Level.WARNING, True)


def test_this_machine_has_what_this_package_requires() -> None:
    findings: list[Finding] = examine_machine()
    assert all(finding.level is not Level.MISSING for finding in findings)


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


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_equal_versions_are_fine_and_others_are_named_with_node_and_command() -> None:
    here = this_versions()
    other = {**here, "torch": "1.0", "python": "3.1"}
    findings = list(version_findings(here, {"a": here, "b": other, "c": "no answer"}))
    assert [one.level for one in findings] == [Level.MISSING] * 3 + [Level.OK]
    assert "node b" in findings[0].text
    assert f"torch=={here['torch']}" in findings[1].help
    assert findings[-1].text.startswith("1 of 3")


def test_the_port_for_jobs_is_a_warning_if_nothing_listens(port: int) -> None:
    assert port_finding("127.0.0.1", port).level is Level.OK
    free = socket.create_server(("127.0.0.1", 0))
    number = free.getsockname()[1]
    free.close()
    assert port_finding("127.0.0.1", number).level is Level.WARNING


def test_a_run_on_this_machine_needs_no_cluster() -> None:
    assert [one.level for one in local_findings({})] == [Level.OK]
    assert [one.level for one in local_findings({"RAY_ADDRESS": "1.2.3.4:6379"})] == [Level.WARNING]
    assert all(one.level is Level.OK for one in examine_ray("none"))


def test_a_cluster_that_does_not_answer_is_missing() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    number = free.getsockname()[1]
    free.close()
    finding = examine_ray(f"127.0.0.1:{number}")[-1]
    assert finding.level is Level.MISSING
    assert "ray start" in finding.help


@pytest.mark.parametrize(("address", "host"), [("auto", "10.0.0.1"), ("ray://head:10001", "head"), ("head:1", "head")])
def test_the_live_nodes_of_a_cluster_and_the_port_of_its_head_are_examined(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str
) -> None:
    def task(function: Callable[[], object]) -> SimpleNamespace:
        def options(
            *, num_cpus: int, num_gpus: int, scheduling_strategy: SimpleNamespace, max_retries: int
        ) -> SimpleNamespace:
            assert (num_cpus, num_gpus, max_retries) == (0, 0, 0)
            return SimpleNamespace(remote=lambda: (scheduling_strategy.node_id, function))

        return SimpleNamespace(options=options)

    def get(reference: tuple[str, Callable[[], object]], *, timeout: float) -> object:
        if reference[0] == "b" * 56:
            raise GetTimeoutError("no answer")
        return reference[1]()

    nodes = [{"NodeID": letter * 56, "NodeManagerHostname": letter, "Alive": letter != "c"} for letter in "abc"]
    asked: list[str] = []
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "remote", task)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr("ray_jobs.workers.cluster.connected", lambda _: nullcontext())
    monkeypatch.setattr("ray_jobs.doctor.ray_cluster.connection_problem", lambda name, *_, **__: asked.append(name))
    findings = examine_ray(address)
    assert [one.level for one in findings] == [Level.OK, Level.MISSING, Level.OK, Level.OK]
    assert "node b" in findings[1].text
    assert findings[2].text.startswith("1 of 2 nodes")
    assert asked == [host]


FINDINGS = [
    ok("machine", "2 CPUs"),
    warning("store", "little space", "mlprune store gc"),
    missing("gpu", "no driver", "install"),
]


def test_a_line_has_level_subject_text_and_below_it_the_help() -> None:
    lines = to_text(FINDINGS).splitlines()
    assert [line.split()[:2] for line in lines[::2]] == [["ok", "machine"], ["->", "mlprune"], ["->", "install"]]
    assert lines[1].split() == ["warning", "store", "little", "space"]


def test_json_has_one_object_per_finding() -> None:
    rows = json.loads(to_json(FINDINGS))
    assert rows[2] == {"subject": "gpu", "level": "missing", "text": "no driver", "help": "install"}
    assert [row["level"] for row in rows] == ["ok", "warning", "missing"]


def test_warnings_are_healthy_and_missing_things_are_not() -> None:
    assert is_healthy(FINDINGS[:2])
    assert not is_healthy(FINDINGS)
