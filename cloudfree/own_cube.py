"""Rows 5 to 12 of the walk on a cube of the user's own: nothing is read until it is computed.

A block is cut with a halo, restored, and given without it, as a run does with its chunks; so the
answer does not depend on how the cube is chunked (ARCHITECTURE.md, "Why any cutting gives the
same bits").
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

from cloudfree.core.config import RadiometrySettings
from cloudfree.core.contract import Contract
from cloudfree.core.errors import RequestError
from cloudfree.core.types import (
    AnyArray,
    Int64Array,
    Model,
)
from cloudfree.geometry.grid import halo_px
from cloudfree.own_blocks import Beyond, Block, observe_cut, restore_block
from cloudfree.own_layers import Cut, Layers, read_layers
from cloudfree.own_other_days import (
    find_references,
    fit_time,
    sample_windows,
)
from cloudfree.pixels.radiometry import is_measured
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.rims import REACH_PX
from cloudfree.walk.measure import PairStatistics, learn_pair, spread_starts

_BRIGHTEST = 2.0
"""No surface reflects so much: a median above it is of other units."""
_NO_ECHO_DB = -45.0
"""Products that cut their values off do so above it."""
_MARK_SHARE = 0.01
"""Of measured values fewer are alike."""
_DARKEST_DB = -100.0
"""No radar measures so little: what is below stands for nothing."""


class _Archive(NamedTuple):
    """The other times that one is made of."""

    others: list[int]
    """Which, nearest first."""
    days: Int64Array
    """How far they lie from it."""
    fit: Any
    """A delayed SceneFit; None where there are none."""


def restore_cube(
    optical: xr.DataArray,
    radar: xr.DataArray,
    mask: xr.DataArray,
    model: str | Path | Model = "auto",
    *,
    chunk_px: int = 1024,
    reference_days: float = 75,
) -> xr.Dataset:
    """Return a lazy Dataset: ``reflectance``, clouds removed, and ``source``, its codes.

    ``optical`` is (band, y, x) or (time, band, y, x): reflectance as floats, 1 for a white surface,
    or as whole numbers of scale 1e-4. Nodata is NaN, or 0 in every band. Bands are named as in
    ``B04`` or ``red``. ``radar`` is Sentinel-1 backscatter in decibel, NaN where there is none,
    with ``y``, ``x`` and, where it has several, a dimension that names polarisations (``vv``,
    ``vh``). ``mask`` is bool, True where cloud or shadow hides the ground; it is taken as it is and
    not grown. All three lie on one grid of square pixels, of 10 m if the model is to do its best,
    with y falling and x rising, and in one CRS where they name theirs. To each time of the optical
    picture belongs the radar nearest to it within 6 days (the default of a run) and the mask within
    15 minutes; without coordinates ``time`` they belong together in order, and an array without
    ``time`` serves all.

    ``reflectance`` has the dimensions, coordinates, attributes and type of ``optical``. What is not
    hidden is exactly as given. What is hidden is made, where the optical picture has several dates,
    of what other dates within ``reference_days`` saw of the same pixel (at most eight before and
    eight after), by experts that were judged on pixels which this date saw. What no other date saw,
    or with ``reference_days`` 0, is made of radar and surroundings where there is radar; elsewhere
    it is nodata or, with model ``auto``, smooth colour of what lies around. What the optical
    picture holds under the mask may help a model that looks through thin cloud, and may be nodata.
    ``source`` is 0 nodata, 1 seen, 2 reconstructed, 3 not restored, 4 made of other days.

    ``model`` is the name of a built-in model, the folder of a bundle, or one that was loaded;
    ``auto`` measures for each time which of them serves. One that wants other days is told what
    they say, and still makes only what no other date saw. Each time is stretched by statistics of
    its seen pixels, from at most 36 windows spread over the cube: another cut of the same scene has
    others. Where they show no ground at all nothing is made, with a warning. ``chunk_px`` is the
    side of what is restored at once, and does not change the answer. Raises RequestError of one
    line where something does not fit; where only the values can tell, on computing.

    >>> import numpy as np, xarray as xr
    >>> from cloudfree.synthetic.landscape import paint_landscape
    >>> land = paint_landscape(np.random.default_rng(0), (288, 320))
    >>> grid = {"y": 5_340_005 - 10.0 * np.arange(288), "x": 600_005 + 10.0 * np.arange(320)}
    >>> bands = {"band": ["B02", "B03", "B04"]}
    >>> optical = xr.DataArray(land.cloudy[:3], {**bands, **grid}, ("band", "y", "x"))
    >>> radar = xr.DataArray(10 * np.log10(land.power[0]), grid, ("y", "x"))
    >>> hidden = np.isin(land.classes, (3, 8, 9, 10)).repeat(2, 0).repeat(2, 1)
    >>> mask = xr.DataArray(hidden, grid, ("y", "x"))
    >>> cube = restore_cube(optical, radar, mask, model="baseline")
    >>> dict(cube.reflectance.sizes), type(cube.reflectance.data).__name__
    ({'band': 3, 'y': 288, 'x': 320}, 'Array')
    >>> bool((cube.reflectance == optical).where(~mask, True).all())
    True
    >>> np.unique(cube.source).tolist()
    [1, 2]
    """
    loaded = open_bundle(str(model)).load() if isinstance(model, str | Path) else model
    layers = read_layers(optical, radar, mask, loaded.contract)
    shared = delayed(loaded, traverse=False)
    steps = [
        _restore_step(layers, step, shared, loaded.contract, chunk_px, reference_days)
        for step in range(layers.steps)
    ]
    reflectance, source = (da.stack(parts) for parts in zip(*steps, strict=True))
    return _dataset(optical, reflectance, source)


def _dataset(optical: xr.DataArray, reflectance: da.Array, source: da.Array) -> xr.Dataset:
    """Return (time, band, y, x) and (time, y, x) with the dimensions of ``optical``."""
    whole = ["time", "band", "y", "x"]
    if "time" not in optical.dims:
        reflectance, source, whole = reflectance[0], source[0], whole[1:]
    codes = xr.DataArray(
        source,
        {name: c for name, c in optical.coords.items() if "band" not in c.dims},
        [dim for dim in whole if dim != "band"],
        attrs={
            "flag_values": [0, 1, 2, 3, 4],
            "flag_meanings": "nodata seen reconstructed not_restored other_days",
        },
    )
    order = [whole.index(str(dim)) for dim in optical.dims]
    return xr.Dataset(
        {
            "reflectance": optical.copy(data=reflectance.transpose(order)),
            "source": codes.transpose(*(dim for dim in optical.dims if dim != "band")),
        }
    )


def _restore_step(
    layers: Layers, step: int, model: Any, contract: Contract, chunk_px: int, reference_days: float
) -> tuple[da.Array, da.Array]:
    """Return one time restored, lazily: (band, y, x) and the codes (y, x).

    ``model`` is a delayed one of this ``contract``, in the graph once.
    """
    window_px = contract.window_px
    most = RadiometrySettings().sample_windows
    starts = [spread_starts(size, window_px, most) for size in layers.shape]
    sample = [
        layers.cut(step, slice(y, y + window_px), slice(x, x + window_px))
        for y in starts[0]
        for x in starts[1]
    ]
    statistics = delayed(_measure)(sample, model, layers.bands)
    archive = _find_archive(layers, step, reference_days)
    halo = halo_px(window_px=window_px, reach_px=REACH_PX, mask_px=0)
    near = halo if contract.wants_other_days else REACH_PX
    cores = [
        [slice(start, min(start + chunk_px, size)) for start in range(0, size, chunk_px)]
        for size in layers.shape
    ]
    rows = [
        [
            _restore_core(layers, step, (y, x), (halo, near), statistics, model, archive)
            for x in cores[1]
        ]
        for y in cores[0]
    ]
    reflectance, source = ([[pair[i] for pair in row] for row in rows] for i in range(2))
    return da.block(reflectance), da.block(source)


def _find_archive(layers: Layers, step: int, reference_days: float) -> _Archive:
    """Return what a time can be made of besides radar."""
    others, days = find_references(layers, step, reference_days)
    windows = sample_windows(layers.shape)
    looks = [[layers.look(other, *window) for window in windows] for other in others]
    own = [layers.look(step, *window) for window in windows]
    return _Archive(others, days, delayed(fit_time)(own, looks, days) if others else None)


def _grow(
    core: tuple[slice, slice], by: int, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], Beyond]:
    """Return what of a core grown by so many pixels the cube has, and how much it lacks around."""
    wanted = [slice(part.start - by, part.stop + by) for part in core]
    y, x = (
        slice(max(part.start, 0), min(part.stop, size))
        for part, size in zip(wanted, shape, strict=True)
    )
    above, left = (have.start - want.start for want, have in zip(wanted, (y, x), strict=True))
    below, right = (want.stop - have.stop for want, have in zip(wanted, (y, x), strict=True))
    return (y, x), ((above, below), (left, right))


def _restore_core(
    layers: Layers,
    step: int,
    core: tuple[slice, slice],
    reach: tuple[int, int],
    statistics: Any,
    model: Any,
    archive: _Archive,
) -> tuple[da.Array, da.Array]:
    """Return one block of one time, lazily; ``reach`` as ``halo_px`` and ``near_px`` of a block."""
    halo, near_px = reach
    inside, beyond = _grow(core, halo, layers.shape)
    near, beyond_near = _grow(core, near_px, layers.shape)
    block = Block(
        shape=(core[0].stop - core[0].start, core[1].stop - core[1].start),
        halo_px=halo,
        near_px=near_px,
        origin=(layers.origin[0] + core[0].start - halo, layers.origin[1] + core[1].start - halo),
        beyond=beyond,
        beyond_near=beyond_near,
    )
    looks = [layers.look(other, *near) for other in archive.others]
    restore = delayed(restore_block, nout=2)
    made, source = restore(
        layers.cut(step, *inside), statistics, model, layers.bands, block,
        archive.fit, looks, archive.days,
    )  # fmt: skip
    return (
        da.from_delayed(made, (len(layers.bands), *block.shape), layers.dtype),
        da.from_delayed(source, block.shape, np.uint8),
    )


def _measure(sample: list[Cut], model: Model, bands: tuple[str, ...]) -> PairStatistics:
    """Return the statistics of one time from windows of it."""
    _refuse_units(sample)
    statistics = learn_pair(
        [observe_cut(cut) for cut in sample], model, bands, RadiometrySettings()
    )
    if not is_measured(statistics.optical):
        warnings.warn(
            f"{statistics.optical.seen_pixels} seen pixels in {len(sample)} windows spread over a "
            "picture are too few to tell its colours: radar makes nothing of it",
            stacklevel=2,
        )
    return statistics


def _refuse_units(sample: list[Cut]) -> None:
    """Raise RequestError where values cannot be reflectance or decibel."""
    optical = np.concatenate([cut.optical.ravel() for cut in sample])
    _refuse_mark("optical", optical, optical.min(initial=0, where=np.isfinite(optical)), below=0)
    if optical.dtype.kind == "f":
        known = optical[np.isfinite(optical)]
        if known.size and np.median(known) > _BRIGHTEST:
            raise RequestError(
                f"half of the optical values are above {_BRIGHTEST:g}; give reflectance, 1 for a "
                "white surface, or whole numbers of scale 1e-4 in an integer type"
            )
    decibel = np.concatenate([cut.radar.ravel() for cut in sample])
    known = decibel[np.isfinite(decibel)]
    if not known.size:
        return
    _refuse_mark("radar", decibel, known.min(), below=_NO_ECHO_DB)
    _refuse_mark("radar", decibel, 0.0)
    if known.min() < _DARKEST_DB:
        raise RequestError(
            f"the radar is {known.min():g} somewhere, which is no decibel; give NaN where it has "
            "no value"
        )
    if np.median(known) >= 0:
        raise RequestError(
            "half of the radar values are not below 0, so they seem to be linear power; give "
            "decibel, 10 * log10(power)"
        )


def _refuse_mark(name: str, values: AnyArray, mark: float, *, below: float = np.inf) -> None:
    """Raise RequestError where a value below ``below`` is too frequent to be measured."""
    share = float(np.mean(values == mark))
    if mark < below and share > _MARK_SHARE:
        scaled = "" if values.dtype.kind == "f" else " * 1e-4"
        raise RequestError(
            f"{share:.0%} of the {name} values are exactly {mark:g}, which seems to stand for "
            f"nothing; give NaN there, with {name}.where({name} != {mark:g}){scaled}"
        )
