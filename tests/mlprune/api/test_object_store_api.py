"""A store in an object store is read like a folder: results, masks, models, files; nothing is written to it."""

from pathlib import Path

import pytest

import mlprune
from mlprune.api import OpenStore
from tests.object_store import BUCKET, object_store_server


@pytest.mark.slow
def test_an_object_store_is_read_like_a_folder(
    opened: OpenStore, filled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store_server() as server:
        for name, value in {**server.environment, "XDG_CACHE_HOME": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        for path in sorted(filled_folder.rglob("*")):
            if path.is_file() and not path.name.startswith("catalog.duckdb"):
                key = f"runs/{path.relative_to(filled_folder).as_posix()}"
                server.client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        before = server.keys()
        with mlprune.open(f"s3://{BUCKET}/runs") as store:
            assert list(store.variants()) == list(opened.variants())
            assert sorted(map(str, store.metrics())) == sorted(map(str, opened.metrics()))
            assert store.mask("sweep", 0, "fc1").equal(opened.mask("sweep", 0, "fc1"))
            weights = opened.load("sweep").state_dict()
            assert all(weights[name].equal(value) for name, value in store.load("sweep").state_dict().items())
            chosen = {"variant": "sweep", "task": "facts", "language": "fr"}
            assert store.predictions(**chosen).arrow().equals(opened.predictions(**chosen).arrow())
            assert store.refresh() == 0
        assert server.keys() == before
