"""A STAC catalog over many runs: a folder that holds a copy of each run's Collection and Items.

It is self-contained: its own links are relative, and so are those to products in local folders.
Every file is written whole and before what links to it, so that who reads at any moment reads a
sound catalog. Runs share no file but ``catalog.json``; what others keep in the same catalog stays.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pystac

from cloudfree.core.errors import OutputError
from cloudfree.product.item import COLLECTION
from cloudfree.storage.ledger import parse_json
from cloudfree.storage.outputs import Storage, open_storage

_CATALOG, _LOCK = "catalog.json", ".lock"
_FORMER = Path("cloudfree", COLLECTION)
"""What a catalog had by a cloudfree that listed one Item a run, all in one Collection."""
_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError,
)  # fmt: skip
"""What pystac raises of files that are no STAC."""


def check_catalog(folder: str, storage: Storage) -> Path:
    """Return the folder of a catalog that the product in ``storage`` can be listed in.

    Writes nothing. Raises OutputError where it is no local folder, cannot be written, lies in the
    output (which a run may empty), or holds a catalog that cannot be read.
    """
    if "://" in folder:
        raise OutputError(f"--catalog {folder} is no local folder; a catalog is kept in one only")
    path = Path(folder).resolve()
    if storage.folder is not None and path.is_relative_to(storage.folder.resolve()):
        raise OutputError(f"--catalog {path} lies in --out {storage.folder}; give a folder beside")
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = os.strerror(errno.EACCES if existing.is_dir() else errno.ENOTDIR)
        raise OutputError(f"cannot write to --catalog {path}: {reason}")
    _open(path)
    return path


def add_to_catalog(folder: Path, storage: Storage) -> None:
    """List the finished product in ``storage``; the same product of before is replaced.

    Raises OutputError where the catalog cannot be read, StoreError where it cannot be written.
    """
    collection = pystac.Collection.from_dict(_read_own(storage, COLLECTION), migrate=False)
    names = [link.href.removeprefix("./") for link in collection.get_item_links()]
    # as they are: what pystac takes for old is what stackstac needs
    items = [pystac.Item.from_dict(_read_own(storage, name), migrate=False) for name in names]
    own = folder / collection.id / COLLECTION
    with _locked(folder):
        catalog = _open(folder)
        catalog.links = [one for one in catalog.links if one.get_absolute_href() != str(own)]
        collection.remove_hierarchical_links()
        for item in items:
            item.remove_hierarchical_links()
        catalog.add_child(collection, collection.title)
        collection.add_items(items)
        written: list[pystac.STACObject] = [*items, collection, catalog]
        for one in written:
            if isinstance(one, pystac.Item | pystac.Collection):
                _point(one, storage)
            one.save_object(include_self_link=False, stac_io=_WholeFiles())


def _read_own(storage: Storage, name: str) -> dict[str, Any]:
    """Return what a STAC file of a finished product holds."""
    return parse_json(storage.read(name) or b"", storage.join(name))


def _point(one: pystac.Item | pystac.Collection, storage: Storage) -> None:
    """Turn what is relative to the product into what is relative to the catalog's copy."""
    seen_from = Path(one.self_href).parent
    for asset in one.assets.values():
        asset.href = _place(storage, asset.href, seen_from)
    for link in one.get_links("derived_from"):
        if link.href.startswith("./"):
            link.target = _place(storage, link.href, seen_from)


def _place(storage: Storage, href: str, seen_from: Path) -> str:
    """Return where a file of a product is: a relative path, or the URL of an object."""
    name = href.removeprefix("./")
    if storage.folder is None:
        return storage.join(name)
    return os.path.relpath(storage.folder.resolve() / name, seen_from)


class _WholeFiles(pystac.stac_io.DefaultStacIO):
    """Writes a file whole or not at all."""

    def write_text_to_href(self, href: str, txt: str) -> None:
        path = Path(href)
        open_storage(path.parent).write(path.name, txt.encode())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine changes the catalog."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise OutputError(f"cannot write to --catalog {folder}: {error.strerror}") from None


def _open(folder: Path) -> pystac.Catalog:
    """Return the catalog as it is, new where there is none."""
    if (folder / _FORMER).exists():
        raise OutputError(
            f"--catalog {folder} was begun by an earlier cloudfree, which listed one Item a run. "
            "Give a new folder, and the commands of its runs again with that: what is finished is "
            "listed without being made again"
        )
    path = folder / _CATALOG
    try:
        return pystac.Catalog.from_dict(json.loads(path.read_bytes()), href=str(path))
    except FileNotFoundError:
        return pystac.Catalog(
            id="cloudfree-products",
            description="Products of cloudfree",
            href=str(path),
            catalog_type=pystac.CatalogType.SELF_CONTAINED,
        )
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from None
    except _DAMAGE as error:
        raise _damaged(path, f"{type(error).__name__} {' '.join(str(error).split())}") from None


def _damaged(path: Path, why: str) -> OutputError:
    return OutputError(
        f"the catalog's file {path} cannot be used: {why[:200]}. Mend it, or give another --catalog"
    )
