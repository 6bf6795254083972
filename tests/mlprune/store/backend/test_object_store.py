"""A store on an S3 server: the same bytes as in a folder, order of writes, faults and error messages."""

import logging
import socket

import pytest

from mlprune.errors import DamagedArtefactError, StoreError, TransientError
from mlprune.store.backend import object_store
from mlprune.store.backend.object_store import open_object_store, with_retries
from mlprune.store.compaction import compact
from mlprune.store.records import Artefact, Record, record_path
from mlprune.store.store import Store
from tests.object_store import BUCKET, ObjectStoreServer
from tests.records import made_up_record

STORE = f"s3://{BUCKET}/some/store"
COLUMNS, SCHEMA = {"name": ["a", "b"], "n": [1, 2]}, {"name": "string", "n": "int64"}


@pytest.fixture
def store(server: ObjectStoreServer) -> Store:
    opened = Store(STORE)
    server.requests.clear()
    return opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "OPENING_TIMEOUT_S", 0.0)


def record(*artefacts: Artefact, sparsity: float = 0.5) -> Record:
    return made_up_record("masks", {"sparsity": sparsity}, artefacts=artefacts)


ID = record().id
OTHER = record(sparsity=0.7)


@pytest.mark.thorough("talks to a server of objects")
def test_a_run_succeeds_leaves_no_claims_and_is_recognised_by_listing_artefacts_and_damage_by_size(
    small_run, server: ObjectStoreServer
) -> None:
    from mlprune.planning import pending_jobs  # noqa: PLC0415
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415
    from tests.tiny_recipes import results  # noqa: PLC0415

    assert run_recipe(small_run.recipe_path, STORE, address="none").exit_code == 0
    found = server.contents("some/store/")
    made = {name: data for name, data in found.items() if not name.startswith(("runs/", "catalog.duckdb"))}
    assert made == results(small_run.store)
    assert run_recipe(small_run.recipe_path, STORE, address="none").did_nothing
    opened = Store(STORE)
    server.requests.clear()
    assert pending_jobs(small_run.plan.jobs, opened) == []
    asked = [one.partition(" ")[2] for one in server.requests]
    assert not any(one.startswith(("some/store/masks", "some/store/predictions")) for one in asked)
    compact(opened)
    fresh = Store(STORE)
    server.requests.clear()
    assert pending_jobs(small_run.plan.jobs, fresh) == []
    assert len(server.requests) < len(asked), "a segment a kind instead of a record each"
    (gone,) = [one for one in fresh.list("masks") if "block-001" in one][:1]
    fresh.delete(gone)
    assert {job.step for job in pending_jobs(small_run.plan.jobs, Store(STORE))} == {"sweep"}


def test_a_record_is_one_put_after_its_artefacts(store: Store, server: ObjectStoreServer) -> None:
    written = record(
        store.write_table("masks/a.parquet", COLUMNS, SCHEMA), store.write_bytes("masks/b.bin", b"b" * 2**20)
    )
    store.write_record(written)
    puts = [f"PUT some/store/{path}" for path in ("masks/a.parquet", "masks/b.bin", record_path("masks", ID))]
    assert server.requests == puts
    assert Store(STORE).require("masks", ID) == written
    assert store.is_complete(written)
    assert store.is_intact(written)


