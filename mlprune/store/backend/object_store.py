"""Connection to an object store: URI, retries and error messages.

pyarrow defines which URIs are valid and where credentials come from. This module adds the defaults that the store
relies on (a small file is one PUT), retries transient errors, and turns an error of the object store into one line that
names the next step.
"""

import logging
import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.fs as pafs
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from mlprune.errors import MlpruneError, StoreError, TransientError

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_TIMEOUT_S = 30.0
"""How long a request is retried during a run, in addition to pyarrow's own retries of about 6 s."""
OPENING_TIMEOUT_S = 3.0
"""The same while a store is opened. It is short because the address may be mistyped."""

_AWS_ERROR = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")
_REFUSED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE|CLIENT_TOKEN|AUTHENTICATION_TOKEN|UNRECOGNIZED_CLIENT|AUTHORIZATION"
    r"|ExpiredToken|InvalidToken|HTTP status 40[13]"
)
_MAY_PASS = re.compile(r"NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT")


def open_object_store(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a URI and the path of the store in it, after a check that the bucket exists.

    Raises:
        StoreError: the URI is invalid, the bucket does not exist, the credentials are refused, or the server does not
            answer.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        return _connected(uri, ())
    if "@" in parts.netloc:
        raise StoreError(
            "the store's URI must not contain credentials, since it is logged",
            store=f"s3://{parts.hostname}{parts.path}",
            next="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if not parts.netloc:
        raise StoreError("the store's URI names no bucket", store=uri, expected="s3://bucket/prefix")
    return _connected(uri, tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=16)
def _connected(uri: str, environment: tuple[tuple[str, str], ...]) -> tuple[pafs.FileSystem, str]:
    """Connect to a store; stores with the same URI share a connection. Only a successful connection is cached."""
    try:
        files, root = pafs.FileSystem.from_uri(_with_defaults(uri, dict(environment)))
    except (OSError, pa.ArrowException) as err:
        raise StoreError("the store's URI cannot be used", store=uri, reason=str(err)) from err
    if isinstance(files, pafs.S3FileSystem):
        _require_bucket(files, root.partition("/")[0], uri)
    return files, root


def _with_defaults(uri: str, environment: dict[str, str]) -> str:
    """Add defaults to a URI: a small file is written by one request, and the region is not looked up."""
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        return uri
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    defaults = {"allow_delayed_open": "true"} | ({"region": region} if region else {})
    query = defaults | dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(parts._replace(query=urlencode(query)))


def _require_bucket(files: pafs.FileSystem, bucket: str, uri: str) -> None:
    try:
        info = with_retries(lambda: files.get_file_info(bucket), store=uri, timeout_s=OPENING_TIMEOUT_S)
    except TransientError as err:
        raise StoreError(err.message, err.context) from err
    if info.type == pafs.FileType.NotFound:
        raise _no_bucket(uri, bucket)


def with_retries(action: Callable[[], T], *, store: str, timeout_s: float = RETRY_TIMEOUT_S) -> T:
    """Return the result of a request to an object store; retry it while its errors are transient.

    Args:
        action: the request; it can be repeated without harm.
        store: the URI, for messages.
        timeout_s: time after which the request is not retried.
    Raises:
        FileNotFoundError: a file or its bucket does not exist.
        StoreError: the store refuses the request: credentials, permissions, bucket.
        TransientError: until the end of the retries, the store did not answer or was too busy.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_delay(timeout_s),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        before_sleep=_log_retry,
        reraise=True,
    )
    result: T = retrying(_with_own_errors, action, store)
    return result


def _with_own_errors(action: Callable[[], T], store: str) -> T:
    """Make a request once, and convert the errors of pyarrow."""
    try:
        return action()
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as err:
        if "NO_SUCH_KEY" in str(err):
            raise FileNotFoundError(str(err)) from err
        raise _store_error(str(err), store) from err


def _store_error(text: str, store: str) -> MlpruneError:
    """Convert the text of an error of pyarrow to an error that says what happened, where, and what to do next."""
    match = _AWS_ERROR.search(text)
    status = int(match[2] or 0) if match else 0
    if "NO_SUCH_BUCKET" in text:
        return _no_bucket(store, urlsplit(store).netloc)
    if _REFUSED.search(text):
        return StoreError(
            "the object store refuses the request",
            store=store,
            next="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, and that they allow to list, "
            "read, write and delete in this bucket",
            reason=text,
        )
    if _MAY_PASS.search(text) or status >= 500 or status in (408, 429):
        return TransientError(
            "the object store does not answer",
            store=store,
            next="check AWS_ENDPOINT_URL (or endpoint_override and scheme in the URI), the region and the network",
            reason=text,
        )
    return StoreError("the object store reports an error", store=store, reason=text)


def _no_bucket(store: str, bucket: str) -> StoreError:
    return StoreError(
        "the bucket does not exist", store=store, got=bucket, next="create it, or correct --store or the endpoint"
    )


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("%s: retrying (%d)", error, state.attempt_number)
