"""The key of a product: a hash of everything that determines its pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit


def unsigned(href: str) -> str:
    """Return the link without its query and fragment, where signatures live; a path as it is."""
    if "://" not in href:
        return href
    return urlunsplit(urlsplit(href)._replace(query="", fragment=""))


def product_key(facts: Mapping[str, object]) -> str:
    """Return the sha256 of ``facts`` as canonical JSON: equal facts, equal key."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
