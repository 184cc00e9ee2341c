"""Files on HTTP servers as GDAL reads them: range by range, each verified and asked for again.

GDAL's own HTTP layer is left out on purpose. It takes truncated bodies and refusals for the file
and keeps them, does not tell a hanging server from a broken connection, and does not know
Retry-After; docs/internals/reading.md says what was seen.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from rasterio.abc import MultiByteRangeResourceContainer
from requests.adapters import HTTPAdapter

from cloudfree.core.config import CubeSettings
from cloudfree.core.errors import ReadError, UnreachableError
from cloudfree.core.keys import unsigned
from cloudfree.core.types import Signer
from cloudfree.pixels.retry import (
    PERMANENT,
    Kind,
    backoff_s,
    kind_of_error,
    kind_of_status,
    retry_after_s,
)

_HEAD_BYTES = 32 * 1024
"""Read when a file is opened: holds the header of most cloud-optimised GeoTIFFs."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def is_remote(href: str) -> bool:
    """Return whether a link leads to an HTTP server."""
    return urlsplit(href).scheme in ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes of a file."""

    content: bytes
    """As many as were asked for; fewer only where the file ends."""
    file_bytes: int
    """Size of the whole file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a server gave no bytes."""

    kind: Kind
    """What may help."""
    reason: str
    """In words, without the link."""
    retry_after_s: float = 0.0
    """How long the server wants to be left alone."""


class Fetcher:
    """Gets parts of files for one job, and counts how often it had to ask again."""

    def __init__(self, settings: CubeSettings, signer: Signer) -> None:
        self.settings = settings
        self._signer = signer
        self._lock = threading.Lock()
        self._retries: Counter[str] = Counter()
        self._heads: dict[str, Part] = {}
        self._given_up: set[str] = set()

    @property
    def retries(self) -> dict[str, int]:
        """Return how often something was asked for again, by kind of failure."""
        with self._lock:
            return dict(sorted(self._retries.items()))

    def promising(self, links: Sequence[str]) -> list[str]:
        """Return the links of a file that were not given up; all, where none is left."""
        return [link for link in links if link not in self._given_up] or list(links)

    def give_up(self, link: str) -> None:
        """Do not try a link again in this job as long as there is another."""
        self._given_up.add(link)

    def fetch_head(self, href: str, attempts: int) -> Part:
        """Return the first bytes of a file; a job reads many windows of it and asks once."""
        if href not in self._heads:
            self._heads[href] = self.fetch(href, 0, _HEAD_BYTES, attempts)
        return self._heads[href]

    def fetch(self, href: str, offset: int, size: int, attempts: int) -> Part:
        """Return ``size`` bytes of a file from ``offset`` on; the link is signed here and now.

        Raises ReadError for what will not get better and UnreachableError where attempts or
        patience end. Neither names the signature.
        """
        settings, began = self.settings, time.monotonic()
        name, link = unsigned(href), self._signer.sign(href)
        for attempt in itertools.count(1):
            answer = _ask(link, offset, size, settings)
            if isinstance(answer, Part):
                return answer
            if answer.kind is Kind.EXPIRED:
                before, link = link, self._signer.sign(href, fresh=True)
            if answer.kind in PERMANENT or (answer.kind is Kind.EXPIRED and link == before):
                raise ReadError(f"{name}: {answer.reason}")
            wait_s = backoff_s(
                attempt,
                settings.retry_delay_s,
                at_least_s=answer.retry_after_s,
                seed=f"{name} {offset}",
            )
            spent_s = time.monotonic() - began
            if attempt >= attempts or spent_s + wait_s > settings.patience_s:
                raise UnreachableError(
                    f"{name}: {answer.reason}, given up after {attempt} attempts in {spent_s:.0f} s"
                )
            with self._lock:
                self._retries[answer.kind] += 1
            time.sleep(wait_s)
        raise AssertionError


def _ask(link: str, offset: int, size: int, settings: CubeSettings) -> Part | Failure:
    """Ask a server once."""
    asked = {"Range": f"bytes={offset}-{offset + size - 1}", "Accept-Encoding": "identity"}
    session = _session(settings.requests_per_host)
    try:
        with session.get(link, headers=asked, timeout=settings.timeout_s, stream=True) as answer:
            status, headers = answer.status_code, answer.headers
            content = answer.content if status == requests.codes.partial_content else b""
    except requests.RequestException as error:
        kind = kind_of_error(error)
        return Failure(kind=kind, reason=f"the answer is {kind} ({type(error).__name__})")
    if status == requests.codes.ok:
        is_page = headers.get("Content-Type", "").startswith("text/html")
        page = "the server answers a web page instead of the file, such as one to sign in"
        return Failure(
            kind=Kind.REFUSED, reason=page if is_page else "the server does not serve ranges"
        )
    if status != requests.codes.partial_content:
        kind = kind_of_status(status)
        signature = "it wants a sign-in, or the link's signature is missing or expired"
        return Failure(
            kind=kind,
            reason=f"the server answers {status}, {signature if kind is Kind.EXPIRED else kind}",
            retry_after_s=retry_after_s(headers.get("Retry-After")),
        )
    held = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if held is None or int(held[1]) != offset or held[3] == "*":
        is_asked = held is not None and int(held[1]) == offset
        does = "does not say how large the file is" if is_asked else "answers another range"
        return Failure(kind=Kind.REFUSED, reason=f"the server {does}")
    file_bytes = int(held[3])
    if len(content) != min(size, file_bytes - offset):
        return Failure(kind=Kind.TRUNCATED, reason="the answer is truncated")
    return Part(content=content, file_bytes=file_bytes)


@functools.cache
def _session(requests_per_host: int) -> requests.Session:
    """Return this process's connections: at most so many at a time to a host, the rest wait."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=requests_per_host, pool_block=True)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


