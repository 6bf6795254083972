"""An object store on loopback that speaks S3 (moto), with a log of its requests and faults on demand."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
"""Credentials, in the environment as a user sets them."""
BUCKET = "bucket"


@dataclass
class ObjectStoreServer:
    """A running server; `requests` holds "METHOD key" of all that came in."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(method, status) of answers to give instead, each once, to the next requests of that method for an object."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def client(self) -> Any:
        """Somebody else's client, to look at what we wrote."""
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Key below a prefix -> bytes; directory markers left out."""
        client = self.client
        names = [key for key in self.keys(prefix) if not key.endswith("/")]
        return {name[len(prefix) :]: client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}

    def clear(self) -> None:
        """Remove everything."""
        client, names = self.client, self.keys()
        for start in range(0, len(names), 1000):
            objects = [{"Key": key} for key in names[start : start + 1000]]
            client.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})

    def put_many(self, keys: Iterable[str], body: bytes) -> None:
        """Put objects there without a request for each."""
        for key in keys:
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, body)

    def answer(
        self, application: Callable[..., Any], environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        """One request: logged, and answered by a fault if one is due."""
        method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(f"/{BUCKET}").lstrip("/")
        self.requests.append(f"{method} {key}".strip() + ("?uploads" if "upload" in environ["QUERY_STRING"] else ""))
        for fault in self.faults:
            if fault[0] == method:
                self.faults.remove(fault)
                start(fault[1], [("Content-Type", "application/xml")])
                return [b""]
        answer: Iterable[bytes] = application(environ, start)
        return answer


@contextmanager
def object_store_server() -> Iterator[ObjectStoreServer]:
    """A server with one empty bucket, on a free port of loopback."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    found = ObjectStoreServer()
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, lambda environ, start: found.answer(application, environ, start), threaded=True
    )
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        client = found.client
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        found.clear()  # what a server of this process was told, the next one knows
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
