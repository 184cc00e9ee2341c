"""Object stores: opened by address, credentials from the environment, errors in one line.

What a store says of an error can hold links with signatures: nothing of it is passed on but the
status and its short code.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from cloudfree.core.errors import OutputError, StoreError

Bucket = S3Store | GCSStore | AzureStore

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "abfs": "AZURE_STORAGE_ACCOUNT_KEY",
    "abfss": "AZURE_STORAGE_ACCOUNT_KEY",
}
"""Schemes that are known, and where the environment may hold their credentials."""
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
_NO_CREDENTIALS = (
    "169.254.169.254", "metadata.google", "Account must be specified", "MissingAccount",
    "NoAuthenticationInformation", "MissingAccessKeyId", "MissingSecretAccessKey",
)  # fmt: skip
_NO_ANSWER = ("error sending request", "timed out", "connection")
_MAX_RETRIES = 8
_RETRY_S = 60


def check_address(address: str) -> None:
    """Raise OutputError where an address with ``://`` is none of an object store's prefix."""
    parts = urlsplit(address)
    if parts.scheme not in _CREDENTIALS:
        raise OutputError(
            f"--out {parts.scheme}://... is of no known kind; give a folder, s3://BUCKET/PREFIX, "
            "gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        )
    owner = parts.username if parts.scheme not in ("abfs", "abfss") else None
    if parts.password is not None or owner or parts.query or parts.fragment:
        raise OutputError(
            f"--out {parts.scheme}://... holds more than a bucket and a prefix; credentials come "
            f"from the environment ({_CREDENTIALS[parts.scheme]}), not from the address"
        )
    if not parts.hostname:
        raise OutputError(
            f"--out {address} names no bucket; give {parts.scheme}://BUCKET/PREFIX or a folder"
        )


@functools.lru_cache(maxsize=16)
def open_bucket(address: str) -> Bucket:
    """Return the store at a prefix; OutputError where the environment lacks what it needs."""
    backoff = {"init_backoff": dt.timedelta(milliseconds=100), "max_backoff": dt.timedelta(0, 10)}
    retries = {
        "max_retries": _MAX_RETRIES, "retry_timeout": dt.timedelta(0, _RETRY_S), "backoff": backoff,
    }  # fmt: skip
    config: Any = {"retry_config": retries}
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if account and urlsplit(address).scheme == "az":
        config["account_name"] = account  # obstore 0.12 cannot print a store that had to ask for it
    try:
        opened = from_url(address, **config)
    except (BaseError, ValueError) as error:
        raise OutputError(f"cannot open --out {address}: {explain(error, address)}") from None
    assert isinstance(opened, Bucket)
    return opened


def is_missing(error: Exception) -> bool:
    """Tell whether an object, and not its bucket, is not there."""
    return isinstance(error, NotFoundError | FileNotFoundError) and not _says(error, _NO_BUCKET)


def explain(error: Exception, address: str) -> str:
    """Return in one line why a store failed and what to do; nothing that could be secret."""
    names, status = _CREDENTIALS[urlsplit(address).scheme], _status(error)
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    if _says(error, _NO_BUCKET):
        why = "its bucket does not exist; check the name or make it first"
    elif _says(error, _NO_CREDENTIALS):
        why = f"no credentials; set {names} in the environment, or give the machines a role"
    elif denied or status in ("401", "403"):
        why = (
            "access is denied; check that the credentials in the environment "
            f"({names}, or the machine's role) may read, write and list there"
        )
    elif _says(error, _NO_ANSWER):
        why = "the store does not answer; check the network and the endpoint, then try again"
    elif is_missing(error):
        why = "it is not there"
    elif status:
        code = re.search(r"<Code>(\w+)</Code>", str(error))
        why = f"the store answers {status}{f' {code[1]}' if code else ''}; try again later"
    else:
        why = f"the store fails ({type(error).__name__}); try again later"
    return why


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word.lower() in text for word in words)


def _status(error: Exception) -> str:
    """Return the HTTP status of an answer; empty where there was none."""
    found = re.search(r"status code: (\d{3})", str(error))
    return found[1] if found else ""


@contextmanager
def store_errors(doing: str, address: str) -> Iterator[None]:
    """Turn a store's exceptions into StoreError: what was done, where, why, what to do."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise StoreError(f"cannot {doing} {address}: {explain(error, address)}") from None


def delete_all(bucket: Bucket, prefix: str, keep: tuple[str, ...]) -> None:
    """Remove every object under a prefix but those named; as they are listed, a page at a time."""
    for page in obstore.list(bucket, prefix or None):
        names = [str(one["path"]) for one in page]
        if doomed := [name for name in names if name not in keep]:
            obstore.delete(bucket, doomed)
