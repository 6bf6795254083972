"""The catalog of an object store: cached on a machine, and shared through the store."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.store import Catalog, rebuild
from catalog.store.database_file import cache_folder
from mlprune.store.records import Record, identity
from mlprune.store.store import Store
from tests.object_store import BUCKET, ObjectStoreServer, object_store_server

COUNT = "SELECT count(*) AS n FROM records"


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStoreServer]:
    with object_store_server() as server:
        yield server


@pytest.fixture
def server(running: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStoreServer:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    running.clear()
    return running


@pytest.fixture
def store(server: ObjectStoreServer) -> Store:
    store = Store(f"s3://{BUCKET}/a/store")
    for number in range(3):
        add(store, number)
    server.requests.clear()
    return store


def add(store: Store, number: int) -> None:
    parameters = {"number": number}
    record_id = identity("recipes", step_version=1, parameters=parameters)
    row = {"recipe": "r", "kind": "recipe", "name": f"{number}", "id": record_id}
    store.write_record(Record("recipes", record_id, 1, parameters, rows={"names": [row]}))


def published(store: Store) -> None:
    with Catalog.open(store) as catalog:
        assert catalog.publish()


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use an empty cache, as another machine would."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))


def records_read(server: ObjectStoreServer) -> int:
    return sum(one.startswith("GET a/store/records/") for one in server.requests)


def count(store: Store) -> int:
    with Catalog.open(store) as catalog:
        catalog.fold()
        return int(catalog.query(COUNT)[0]["n"])


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_machine_without_a_catalog_downloads_it_and_reads_only_newer_records(
    store: Store, server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published(store)
    elsewhere(monkeypatch, tmp_path)
    add(store, 3)
    server.requests.clear()
    assert count(store) == 4
    assert records_read(server) == 1


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_uploaded_catalog_is_one_file_that_is_replaced_at_once(store: Store, server: ObjectStoreServer) -> None:
    published(store)
    assert [key for key in server.keys("a/store/") if "catalog" in key] == ["a/store/catalog.duckdb"]
    server.requests.clear()
    published(store)
    assert not any(one.startswith("PUT") for one in server.requests), "nothing is new"
    add(store, 3)
    published(store)
    assert sum(one.startswith("PUT a/store/catalog") for one in server.requests) == 1


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_outdated_cache_is_replaced_and_a_slightly_outdated_one_is_updated(
    store: Store, server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert count(store) == 3
    with monkeypatch.context() as patch:
        elsewhere(patch, tmp_path)
        for number in range(3, 6):
            add(store, number)
        published(store)
    server.requests.clear()
    monkeypatch.setattr("catalog.store.catalog.DOWNLOAD_THRESHOLD", 2)
    assert count(store) == 6
    assert records_read(server) == 0
    add(store, 6)
    server.requests.clear()
    assert count(store) == 7
    assert records_read(server) == 1
    assert "GET a/store/catalog.duckdb" not in server.requests


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("content", [b"", b"no database", b"\0" * 20_000])
def test_an_uploaded_file_that_is_not_a_catalog_does_no_harm(
    store: Store, server: ObjectStoreServer, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.write_bytes("catalog.duckdb", content)
    assert count(store) == 3


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_uploaded_catalog_of_another_store_is_emptied_and_filled(store: Store, server: ObjectStoreServer) -> None:
    other = Store(f"s3://{BUCKET}/another/store")
    add(other, 77)
    published(other)
    server.client.copy_object(
        Bucket=BUCKET, Key="a/store/catalog.duckdb", CopySource=f"{BUCKET}/another/store/catalog.duckdb"
    )
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        catalog.fold()
        assert catalog.fingerprints() == fresh.fingerprints()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_store_without_permission_to_upload_is_answered(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(*_: object) -> None:
        raise OSError("access denied")

    monkeypatch.setattr(Store, "upload", refusing)
    with caplog.at_level(logging.WARNING), Catalog.open(store) as catalog:
        assert not catalog.publish()
        assert catalog.query(COUNT) == [{"n": 3}]
    assert "cannot be uploaded" in caplog.text


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_interrupted_download_leaves_the_cache_unchanged(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published(store)
    elsewhere(monkeypatch, tmp_path)

    def breaking(_: Store, __: str, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("connection lost")

    monkeypatch.setattr(Store, "download", breaking)
    assert count(store) == 3
    assert sorted(path.name for path in cache_folder(store).iterdir()) == ["catalog.duckdb"]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_rebuild_builds_the_catalog_again_and_uploads_it(store: Store, server: ObjectStoreServer) -> None:
    published(store)
    add(store, 3)
    assert rebuild(store).n_records == 4
    server.requests.clear()
    assert count(store) == 4
    assert records_read(server) == 0


def test_two_object_stores_of_one_uri_have_two_caches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = cache_folder(store)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert cache_folder(store) != ours
