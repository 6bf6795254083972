"""Checkpoints of a hub: which files are downloaded, from one commit, and what happens without a hub."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mlprune.capabilities.importing import hub_source
from mlprune.capabilities.importing.hub_source import fetch_source, find_source, imported_before
from mlprune.errors import HubError, ModelError
from mlprune.models.import_record import ImportRecord, Origin
from mlprune.vocabulary import DtypeName
from tests.hub import Files, Hub, serving, silent_address, use_hub
from tests.refusals import refused

CONFIG: Files = {name: name.encode() for name in ("config.json", "generation_config.json", "vocab.json", "merges.txt")}
EXTRAS: Files = {"README.md": b"#", "LICENSE": b"MIT", "flax_model.msgpack": b"flax", "tf_model.h5": b"tf"}
EXTRAS |= {"onnx/model.onnx": b"onnx", "modeling.py": b"raise SystemExit", "consolidated.safetensors": b"again"}
PICKLED: Files = {"pytorch_model.bin": b"pickled"}
SHARDS: Files = {
    "pytorch_model.bin.index.json": b'{"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}',
    "pytorch_model-00001-of-00001.bin": b"shard",
}
SAFETENSORS: Files = {"model.safetensors": b"safe"}
SMALL = ["LICENSE", "README.md", *CONFIG]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as one:
        use_hub(monkeypatch, one.url, tmp_path / "cache")
        yield one


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (PICKLED, ["pytorch_model.bin"]),
        (SHARDS, list(SHARDS)),
        ({**PICKLED, **SHARDS}, list(SHARDS)),
        ({**PICKLED, **SAFETENSORS}, ["model.safetensors"]),
    ],
)
def test_only_the_needed_files_of_one_format_are_downloaded(hub: Hub, weights: Files, expected: list[str]) -> None:
    commit = hub.push("some/model", {**CONFIG, **EXTRAS, **weights})
    lines: list[str] = []
    folder, origin = fetch_source("some/model", "main", report=lines.append)
    assert sorted(hub.fetched()) == sorted([*SMALL, *expected])
    assert (origin.hub_id, origin.revision, origin.commit) == ("some/model", "main", commit)
    assert all((folder / name).is_file() for name in expected)
    assert f"{len(SMALL) + len(expected)} files" in lines[0]


def test_a_second_fetch_downloads_nothing_and_needs_no_hub(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.push("some/model", {**CONFIG, **PICKLED})
    first = fetch_source("some/model", "main")
    n_fetched = len(hub.fetched())
    assert fetch_source("some/model", "main") == first
    assert len(hub.fetched()) == n_fetched
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    lines: list[str] = []
    assert fetch_source("some/model", "main", report=lines.append) == first
    assert "the download in the cache is used" in lines[0]


def test_without_a_hub_a_download_that_lacks_a_shard_is_not_used(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    folder = tmp_path / "commit"
    folder.mkdir()
    (folder / "pytorch_model.bin.index.json").write_bytes(SHARDS["pytorch_model.bin.index.json"])
    monkeypatch.setattr(hub_source, "snapshot", lambda *_, **__: folder)
    with pytest.raises(HubError):
        fetch_source("some/model", "main")


def test_an_import_of_the_same_commit_and_dtype_is_found_without_a_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = hub.push("some/model", {**CONFIG, **PICKLED})
    origin = Origin("some/model", "main", commit)
    ImportRecord("0", "0", "pytorch", "some/model", origin, None, {}, (), {}, {}).write(tmp_path)

    def is_imported(name: str = "some/model", revision: str = "main", dtype: DtypeName | None = None) -> bool:
        return imported_before(name, revision, tmp_path, dtype=dtype) is not None

    assert is_imported()
    assert is_imported(revision=commit)
    assert not is_imported(name="other/model")
    assert not is_imported(dtype="float16")
    hub.push("some/model", {**CONFIG, **SAFETENSORS})
    assert not is_imported()
    assert hub.fetched() == []
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    assert is_imported()
    assert not is_imported(revision="v2")


def test_all_files_are_of_the_commit_that_the_revision_has_first(hub: Hub) -> None:
    hub.push("some/model", {**CONFIG, **PICKLED})
    converted = hub.push("some/model", {**CONFIG, **SAFETENSORS}, revision="refs/pr/4")
    source = find_source("some/model", "refs/pr/4")
    hub.push("some/model", CONFIG, revision="refs/pr/4")
    assert (source.origin.commit, source.weights) == (converted, ("model.safetensors",))
    assert source.written_bytes == 0


def test_a_repository_without_weights_lists_what_it_has(hub: Hub) -> None:
    hub.push("some/model", {**CONFIG, "tf_model.h5": b"tf"})
    with refused(ModelError, got=sorted([*CONFIG, "tf_model.h5"])):
        fetch_source("some/model", "main")
    assert "tf_model.h5" not in hub.fetched()


def test_an_index_that_names_missing_files_is_an_error(hub: Hub) -> None:
    hub.push("some/model", {**CONFIG, "pytorch_model.bin.index.json": SHARDS["pytorch_model.bin.index.json"]})
    with refused(ModelError, missing=["pytorch_model-00001-of-00001.bin"]):
        fetch_source("some/model", "main")


def test_a_full_disk_is_found_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Usage(NamedTuple):
        free: int

    hub.push("some/model", {**CONFIG, **PICKLED})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(free=2**20))
    with pytest.raises(ModelError):
        fetch_source("some/model", "main", out=tmp_path / "out")
    assert hub.fetched() == []


def unreachable_is_one_line(address: str) -> None:
    started_at = time.monotonic()
    with pytest.raises(HubError) as caught:
        fetch_source("some/model", "main")
    assert time.monotonic() - started_at < 60
    assert "\n" not in str(caught.value)
    assert address in caught.value.context["reason"]


def test_a_hub_that_refuses_connections_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    unreachable_is_one_line("127.0.0.1:9")


def test_a_hub_whose_address_answers_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mlprune.hub.CONNECT_TIMEOUT_S", 0.2)
    with silent_address() as port:
        use_hub(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "cache")
        unreachable_is_one_line(f"127.0.0.1:{port}")
