"""From digital numbers to reflectance: which offset a scene's numbers carry, by its metadata.

Since processing baseline 04.00 ESA adds 1000 to the numbers (Sentinel-2 product specification,
BOA_ADD_OFFSET and RADIO_ADD_OFFSET); some providers take it out again, and say so in their own
ways. The date of a scene says nothing: old scenes are processed anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloudfree.core.bands import BANDS, find_asset_key
from cloudfree.core.types import BoolArray, UInt16Array
from cloudfree.scenes.providers import OpticalCollection
from cloudfree.scenes.stored import read_stored

SINCE_0400_DN = -1000
"""What is added to numbers of a baseline from 04.00 on."""
_FIRST_WITH_OFFSET = (4, 0)
_DARK_SHARE = 0.002
"""Share of valid pixels that decides: fewer are noise."""
_DARK_DN = 2000
"""Ground this dark with the offset in its numbers is below reflectance 0.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """What is added to a scene's numbers."""

    dn: int | None
    """None: its metadata do not say; its pixels have to (``decide_offset``)."""
    why: str
    """In words, for the plan and run.json."""


def find_offset(
    collection: OpticalCollection, properties: Mapping[str, Any], assets: Mapping[str, Any]
) -> Offset:
    """Return the offset of an item by its collection's rule.

    ``baseline``: -1000 from processing baseline 04.00 on. ``asset``: what the assets of its bands
    say (raster extension). ``flag``: nothing where the provider says that it has been applied,
    whatever the assets say; where it says not, nothing before 04.00 and unknown from then on,
    because such items with harmonised numbers exist. ``item``: the flag if there is one, else the
    assets, else the baseline.
    """
    rule = collection.offset
    baseline = str(properties.get(collection.baseline) or "")
    flag = properties.get(collection.applied)
    stated = _stated_offsets(assets, collection.assets)
    if rule == "item":
        rule = "flag" if flag is not None else "asset" if stated else "baseline"
    if rule == "asset":
        if len(stated) == 1:
            return Offset(dn=stated.pop(), why="named by the assets")
        found = "differ" if stated else "are missing"
        return Offset(dn=None, why=f"the offsets of the assets {found}")
    if rule == "flag" and flag is True:
        return Offset(dn=0, why="applied by the provider")
    by_baseline = _by_baseline(baseline)
    if rule == "flag" and by_baseline.dn == SINCE_0400_DN:
        return Offset(dn=None, why=f"said not to be applied, at processing baseline {baseline}")
    return by_baseline


def _by_baseline(baseline: str) -> Offset:
    version = re.fullmatch(r"(\d+)\.(\d+)", baseline)
    if version is None:
        return Offset(dn=None, why="no processing baseline is named")
    is_new = (int(version[1]), int(version[2])) >= _FIRST_WITH_OFFSET
    return Offset(dn=SINCE_0400_DN if is_new else 0, why=f"processing baseline {baseline}")


def _stated_offsets(assets: Mapping[str, Any], names: Mapping[str, str]) -> set[int]:
    """Return the offsets that the assets of bands name, in digital numbers."""
    keys: Iterable[str | None] = (names.get(band) or find_asset_key(band, assets) for band in BANDS)
    described = (read_stored(assets[key]) for key in keys if key is not None and key in assets)
    return {stored.offset_dn for stored in described if stored.offset_dn is not None}


def decide_offset(dn: UInt16Array, valid: BoolArray, unknown: Offset) -> Offset:
    """Return the offset that a sample (band, n) of a scene's numbers speaks for.

    Numbers that carry the offset do not go below 1000; ground that is darker than that in some
    band (water, shadow, vegetation) is in almost every scene. Where all is so bright that both
    are possible, the offset is taken to be in the numbers.
    """
    darkest = dn.min(axis=0)[valid]
    if darkest.size == 0:
        return Offset(dn=SINCE_0400_DN, why=f"{unknown.why}; no valid pixel to tell, taken as in")
    below = float(np.mean(darkest < -SINCE_0400_DN))
    if below > _DARK_SHARE:
        return Offset(
            dn=0, why=f"{unknown.why}; {below:.1%} of the pixels lie below 1000: it is not in"
        )
    if float(np.mean(darkest < _DARK_DN)) > _DARK_SHARE:
        return Offset(
            dn=SINCE_0400_DN, why=f"{unknown.why}; the darkest pixels lie at 1000: it is in"
        )
    return Offset(dn=SINCE_0400_DN, why=f"{unknown.why}; too bright to tell, taken as in")
