"""Links of STAC items as people write them: relative, quoted, into archives, with alternates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from cloudfree.scenes.providers import is_api

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Of two letters at least."""
_FILE = re.compile(r"file:(//(localhost)?(?=/))?", re.IGNORECASE)
_INTO_ARCHIVE = re.compile(r"(/vsi(?:zip|tar|gzip|7z|rar)/|(?:zip|tar|gzip)://)(?=\.)")
"""Into an archive beside the document."""
_BY_HTTP = "/vsicurl/"
"""GDAL's own name for what is read through ``pixels.remote``."""


def resolve(href: str, document: str) -> str:
    """Return a link as files are opened: absolute, seen from the ``document`` that holds it.

    Local paths may be percent-encoded or not: a file that is called as the link is written counts
    first, but for ``file:`` links, which are to be decoded.
    """
    href = href.removeprefix(_BY_HTTP)
    if archive := _INTO_ARCHIVE.match(href):
        return archive[1] + _beside(href[archive.end() :], document)
    if is_file := _FILE.match(href):
        written = href[is_file.end() :]
        return _existing(_beside(unquote(written), document), _beside(written, document))
    if _SCHEME.match(href) or href.startswith("/vsi"):
        return href
    if is_api(document):
        return urljoin(document, href)
    return _existing(_beside(href, document), _beside(unquote(href), document))


def link_of(asset: Mapping[str, Any]) -> str | None:
    """Return the link of an asset or an alternate; None where it has none."""
    href = asset.get("href")
    try:
        urlsplit(href)
    except (ValueError, TypeError, AttributeError):
        return None
    return href if isinstance(href, str) else None


def alternates(asset: Mapping[str, Any]) -> Iterator[str]:
    """Yield the other links of an asset, as written (STAC extension ``alternate``)."""
    others = asset.get("alternate")
    for other in others.values() if isinstance(others, Mapping) else ():
        if isinstance(other, Mapping) and (href := link_of(other)) is not None:
            yield href


def with_links(asset: Mapping[str, Any], document: str) -> dict[str, Any]:
    """Return an asset with its links, alternate ones too, resolved against its ``document``."""
    resolved = dict(asset)
    if (href := link_of(asset)) is not None:
        resolved["href"] = resolve(href, document)
    if isinstance(asset.get("alternate"), Mapping):
        resolved["alternate"] = {
            name: with_links(other, document) if isinstance(other, Mapping) else other
            for name, other in asset["alternate"].items()
        }
    return resolved


def _beside(path: str, document: str) -> str:
    return os.path.normpath(Path(document).parent / path)


def _existing(first: str, other: str) -> str:
    """Return the path of the two at which something lies: the first, where both or neither do."""
    return other if not os.path.lexists(first) and os.path.lexists(other) else first
