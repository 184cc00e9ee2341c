"""What a run will take: memory of a chunk in work, bytes that are read, windows."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from odc.geo.geobox import GeoBox

from cloudfree.core.config import LEARN_A_SIDE, LEARN_PX, REFERENCE_BLOCK_PX, RunSettings
from cloudfree.geometry.grid import GridPlan
from cloudfree.geometry.windows import Lattice
from cloudfree.pixels.masks import reach_px
from cloudfree.restoration.rims import REACH_PX
from cloudfree.scenes.scene import Reference

_WORKING_BYTES_PER_PIXEL = 44
_WORKING_BYTES_PER_BAND = 44
_WORKING_BYTES_PER_RADAR = 16
"""Arrays alive at the peak of one chunk, a haloed pixel: measured with one channel of radar
(tests/bench); the share of a channel is counted: as read, as chosen, and on the way to decibel."""
_BYTES_PER_OTHER_DAYS = 14
_BYTES_PER_OTHER_DAYS_BAND = 4
"""What other days make of a haloed pixel: a number a band, and what it was made of."""
_RADAR_BYTES = 4
"""A pixel of one channel."""
PROCESS_BYTES = 450 * 2**20
"""Of a process that has no chunk in work."""


def job_bytes(grid: GridPlan, settings: RunSettings, *, n_radar: int, n_references: int) -> int:
    """Return the projected memory of one chunk in work, the largest there is.

    ``n_radar`` are the radar's channels, ``n_references`` the most other days of a scene.
    """
    bands = len(settings.grid.bands)
    height, width = (min(side, grid.chunk_px) for side in grid.geobox.shape)
    pixels = haloed_pixels(height, width, grid.halo_px)
    whole = chunk_memory_bytes(pixels, bands, n_radar)
    if not n_references:
        return whole
    made = pixels * (_BYTES_PER_OTHER_DAYS + _BYTES_PER_OTHER_DAYS_BAND * bands)
    margin = reach_px(settings.reference_masks, grid.resolution_m)
    height, width = min(height, REFERENCE_BLOCK_PX), min(width, REFERENCE_BLOCK_PX)
    block = haloed_pixels(height, width, margin)
    held = block * (_observed(bands) + _RADAR_BYTES) * n_references
    return whole + made + chunk_memory_bytes(block, bands, 0) + held


def other_days_bytes(
    grid: GridPlan, bands: int, steps: Sequence[Sequence[Sequence[Reference]]]
) -> int:
    """Return how many bytes of other days a run reads at most: for pixels, and to learn.

    ``steps`` says of each step what other days each of its scenes has.
    """
    pixels = sum(haloed_pixels(*chunk.geobox.shape.yx, REACH_PX) for chunk in grid.chunks())
    sample = (LEARN_PX * LEARN_A_SIDE) ** 2
    a_pixel = [[_others(found, bands) for found in lists] for lists in steps]
    made = sum(pixels * max(counts, default=0) for counts in a_pixel)
    learnt = sum(sample * (_observed(bands) + n) for counts in a_pixel for n in counts if n)
    return made + learnt


def _others(references: Sequence[Reference], bands: int) -> int:
    """Return the bytes of a pixel on a scene's other days, its own radar beside theirs included."""
    passes = sum(one.watch is not None for one in references)
    return _observed(bands) * len(references) + _RADAR_BYTES * (passes + (passes > 0))


def _observed(bands: int) -> int:
    """Return the bytes of a pixel as an optical scene shows it: numbers and a class."""
    return 2 * bands + 1


def chunk_memory_bytes(haloed_pixels: int, n_bands: int, n_radar: int) -> int:
    """Return the projected memory of a chunk in work."""
    per_pixel = (
        _WORKING_BYTES_PER_PIXEL
        + _WORKING_BYTES_PER_BAND * n_bands
        + _WORKING_BYTES_PER_RADAR * n_radar
    )
    return haloed_pixels * per_pixel


def haloed_pixels(height: int, width: int, halo_px: int) -> int:
    """Return how many pixels are read for a core."""
    return (height + 2 * halo_px) * (width + 2 * halo_px)


def count_windows(lattice: Lattice, geobox: GeoBox, reach_px: int = REACH_PX) -> int:
    """Return how many windows a core can need, wherever it lies on the lattice."""
    grown = [side + 2 * reach_px + lattice.window_px for side in geobox.shape]
    return ceil(grown[0] / lattice.stride_px) * ceil(grown[1] / lattice.stride_px)
