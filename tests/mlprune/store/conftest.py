"""Stores that the tests of the store share: in a folder and in an object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlprune.store.store import Store
from tests.object_store import BUCKET, ObjectStoreServer, object_store_server


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStoreServer]:
    with object_store_server() as server:
        yield server


@pytest.fixture
def server(running: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreServer:
    """The server without objects, and an environment that points to it."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    running.faults.clear()
    running.clear()
    return running


@pytest.fixture
def remote(server: ObjectStoreServer) -> Store:
    return Store(f"s3://{BUCKET}/a/store")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest) -> Store:
    opened: Store = request.getfixturevalue(request.param)
    return opened
