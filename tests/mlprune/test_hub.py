"""Fetching from a hub: the client library against a server on loopback."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlprune.hub
from mlprune.errors import HubError
from mlprune.hub import cache_folder, fetch_into, list_files, require_hub_or_cache, snapshot, snapshot_origin
from tests.hub import Hub, serving, use_hub

FILES = {"README.md": b"# words", "load.py": b"raise SystemExit", "fr/test-0.parquet": b"french", "en/dev.jsonl": b"{}"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as one:
        use_hub(monkeypatch, one.url, tmp_path / "cache")
        one.push("some/set", FILES)
        yield one


def fetched(*files: str, revision: str = "main", name: str = "some/set") -> Path:
    return snapshot(name, kind="dataset", revision=revision, files=files)


def test_the_folder_is_named_for_the_commit_and_holds_what_the_patterns_name(hub: Hub) -> None:
    folder = fetched("fr/*.parquet")
    assert folder.name == hub.references["some/set", "main"]
    assert [path.read_bytes() for path in folder.rglob("*") if path.is_file()] == [b"french"]
    assert hub.fetched() == ["fr/test-0.parquet"]


def test_what_is_in_the_cache_is_not_fetched_again_nor_does_a_commit_need_the_hub(hub: Hub) -> None:
    folder = fetched("fr/*")
    n_asked = len(hub.requests)
    assert fetched("fr/*", revision=folder.name) == folder
    assert len(hub.requests) == n_asked
    fetched("fr/*", "en/*", revision=folder.name)
    assert hub.fetched() == ["fr/test-0.parquet", "en/dev.jsonl"]


def test_a_branch_that_moved_is_another_commit(hub: Hub) -> None:
    before = fetched("en/*")
    hub.push("some/set", {**FILES, "en/dev.jsonl": b"[]"})
    after = fetched("en/*")
    assert before != after
    assert ((before / "en/dev.jsonl").read_bytes(), (after / "en/dev.jsonl").read_bytes()) == (b"{}", b"[]")


def test_a_reference_with_slashes_is_one(hub: Hub) -> None:
    commit = hub.push("some/set", {"fr/test/0000.parquet": b"converted"}, revision="refs/convert/parquet")
    folder = fetched("fr/test/*", revision="refs/convert/parquet")
    assert folder.name == commit
    assert (folder / "fr/test/0000.parquet").read_bytes() == b"converted"


def test_without_a_hub_the_cache_serves_what_it_holds(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = fetched("fr/*")
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    assert fetched("fr/*") == folder
    with pytest.raises(HubError, match="could not be fetched"):
        fetched("en/*")


@pytest.mark.parametrize("endpoint", ["", "nonsense", "ftp://hub", "http://hub:port"])
def test_a_wrong_address_of_the_hub_is_one_line(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, endpoint, tmp_path)
    with pytest.raises(HubError, match="HF_ENDPOINT") as caught:
        fetched("fr/*")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "revision", "reason"),
    [
        ("some/set", "no-such-branch", "no such revision"),
        ("no/such-set", "main", "no such repository"),
        ("not a name", "main", "not a name"),
    ],
)
def test_what_the_hub_has_not_is_one_line_that_names_it(hub: Hub, name: str, revision: str, reason: str) -> None:
    with pytest.raises(HubError, match=f"could not be fetched from the hub.*{reason}") as caught:
        fetched("fr/*", name=name, revision=revision)
    assert (caught.value.context["name"], caught.value.context["revision"]) == (name, revision)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(HubError, match=r"[Cc]onnection refused") as caught:
        fetched("fr/*")
    assert "\n" not in str(caught.value)


def test_a_repository_is_required_on_the_hub_or_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(HubError, match="cannot be reached, and is not in the cache"):
        require_hub_or_cache("some/model", kind="model", revision="main")
    (cache_folder() / "models--some--model").mkdir(parents=True)
    require_hub_or_cache("some/model", kind="model", revision="main")


def test_the_model_and_commit_of_a_snapshot_are_known_from_its_folder(hub: Hub, tmp_path: Path) -> None:
    commit = hub.push("some/model", {"config.json": b"{}"})
    folder = snapshot("some/model", kind="model", revision="main", files=["*"])
    assert snapshot_origin(folder) == ("some/model", commit)
    assert snapshot_origin(fetched("fr/*")) is None, "a data set"
    assert snapshot_origin(tmp_path) is None


def test_files_are_downloaded_to_a_snapshot_in_another_cache(hub: Hub, tmp_path: Path) -> None:
    commit = hub.push("some/model", {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b""})
    folder = tmp_path / "other" / "models--some--model" / "snapshots" / commit
    fetch_into(folder, ["config.json", "model.safetensors"])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    with pytest.raises(HubError, match="not a snapshot"):
        fetch_into(tmp_path, ["config.json"])


@pytest.mark.parametrize(
    ("path", "size"),
    [("../../x", 1), ("a/../../x", 1), ("/etc/x", 1), ("a//x", 1), ("a\\..\\x", 1), ("x", "many"), ("x", -1)],
)
def test_a_listing_with_a_path_or_a_size_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, path: str, size: object
) -> None:
    info = SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename=path, size=size)])
    monkeypatch.setattr(mlprune.hub.huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    monkeypatch.setattr(mlprune.hub, "hub_problem", lambda: None)
    with pytest.raises(HubError) as caught:
        list_files("owner/name", kind="model", revision="main")
    assert "\n" not in str(caught.value)
