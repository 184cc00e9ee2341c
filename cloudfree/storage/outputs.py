"""Where a product is written: a local folder or a prefix of an object store, behind one face.

Credentials are no part of it: each process finds them in its own environment. A name is what
stands after the address, with slashes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import zarr.abc.store
import zarr.storage
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from cloudfree.core.errors import OutputError, StoreError
from cloudfree.storage import buckets

_FULL_BYTES = 2**24
"""Less free space than this counts as none when a write has failed."""
Version = dict[str, Any]
"""Tells apart what an object held at two times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object or file that was listed."""

    name: str
    """Below the storage."""
    modified: float
    """When it was written, in seconds since 1970, by the store's clock."""
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """By which a copy of a file can be told to be whole."""

    size: int
    """In bytes."""
    sha256: str
    """In hexadecimal."""


def checksum(content: bytes | Path) -> Checksum:
    """Return the checksum of bytes, or of a local file of any size."""
    if isinstance(content, bytes):
        return Checksum(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    with content.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Checksum(size=content.stat().st_size, sha256=digest)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a product lies. Everything raises StoreError, in one line, where the output fails."""

    address: str
    """An absolute folder, or the URL of a prefix; without a slash at its end."""

    @property
    def folder(self) -> Path | None:
        """The local folder; None on an object store."""
        return None if "://" in self.address else Path(self.address)

    def join(self, name: str) -> str:
        """Return the address of something inside, for messages."""
        return f"{self.address}/{name}"

    def reason(self, error: Exception) -> str:
        """Return in one line why a write failed; GDAL does not say when the disk is full."""
        if self.folder is None and isinstance(error, BaseError | FileNotFoundError):
            return buckets.explain(error, self.address)
        with suppress(OSError):
            if shutil.disk_usage(self.folder or tempfile.gettempdir()).free < _FULL_BYTES:
                return os.strerror(errno.ENOSPC)
        return " ".join(str(getattr(error, "strerror", None) or error).split())

    def free_bytes(self) -> int | None:
        """Return the free space of the disk that the folder is or will be on; None for stores."""
        if (folder := self.folder) is None:
            return None
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        return shutil.disk_usage(existing).free

    def read(self, name: str) -> bytes | None:
        """Return what was written, or None where nothing was."""
        found = self.read_versioned(name)
        return None if found is None else found[0]

    def read_versioned(self, name: str) -> tuple[bytes, float, Version] | None:
        """Return what was written, when (seconds since 1970) and its version, or None."""
        if (folder := self.folder) is not None:
            try:
                with (folder / name).open("rb") as stream:
                    return stream.read(), os.fstat(stream.fileno()).st_mtime, {}
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise StoreError(f"cannot read {self.join(name)}: {error.strerror}") from None
        with buckets.store_errors("read", self.join(name)):
            try:
                answer = obstore.get(buckets.open_bucket(self.address), name)
                meta = answer.meta
                return bytes(answer.bytes()), meta["last_modified"].timestamp(), _version(meta)
            except (BaseError, FileNotFoundError) as error:
                if buckets.is_missing(error):
                    return None
                raise

    def write(self, name: str, content: bytes) -> None:
        """Write so that the content is whole or not there, also after a crash."""
        if (folder := self.folder) is not None:
            try:
                _write_whole(folder / name, content)
            except OSError as error:
                raise StoreError(f"cannot write {self.join(name)}: {error.strerror}") from None
            return
        with buckets.store_errors("write", self.join(name)):
            obstore.put(buckets.open_bucket(self.address), name, content)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON, like ``write``; NaN is a ValueError."""
        self.write(name, to_json(value))

    def replace(self, name: str, content: bytes, version: Version | None) -> Version | None:
        """Write to an object store where the object still has a version, or where None is there.

        Returns the new version, or None where somebody else was first. ``content`` is never
        written twice, so what it says afterwards tells whose it is: a write whose answer was lost
        counts as done.
        """
        bucket = buckets.open_bucket(self.address)
        with buckets.store_errors("write", self.join(name)):
            try:
                mode: Any = "create" if version is None else version
                return _version(obstore.put(bucket, name, content, mode=mode))
            except (AlreadyExistsError, PreconditionError):
                found = self.read_versioned(name)
                return found[2] if found is not None and found[0] == content else None

    def upload(self, file: Path, name: str) -> None:
        """Take over a local file, whole or not at all; memory does not grow with its size."""
        if (folder := self.folder) is not None:
            try:
                file.replace(folder / name)
            except OSError as error:
                raise StoreError(f"cannot write {self.join(name)}: {error.strerror}") from None
            return
        with buckets.store_errors("write", self.join(name)):
            obstore.put(buckets.open_bucket(self.address), name, file)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield what lies below, lazily; nothing where nothing does. ``prefix`` is a folder."""
        if (folder := self.folder) is not None:
            for parent, _, files in os.walk(folder / prefix):
                for file in files:
                    path = Path(parent, file)
                    if file.endswith(".tmp"):
                        continue
                    with suppress(FileNotFoundError):
                        stat = path.stat()
                        name = path.relative_to(folder).as_posix()
                        yield Entry(name=name, modified=stat.st_mtime, size=stat.st_size)
            return
        with buckets.store_errors("list", self.join(prefix)):
            for page in obstore.list(buckets.open_bucket(self.address), prefix or None):
                for one in page:
                    stamp = one["last_modified"].timestamp()
                    yield Entry(name=one["path"], modified=stamp, size=one["size"])

    def clear(self, keep: tuple[str, ...] = ()) -> None:
        """Remove everything but the files named. Links are removed, not followed."""
        if (folder := self.folder) is not None:
            try:
                _clear_folder(folder, {folder / name for name in keep})
            except OSError as error:
                raise StoreError(f"cannot empty {self.address}: {error.strerror}") from None
            return
        with buckets.store_errors("empty", self.address):
            buckets.delete_all(buckets.open_bucket(self.address), "", keep)

    def remove(self, name: str) -> None:
        """Remove a file or an object; one that is not there is as good."""
        if (folder := self.folder) is not None:
            try:
                (folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot remove {self.join(name)}: {error.strerror}") from None
            return
        with buckets.store_errors("remove", self.join(name)), suppress(FileNotFoundError):
            obstore.delete(buckets.open_bucket(self.address), name)

    def zarr(self, name: str, *, read_only: bool) -> zarr.abc.store.Store:
        """Return a Zarr store."""
        if (folder := self.folder) is not None:
            return zarr.storage.LocalStore(folder / name, read_only=read_only)
        bucket = buckets.open_bucket(self.join(name))
        return zarr.storage.ObjectStore(bucket, read_only=read_only)

    def check_writable(self) -> None:
        """Raise OutputError where nothing can be written; leaves nothing behind."""
        if (folder := self.folder) is not None:
            existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if not os.access(existing, os.W_OK | os.X_OK):
                raise OutputError(f"cannot write to --out {folder}: {os.strerror(errno.EACCES)}")
            return
        probe = f"ledger/probe-{os.getpid()}"
        self.write(probe, b"")
        self.remove(probe)


def to_json(value: Any) -> bytes:
    """Return a value as our files hold it; NaN is a ValueError."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def open_storage(address: str | Path) -> Storage:
    """Return the output at a folder or URL; OutputError where it is neither."""
    if "://" not in str(address):
        return Storage(str(Path(address).absolute()))
    buckets.check_address(str(address))
    return Storage(str(address).rstrip("/"))


def _version(facts: Any) -> Version:
    return {key: facts[key] for key in ("e_tag", "version") if facts.get(key) is not None}


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _clear_folder(folder: Path, keep: set[Path]) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path in keep:
            continue
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        elif any(path in kept.parents for kept in keep):
            _clear_folder(path, keep)
        else:
            shutil.rmtree(path)
