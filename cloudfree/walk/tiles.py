"""Row 8a of the walk: how much each scene of a step says of a pixel where its tiles overlap.

Each scene has a fit of its own, and two fits do not quite agree. Towards the edge of a tile its
word fades, so that no step shows where the next one takes over.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np
from odc.geo.geobox import GeoBox

from cloudfree.core.types import BoolArray, Float32Array, UInt16Array
from cloudfree.geometry.sampling import locate
from cloudfree.pixels import cube
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.scene import Scene

_FADE_PX = 64
"""Of the scene's own pixels, from its tile's edge inwards."""


def share_pixels(
    scenes: tuple[Scene, ...],
    able: Container[str],
    geobox: GeoBox,
    optical_scene: UInt16Array,
    band: str,
    fetcher: Fetcher,
) -> Iterator[tuple[Scene, Float32Array]]:
    """Yield the scenes, of those ``able`` by id, that say something, and (y, x) how much.

    A pixel belongs to the scene that ``optical_scene`` names, as far as its tile's edge is far
    enough; what is left goes to those after it in the order of overlaps. Where there is one alone
    it counts 1. ReadError where a scene's grid cannot be read.
    """
    near = [
        (index, scene)
        for index, scene in enumerate(scenes, 1)
        if scene.id in able and cube.overlaps(scene, geobox)
    ]
    left = (optical_scene > 0).astype(np.float32)
    for index, scene in near:
        after: BoolArray = (optical_scene > 0) & (optical_scene <= index)
        share: Float32Array = np.where(after, left, np.float32(0))
        if len(near) > 1:
            share = share * _fade_in(geobox, cube.read_grid(scene, band, fetcher))
        left = left - share
        if share.any():
            yield scene, share


def _fade_in(geobox: GeoBox, tile: GeoBox) -> Float32Array:
    """Return (y, x): 0 outside of a tile, rising to 1 inside."""
    assert tile.crs is not None
    at = locate(geobox, tile.crs.to_wkt(), tile.affine)
    height, width = tile.shape.yx
    inside = np.minimum(np.minimum(at.rows, height - at.rows), np.minimum(at.cols, width - at.cols))
    faded: Float32Array = np.clip(inside / _FADE_PX, 0, 1).astype(np.float32)
    return faded