class RemoteAsset(MultiByteRangeResourceContainer):  # type: ignore[misc]  # rasterio is untyped
    """One file on a server, for rasterio's ``opener``. Raises ReadError where it cannot be had.

    GDAL swallows what is raised while it reads, so that failures are kept: look at ``failure``
    when GDAL is done, whatever it says.
    """

    def __init__(self, href: str, fetcher: Fetcher, attempts: int) -> None:
        self.name = unsigned(href)
        self.failure: ReadError | None = None
        self._href = href
        self._fetcher = fetcher
        self._attempts = attempts
        head = fetcher.fetch_head(href, attempts)
        self._head, self.file_bytes = head.content, head.file_bytes

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes; none after a failure."""
        end = min(offset + size, self.file_bytes)
        if end <= len(self._head):
            return self._head[offset:end]
        if self.failure is not None or offset >= end:
            return b""
        try:
            return self._fetcher.fetch(self._href, offset, end - offset, self._attempts).content
        except ReadError as error:
            self.failure = error
            return b""

    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return several ranges, got at the same time."""
        with ThreadPoolExecutor(
            min(len(offsets), self._fetcher.settings.requests_per_host)
        ) as pool:
            return list(pool.map(self.read, offsets, sizes))

    def open(self, path: str, mode: str = "r", **_: Any) -> RemoteFile:
        """Return the file; FileNotFoundError for any other."""
        if path != self.name:
            raise FileNotFoundError(path)
        return RemoteFile(self)

    def isfile(self, path: str) -> bool:
        """Return whether it is this file."""
        return path == self.name

    def isdir(self, path: str) -> bool:
        """Return False: there are no folders."""
        return False

    def ls(self, path: str) -> list[str]:
        """Return nothing: folders are not listed."""
        return []

    def mtime(self, path: str) -> int:
        """Return 0: nobody asks."""
        return 0

    def rm(self, path: str) -> None:
        """Do nothing: the file is for reading."""

    def size(self, path: str) -> int:
        """Return the size of the file in bytes."""
        return self.file_bytes


class RemoteFile(io.RawIOBase):
    """A RemoteAsset with a place in it."""

    def __init__(self, asset: RemoteAsset) -> None:
        self._asset = asset
        self._place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._asset.file_bytes}
        self._place = start[whence] + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, or all that are left."""
        left = self._asset.file_bytes - self._place
        content = self._asset.read(self._place, left if size < 0 else min(size, left))
        self._place += len(content)
        return content

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return several ranges; rasterio's name for it."""
        return self._asset.read_ranges(offsets, sizes)
