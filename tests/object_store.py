"""An S3 object store on loopback (moto) that logs its requests and can inject faults."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.served import answering

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
"""Credentials as a user sets them in the environment."""
BUCKET = "bucket"


@dataclass
class ObjectStoreServer:
    """A running server. `requests` lists "METHOD key" of every request."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(method, status): each entry replaces one answer, the next one to a request with that method."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that a process needs to use the server."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def client(self) -> Any:
        """An independent client to inspect what mlprune wrote."""
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Map each key below a prefix to its bytes, without directory markers."""
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
        """Add objects without one request per object."""
        for key in keys:
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, body)

    def answer(
        self, application: Callable[..., Any], environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Log one request and answer it, with a fault if one is scheduled."""
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
    """Run a server with one empty bucket on a free loopback port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store_server = ObjectStoreServer()
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, lambda environ, start: store_server.answer(application, environ, start), threaded=True
    )
    store_server.port = server.server_port
    with answering(server):
        client = store_server.client
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        store_server.clear()  # all servers of one process share their buckets
        yield store_server