def test_a_large_artefact_is_written_in_parts_and_read_in_one_request(store: Store, server: ObjectStoreServer) -> None:
    data = bytes(range(256)) * (11 * 2**20 // 256)
    artefact = store.write_bytes("large.bin", data)
    assert any("uploads" in request for request in server.requests)
    server.requests.clear()
    assert store.read_bytes(artefact) == data
    assert server.requests == ["HEAD some/store/large.bin", "GET some/store/large.bin"]


def test_an_interrupted_upload_leaves_no_visible_file(
    store: Store, server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "RETRY_TIMEOUT_S", 0.0)
    server.faults += [("PUT", "403 Forbidden")] * 2
    with pytest.raises(StoreError):
        store.write_bytes("large.bin", bytes(11 * 2**20))
    assert store.list("") == []


@pytest.mark.thorough("talks to a server of objects")
def test_a_listing_of_several_pages_is_complete(store: Store, server: ObjectStoreServer) -> None:
    n = 1100
    server.put_many((f"some/store/records/masks/{number:04d}.json" for number in range(n)), b"{}")
    server.put_many(["some/storehouse/records/masks/x.json"], b"{}")
    assert store.record_names() == [("masks", f"{number:04d}") for number in range(n)]
    assert store.list("records/masks")[-1] == "records/masks/1099.json"
    assert store.record_names("variants") == []


@pytest.mark.thorough("talks to a server of objects")
def test_directory_markers_are_not_files(store: Store, server: ObjectStoreServer) -> None:
    store.write_record(record())
    for marker in ("some/", "some/store/", "some/store/records/", "some/store/records/masks/", "some/store/masks/"):
        server.client.put_object(Bucket=BUCKET, Key=marker, Body=b"")
    assert store.list("") == [record_path("masks", ID)]
    assert store.record_names() == [("masks", ID)]
    assert Store(STORE).read_record("masks", ID) == record()


def test_a_store_may_be_the_whole_bucket(server: ObjectStoreServer) -> None:
    for uri in (f"s3://{BUCKET}", f"s3://{BUCKET}/"):
        whole = Store(uri)
        whole.write_record(record())
        assert whole.record_names() == [("masks", ID)]
        assert whole.list("") == [record_path("masks", ID)]


def test_damage_goes_to_quarantine_and_its_bytes_are_kept(
    server: ObjectStoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(STORE, quarantine=True)
    store.write_bytes(record_path("masks", ID), b"{")
    store.write_record(OTHER)
    with caplog.at_level(logging.WARNING):
        assert store.read_record("masks", ID) is None
    store.quarantine(OTHER)
    store.quarantine(OTHER)  # as if another process had been faster
    assert store.record_names() == []
    moved = server.contents("some/store/")
    found = sorted(name.rpartition(".")[0] for name in moved)
    assert found == [*sorted(f"quarantine/records-masks-{one}.json" for one in (ID, OTHER.id))]
    assert b"{" in moved.values()


def test_readers_detect_damaged_and_missing_artefacts(store: Store, server: ObjectStoreServer) -> None:
    artefact = store.write_bytes("masks/a.bin", b"abc")
    server.client.put_object(Bucket=BUCKET, Key="some/store/masks/a.bin", Body=b"abd")
    with pytest.raises(DamagedArtefactError, match="damaged"):
        store.read_bytes(artefact)
    assert store.is_complete(record(artefact))
    assert not store.is_intact(record(artefact))
    store.delete("masks/a.bin")
    store.delete("masks/a.bin")
    assert not store.is_complete(record(artefact))
    with pytest.raises(DamagedArtefactError, match="missing"):
        store.read_bytes(artefact)
    assert store.read_file("masks/a.bin") is None


def test_the_endpoint_may_be_part_of_the_uri(server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(STORE).write_record(record())
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    by_uri = Store(f"{STORE}?endpoint_override=127.0.0.1:{server.port}&scheme=http&region=us-east-1")
    assert by_uri.record_names() == [("masks", ID)]


@pytest.mark.usefixtures("server")
def test_a_missing_bucket_is_an_error_in_one_line() -> None:
    with pytest.raises(StoreError, match="the bucket does not exist") as caught:
        Store("s3://nowhere/store")
    text = str(caught.value)
    assert "store='s3://nowhere/store'" in text
    assert "create it" in text


def test_a_bucket_deleted_meanwhile_is_an_error_in_one_line(server: ObjectStoreServer) -> None:
    server.client.create_bucket(Bucket="brief")
    opened = Store("s3://brief/store")
    server.client.delete_bucket(Bucket="brief")
    with pytest.raises(StoreError, match="the bucket does not exist") as caught:
        opened.write_record(record())
    assert "create it" in str(caught.value)


def test_wrong_credentials_are_an_error_in_one_line(server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import moto.core  # noqa: PLC0415 - checks signatures from now on
    import moto.settings  # noqa: PLC0415

    opened = Store(STORE)
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    moto.core.set_initial_no_auth_action_count(0)
    try:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        for fails in (lambda: Store(STORE), lambda: opened.write_record(record()), lambda: opened.list("")):
            with pytest.raises(StoreError, match="the object store refuses the request") as caught:
                fails()
            text = str(caught.value)
            assert f"store='{STORE}'" in text
            assert "AWS_ACCESS_KEY_ID" in text
            assert "wrong" not in text
    finally:
        moto.core.set_initial_no_auth_action_count(float("inf"))


@pytest.mark.usefixtures("server", "impatient")
def test_an_endpoint_that_does_not_answer_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StoreError, match="the object store does not answer") as caught:
        Store(STORE)
    text = str(caught.value)
    assert f"store='{STORE}'" in text
    assert "check AWS_ENDPOINT_URL" in text


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://key:secret@bucket/store", "must not contain credentials"),
        ("s3://", "names no bucket"),
        ("s3:///store", "names no bucket"),
        ("s3://bucket/store?colour=red", "cannot be used"),
        ("nowhere://bucket/store", "cannot be used"),
    ],
)
@pytest.mark.usefixtures("server")
def test_an_unusable_uri_is_an_error_in_one_line(uri: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        open_object_store(uri)
    assert "secret" not in str(caught.value)


def test_requests_to_a_busy_server_are_retried(
    store: Store, server: ObjectStoreServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some errors are retried by pyarrow, the others by this project; no caller sees either."""
    for status in ("503 Slow Down", "500 Internal Server Error"):
        server.faults += [(method, status) for method in ("PUT", "GET", "HEAD")]
        artefact = store.write_bytes("masks/a.bin", status.encode())
        assert store.read_bytes(artefact) == status.encode()
        assert store.list("") == ["masks/a.bin"]
        assert server.faults == []


def test_transient_errors_are_retried_for_a_limited_time(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def unwell() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7")
        return "done"

    with caplog.at_level(logging.WARNING):
        assert with_retries(unwell, store=STORE) == "done"
    assert len(tries) == 3
    assert caplog.text.count("retrying") == 2


@pytest.mark.parametrize(
    "reason",
    [
        "AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7, Could not connect to server",
        "AWS Error SLOW_DOWN during PutObject operation: slow",
        "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body.",
        "AWS Error UNKNOWN (HTTP status 429) during HeadObject operation: No response body.",
        "AWS Error INTERNAL_FAILURE during ListObjectsV2 operation",
    ],
)
def test_an_error_that_outlasts_the_retries_is_transient(reason: str) -> None:
    def unwell() -> None:
        raise OSError(reason)

    with pytest.raises(TransientError, match="does not answer") as caught:
        with_retries(unwell, store=STORE, timeout_s=0)
    assert reason.partition(":")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("AWS Error ACCESS_DENIED during PutObject operation: no", "refuses the request"),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during PutObject operation: no", "refuses the request"),
        (
            "AWS Error UNKNOWN (HTTP status 400) during PutObject operation: ExceptionName: ExpiredToken",
            "refuses the request",
        ),
        ("AWS Error NO_SUCH_BUCKET during PutObject operation: none", "does not exist"),
        ("AWS Error UNKNOWN (HTTP status 301) during HeadObject operation", "reports an error"),
    ],
)
def test_permanent_errors_are_not_retried(reason: str, message: str) -> None:
    tries: list[int] = []

    def refused() -> None:
        tries.append(1)
        raise OSError(reason)

    with pytest.raises(StoreError, match=message):
        with_retries(refused, store=STORE)
    assert len(tries) == 1


def test_a_missing_file_is_not_retried() -> None:
    def missing() -> None:
        raise FileNotFoundError("none")

    with pytest.raises(FileNotFoundError):
        with_retries(missing, store=STORE)


def test_a_network_fault_is_never_taken_for_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written = record(store.write_bytes("masks/a.bin", b"abc"))
    store.write_record(written)

    def unwell(path: str) -> bytes:
        raise TransientError("the object store does not answer")

    monkeypatch.setattr(store, "_get", unwell)
    monkeypatch.setattr("mlprune.store.backend.object_store.with_retries", lambda action, *, store: action())
    for fails in (lambda: store.is_intact(written), lambda: store.read_record("masks", ID)):
        with pytest.raises(TransientError):
            fails()
    monkeypatch.undo()


@pytest.mark.thorough("talks to a server of objects")
def test_a_second_writer_of_the_same_bytes_does_not_disturb_readers(store: Store) -> None:
    import threading  # noqa: PLC0415

    written = record(store.write_bytes("masks/a.bin", b"abc" * 1000))
    store.write_record(written)
    stop = threading.Event()

    def write_again() -> None:
        other = Store(STORE)
        while not stop.is_set():
            other.write_bytes("masks/a.bin", b"abc" * 1000)
            other.write_record(written)

    writer = threading.Thread(target=write_again)
    writer.start()
    try:
        for _ in range(25):
            assert store.require("masks", ID) == written
            assert store.is_intact(written)
    finally:
        stop.set()
        writer.join()


def test_a_store_that_stops_answering_ends_a_run_with_the_next_step(
    small_run, server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray_jobs.driver import run_recipe  # noqa: PLC0415

    def gone(*_: object, **__: object) -> None:
        raise TransientError("the object store does not answer", store=STORE, next="check AWS_ENDPOINT_URL")

    monkeypatch.setattr(run_recipe, "_run_rounds", gone)
    with pytest.raises(StoreError) as caught:
        run_recipe.run_recipe(small_run.recipe_path, STORE, address="none")
    assert f"store='{STORE}'" in str(caught.value)
