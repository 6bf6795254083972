"""Connection to a store: paths and URIs, and what is not a store."""

import errno
import pickle
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.store.backend.connection import StoreConnection
from mlprune.store.store import Store


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreError) as caught:
        StoreConnection(tmp_path / "file")
    assert caught.value.context["got"] == "a file"


def test_a_relative_path_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    connection = StoreConnection("store")
    monkeypatch.chdir("/")
    assert connection.local_root == pickle.loads(pickle.dumps(connection)).local_root == tmp_path / "store"


def test_only_a_folder_is_local(tmp_path: Path) -> None:
    assert StoreConnection(tmp_path).is_local
    remote = StoreConnection("mock:///bucket")
    assert not remote.is_local
    assert remote.local_root is None


def test_a_store_of_another_user_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    with pytest.raises(StoreError) as caught:
        Store(tmp_path)
    assert caught.value.context["store"] == str(tmp_path)


def test_a_folder_of_another_user_in_a_store_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    store = Store(tmp_path)
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StoreError) as caught:
        store.list("records")
    assert caught.value.context["path"] == str(tmp_path / "records")
