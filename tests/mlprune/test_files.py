"""Files and the network: atomic writes, given files, and the hub."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlprune.hub
from mlprune import network
from mlprune.atomic import LEFT_OVER_AFTER_S, remove_left_over, replacing, write_atomically
from mlprune.errors import HubError
from mlprune.given_files import open_given, read_given, require_inside, require_regular
from mlprune.hub import cache_folder, fetch_into, list_files, require_hub_or_cache, snapshot, snapshot_origin
from mlprune.network import connection_problem
from tests.ended_processes import ended_tag
from tests.hub import Hub, serving, silent_address, use_hub
from tests.refusals import refused


def test_a_file_is_replaced_and_the_folders_above_it_are_created(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.bin"
    for data in (b"old", b"new"):
        write_atomically(target, data)
        assert target.read_bytes() == data
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", target]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("x")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["file"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_error_leaves_the_target_as_it_was_and_nothing_else(tmp_path: Path, *, is_folder: bool) -> None:
    target = tmp_path / "target"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            if is_folder:
                temporary.mkdir()
            (temporary / "file" if is_folder else temporary).write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_only_old_left_overs_of_the_same_target_are_removed(tmp_path: Path) -> None:
    old, young, other = (tmp_path / f"{name}.writing-0123abcd" for name in ("old", "young", "other"))
    then = time.time() - 2 * LEFT_OVER_AFTER_S
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    for path in (old, old / "model.safetensors", other, other / "model.safetensors", young):
        os.utime(path, (then, then))
    for name in ("old", "young"):
        remove_left_over(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == [other, young]


def test_what_an_ended_process_of_this_machine_left_is_removed_at_once(tmp_path: Path) -> None:
    target = tmp_path / "[model]"
    ended = tmp_path / f"[model].writing-{ended_tag()}-0123abcd"
    ended.mkdir()
    with replacing(target) as temporary:
        temporary.write_text("x")
        remove_left_over(target)
        assert [path.name for path in tmp_path.iterdir()] == [temporary.name]


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"12345")
    link.symlink_to(file)
    assert (read_given(file), read_given(link)) == (b"12345", b"12345")
    with open_given(file) as stream:
        assert stream.read(2) == b"12"


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "loop", Path("/dev/zero"), tmp_path / "missing"):
        for call in (read_given, require_regular):
            with pytest.raises(OSError):
                call(path)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate((1 << 20) + 1)
    with pytest.raises(OSError, match="too large"):
        read_given(tmp_path / "large", most_mib=1)
    assert len(read_given(tmp_path / "large", most_mib=2)) == (1 << 20) + 1


def test_a_link_may_lead_to_its_own_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    (inside / "good").symlink_to("file")
    (inside / "bad").symlink_to("../file")
    (inside / "folder").symlink_to(tmp_path)
    for name in ("file", "good", "missing"):
        require_inside(inside / name, inside)
    for name in ("bad", "folder/file", "../file", "../insider"):
        with pytest.raises(PermissionError):
            require_inside(inside / name, inside)


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
    with pytest.raises(HubError, match="HF_ENDPOINT"):
        fetched("fr/*")


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


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(HubError, match=r"[Cc]onnection refused"):
        fetched("fr/*")


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
    with refused(HubError):
        list_files("owner/name", kind="model", revision="main")


def test_an_address_that_accepts_connections_has_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert connection_problem("127.0.0.1", server.getsockname()[1], timeout_s=60) is None


def test_a_refused_connection_is_named() -> None:
    assert "refused" in str(connection_problem("127.0.0.1", 9, timeout_s=60))


def test_an_address_that_answers_nothing_is_given_up_at_the_deadline() -> None:
    started_at = time.monotonic()
    with silent_address() as port:
        assert connection_problem("127.0.0.1", port, timeout_s=0.3) == "no answer within 0.3 s"
    assert time.monotonic() - started_at < 60


def test_the_deadline_includes_the_resolution_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def resolve_slowly(*_: object, **__: object) -> socket.socket:
        is_over.wait(300)
        return socket.socket()

    monkeypatch.setattr(network.socket, "create_connection", resolve_slowly)
    started_at = time.monotonic()
    assert connection_problem("some.name", 80, timeout_s=0.1) == "no answer within 0.1 s"
    assert time.monotonic() - started_at < 300
    is_over.set()
