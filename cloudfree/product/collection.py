"""A STAC catalog over many runs: a folder with one collection, and in it one Item a product.

It is self-contained: its own links are relative, and so are those to products in local folders.
Every file is written whole, and an Item before what links to it, so that who reads at any moment
reads a sound catalog. What others keep in the same catalog stays.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pystac

from cloudfree.core.errors import OutputError
from cloudfree.storage.outputs import Storage, open_storage

COLLECTION = "cloudfree"
_CATALOG, _LOCK = "catalog.json", ".lock"
_NOWHERE = pystac.Extent(
    pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]),
    pystac.TemporalExtent([[dt.datetime(2015, 6, 23, tzinfo=dt.UTC), None]]),
)
"""Until there is an Item: anywhere since the first Sentinel-2."""
_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError,
)  # fmt: skip
"""What pystac raises of files that are no STAC."""

Found = TypeVar("Found", pystac.Catalog, pystac.Collection, pystac.Item)


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
    _, collection = _open(path)
    _read_items(collection)
    return path


def add_to_catalog(folder: Path, storage: Storage) -> None:
    """List the finished product in ``storage``; its Item of before is replaced.

    Raises OutputError where the catalog cannot be read, StoreError where it cannot be written.
    """
    item = pystac.Item.from_dict(json.loads(storage.read("item.json") or b"{}"))
    with _locked(folder):
        catalog, collection = _open(folder)
        own = str(folder / COLLECTION / item.id / f"{item.id}.json")
        collection.links = [one for one in collection.links if one.get_absolute_href() != own]
        collection.add_item(item)
        for asset in item.assets.values():
            asset.href = _place(storage, asset.href.removeprefix("./"), Path(own).parent)
        items = _read_items(collection)
        collection.extent = pystac.Extent.from_items(items)
        written: list[pystac.STACObject] = [item, collection, catalog]
        for one in written:
            one.save_object(include_self_link=False, stac_io=_WholeFiles())


def _place(storage: Storage, name: str, seen_from: Path) -> str:
    """Return where a file of a product is: a relative path, or the URL of an object."""
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


def _open(folder: Path) -> tuple[pystac.Catalog, pystac.Collection]:
    """Return the catalog and its collection as they are, new where they are not."""
    catalog_file, collection_file = folder / _CATALOG, folder / COLLECTION / "collection.json"
    catalog = _read(catalog_file, pystac.Catalog) or pystac.Catalog(
        id="cloudfree-products",
        description="Products of cloudfree",
        href=str(catalog_file),
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
    )
    collection = _read(collection_file, pystac.Collection) or pystac.Collection(
        id=COLLECTION,
        title="Sentinel-2 without clouds",
        description="Sentinel-2 scenes whose clouds were removed with Sentinel-1 radar",
        extent=_NOWHERE,
        href=str(collection_file),
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
        license="other",
        keywords=["Sentinel-1", "Sentinel-2", "cloud removal"],
    )
    links = {link.get_absolute_href() for link in catalog.get_child_links()}
    if str(collection_file) in links:
        collection.set_root(catalog)
        collection.set_parent(catalog)
    else:
        catalog.add_child(collection, collection.title)
    return catalog, collection


def _read_items(collection: pystac.Collection) -> list[pystac.Item]:
    """Return the collection's items, those read that were not."""
    items = []
    for link in collection.get_item_links():
        if isinstance(link.target, pystac.Item):
            items.append(link.target)
            continue
        path = Path(link.get_absolute_href() or "")
        item = _read(path, pystac.Item)
        if item is None:
            raise _damaged(path, os.strerror(errno.ENOENT))
        items.append(item)
    return items


def _read(path: Path, kind: type[Found]) -> Found | None:
    """Return what a file holds, None where there is none; OutputError where it is damaged."""
    try:
        content: Any = json.loads(path.read_bytes())
        found = kind.from_dict(content, href=str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from None
    except _DAMAGE as error:
        raise _damaged(path, f"{type(error).__name__} {' '.join(str(error).split())}") from None
    if isinstance(found, pystac.Item) and (found.geometry is None or found.bbox is None):
        raise _damaged(path, "it has no geometry")
    return found


def _damaged(path: Path, why: str) -> OutputError:
    return OutputError(
        f"the catalog's file {path} cannot be used: {why[:200]}. Mend it, or give another --catalog"
    )
