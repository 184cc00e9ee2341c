"""A user's own arrays, checked and laid out alike: pictures, radar and mask on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  # arrays get .rio
import xarray as xr
from dask.delayed import delayed
from odc.geo.crs import CRS
from pyproj.exceptions import CRSError

from cloudfree.core.bands import BANDS, REFLECTANCE_SCALE
from cloudfree.core.config import SceneSettings
from cloudfree.core.contract import Contract
from cloudfree.core.errors import RequestError
from cloudfree.core.types import AnyArray, BoolArray, Float32Array, UInt16Array

_SLACK = 0.01
"""Of a pixel: coordinates are written with so many digits."""
_LARGEST = np.iinfo(np.uint16).max
_RADAR_REACH = np.timedelta64(int(SceneSettings().sar_days * 24), "h")
"""As far as a run looks for radar."""
_SAME_OVERPASS = np.timedelta64(15, "m")
"""Items name the start, the middle or the tile's own moment of an acquisition."""


class Look(NamedTuple):
    """What a part of one time shows."""

    optical: AnyArray
    """(band, y, x), as given."""
    hidden: BoolArray
    """(y, x)."""

    def pad(self, beyond: tuple[tuple[int, int], tuple[int, int]]) -> Look:
        """Return it with so many rows and columns of nothing around."""
        nothing = nodata_of(self.optical)
        return Look(
            np.pad(self.optical, ((0, 0), *beyond), constant_values=nothing),
            np.pad(self.hidden, beyond),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A part of one time."""

    optical: AnyArray
    """(band, y, x), as given."""
    radar: Float32Array
    """(channel, y, x) in decibel."""
    hidden: BoolArray
    """(y, x)."""

    @property
    def nodata(self) -> float:
        """What stands in the optical picture where there is nothing."""
        return nodata_of(self.optical)

    def pad(self, beyond: tuple[tuple[int, int], tuple[int, int]]) -> Cut:
        """Return it with so many rows and columns of nothing around."""
        channels = ((0, 0), *beyond)
        return Cut(
            optical=np.pad(self.optical, channels, constant_values=self.nodata),
            radar=np.pad(self.radar, channels, constant_values=np.nan),
            hidden=np.pad(self.hidden, beyond),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The user's arrays as Dask arrays, their dimensions in one order, as many times in each."""

    optical: da.Array
    """(time, band, y, x)."""
    radar: da.Array
    """(time, channel, y, x); the channels that the model takes."""
    hidden: da.Array
    """(time, y, x)."""
    bands: tuple[str, ...]
    """Product names, in the order of the optical picture."""
    origin: tuple[int, int]
    """Absolute row and column of the first pixel, counted from coordinate (0, 0)."""
    times: AnyArray | None
    """(time,) datetime64; None where the optical picture does not say when it was taken."""

    @property
    def steps(self) -> int:
        """How many times there are."""
        return int(self.optical.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.optical.shape[-2]), int(self.optical.shape[-1])

    @property
    def dtype(self) -> Any:
        """Type of the optical values."""
        return self.optical.dtype

    def cut(self, step: int, y: slice, x: slice) -> Any:
        """Return a part of one time as a delayed Cut."""
        return delayed(Cut)(
            optical=self.optical[step, :, y, x],
            radar=self.radar[step, :, y, x],
            hidden=self.hidden[step, y, x],
        )

    def look(self, step: int, y: slice, x: slice) -> Any:
        """Return a part of one time as a delayed Look."""
        return delayed(Look)(self.optical[step, :, y, x], self.hidden[step, y, x])


def nodata_of(optical: AnyArray) -> float:
    """Return what stands in an optical picture where there is nothing."""
    return np.nan if optical.dtype.kind == "f" else 0


def to_numbers(optical: AnyArray) -> tuple[UInt16Array, BoolArray]:
    """Return (band, y, x) as reflectance numbers, at least 1 where (y, x) says that they are known.

    They are 0 elsewhere.
    """
    known = (optical != 0).any(axis=0)
    numbers = optical
    if optical.dtype.kind == "f":
        known &= np.isfinite(optical).all(axis=0)
        numbers = np.rint(np.where(known, optical, 0) / REFLECTANCE_SCALE)
    return np.where(known, np.clip(numbers, 1, _LARGEST), 0).astype(np.uint16), known


def read_layers(
    optical: xr.DataArray, radar: xr.DataArray, mask: xr.DataArray, contract: Contract
) -> Layers:
    """Return the arrays of ``restore_cube`` laid out for a model; computes nothing.

    Raises RequestError of one line where they are not what it needs.
    """
    given = {"optical": optical, "radar": radar, "mask": mask}
    for name, array in given.items():
        if not isinstance(array, xr.DataArray):
            cure = f", such as {name}.to_array('band')" if isinstance(array, xr.Dataset) else ""
            raise RequestError(
                f"{name} is a {type(array).__name__}; give an xarray.DataArray{cure}"
            )
    _check_dims("optical", optical, needed={"band", "y", "x"}, known={"time"})
    channel = next((dim for dim in radar.dims if dim not in ("time", "y", "x")), None)
    known = {"time"} if channel is None else {"time", str(channel)}
    _check_dims("radar", radar, needed={"y", "x"}, known=known)
    _check_dims("mask", mask, needed={"y", "x"}, known={"time"})
    if mask.dtype != bool:
        raise RequestError(
            f"mask is of type {mask.dtype}; give bool, True where cloud hides: mask != 0, or "
            "mask.isin([3, 8, 9, 10]) for scene classes"
        )
    if radar.dtype.kind != "f":
        raise RequestError(f"radar is of type {radar.dtype}; give decibel as floats")
    _check_numbers(optical)
    for name in ("radar", "mask"):
        _check_alike(optical, given[name], name)
    chosen = _choose_channels(radar, channel, contract)
    return Layers(
        optical=_lay_out(optical, "band"),
        radar=_lay_out(_at_times(optical, chosen, "radar", _RADAR_REACH), channel or "channel"),
        hidden=_lay_out(_at_times(optical, mask, "mask", _SAME_OVERPASS), "channel")[:, 0],
        bands=_read_bands(optical, contract),
        origin=(_first_px(optical, "y"), _first_px(optical, "x")),
        times=_times(optical, "optical")
        if "time" in optical.dims and "time" in optical.coords
        else None,
    )


def _check_dims(name: str, array: xr.DataArray, *, needed: set[str], known: set[str]) -> None:
    dims = {str(dim) for dim in array.dims}
    if not needed <= dims or not dims <= needed | known:
        raise RequestError(
            f"{name} has dimensions {', '.join(map(str, array.dims))}; give "
            f"{', '.join(sorted(needed))} and, if you like, time"
        )


def _check_numbers(optical: xr.DataArray) -> None:
    """Raise RequestError where the optical picture has no nodata value that can be told."""
    if optical.dtype.kind == "f":
        return
    if optical.dtype.kind not in "iu":
        raise RequestError(f"optical is of type {optical.dtype}; give floats or whole numbers")
    for facts in (optical.attrs, optical.encoding):
        for key in ("_FillValue", "missing_value", "nodata"):
            if facts.get(key, 0) != 0:
                raise RequestError(
                    f"optical says {key} {facts[key]}; whole numbers have nodata 0. Give floats "
                    f"with NaN: optical.where(optical != {facts[key]}) * 1e-4"
                )


def _check_alike(optical: xr.DataArray, other: xr.DataArray, name: str) -> None:
    """Raise RequestError where another array does not lie on the grid and times of the optical."""
    for dim in ("y", "x"):
        ours, theirs = _centres(optical, dim), _centres(other, dim)
        step = abs(ours[1] - ours[0])
        if len(ours) != len(theirs) or np.abs(ours - theirs).max() > _SLACK * step:
            raise RequestError(
                f"{name} lies on other {dim} than the optical picture ({len(theirs)} from "
                f"{theirs[0]:.10g}, not {len(ours)} from {ours[0]:.10g}); bring it onto that grid"
            )
    systems = _crs_of(optical), _crs_of(other)
    if None not in systems and systems[0] != systems[1]:
        raise RequestError(
            f"{name} is in {systems[1]} and the optical picture in {systems[0]}; bring it onto "
            "that grid"
        )


def _crs_of(array: xr.DataArray) -> CRS | None:
    """Return the CRS that an array names, as rioxarray, odc-stac or stackstac write it."""
    named = array.rio.crs or array.attrs.get("crs") or array.coords.get("epsg")
    try:
        return None if named is None else CRS(str(getattr(named, "values", named)))
    except (CRSError, ValueError):
        return None


def _at_times(
    optical: xr.DataArray, other: xr.DataArray, name: str, reach: np.timedelta64
) -> xr.DataArray:
    """Return an array with the times of the optical picture: of its own the nearest in reach.

    Without ``time`` it serves each. Where times have no coordinates they belong together in order.
    False and NaN stand where nothing is in reach.
    """
    steps = optical.sizes.get("time", 1)
    if "time" not in other.dims:
        return other if "time" not in optical.dims else other.expand_dims(time=steps)
    count = other.sizes["time"]
    if "time" not in optical.dims or not {"time"} <= optical.coords.keys() & other.coords.keys():
        if count != steps:
            raise RequestError(
                f"{name} has {count} times and the optical picture {steps}, and not both say when; "
                "give coordinates time, one for each, or one without time for all"
            )
        return other
    ours, theirs = (_times(array, name) for array, name in ((optical, "optical"), (other, name)))
    if count == steps and (ours == theirs).all():
        return other
    far = np.abs(ours[:, None] - theirs[None, :])
    nearest, is_near = far.argmin(axis=1), far.min(axis=1) <= reach
    if not is_near.any():
        raise RequestError(
            f"no time of {name} lies within {_in_words(reach)} of one of the optical picture "
            f"({_day(theirs[0])} to {_day(theirs[-1])}, not {_day(ours[0])} to {_day(ours[-1])})"
        )
    there = xr.DataArray(is_near, dims="time")
    paired = other.drop_vars("time").isel(time=nearest)
    return paired.where(there) if paired.dtype.kind == "f" else paired & there


def _times(array: xr.DataArray, name: str) -> AnyArray:
    times = array["time"].to_numpy()
    if times.dtype.kind != "M":
        raise RequestError(f"the times of {name} are {times.dtype}; give dates (datetime64)")
    return times.astype("datetime64[s]")


def _in_words(reach: np.timedelta64) -> str:
    days, minutes = reach / np.timedelta64(1, "D"), reach / np.timedelta64(1, "m")
    return f"{days:g} days" if days >= 1 else f"{minutes:g} minutes"


def _day(moment: Any) -> str:
    return str(moment.astype("datetime64[D]"))


def _centres(array: xr.DataArray, dim: str) -> AnyArray:
    """Return the coordinates of an axis, in floats."""
    if dim not in array.coords or array.sizes[dim] < 2:
        raise RequestError(
            f"{array.name or 'an array'} has no coordinates {dim}; give pixel centres"
        )
    return array[dim].to_numpy().astype(np.float64)


def _first_px(optical: xr.DataArray, dim: str) -> int:
    """Return the absolute index of the first pixel; RequestError for an irregular axis."""
    centres = _centres(optical, dim)
    side = float(np.median(np.abs(np.diff(_centres(optical, "x")))))
    step = -side if dim == "y" else side
    if side == 0 or np.abs(np.diff(centres) - step).max() > _SLACK * side:
        raise RequestError(
            f"{dim} does not {'fall' if dim == 'y' else 'rise'} evenly by {side:g}; give a grid of "
            "square pixels, y falling and x rising"
        )
    return int(np.floor((centres[0] - step / 2) / step + 0.5))


def _read_bands(optical: xr.DataArray, contract: Contract) -> tuple[str, ...]:
    """Return the product names of the bands; RequestError where the model does not restore them."""
    if "band" not in optical.coords:
        raise RequestError("optical has no coordinate band; name its bands, such as B04 or red")
    names = {band.common_name: name for name, band in BANDS.items()}
    given = [str(name) for name in optical["band"].to_numpy()]
    bands = tuple(names.get(name.lower(), name.upper()) for name in given)
    unknown = [name for name, band in zip(given, bands, strict=True) if band not in BANDS]
    if unknown or len(set(bands)) < len(bands):
        raise RequestError(
            f"bands are {', '.join(given)}; give different ones of {', '.join(BANDS)}, or their "
            "common names"
        )
    if contract.bands and set(contract.bands) != set(bands):
        raise RequestError(
            f"model {contract.name} restores bands {', '.join(contract.bands)}; the cube has "
            f"{', '.join(given)}. Select these, or take model baseline"
        )
    return bands


def _choose_channels(radar: xr.DataArray, channel: Any, contract: Contract) -> xr.DataArray:
    """Return the radar with the channels that the model takes, in its order."""
    if channel is None:
        if contract.radar_channels > 1:
            raise RequestError(
                f"model {contract.name} takes {contract.radar_wanted}; give radar with a dimension "
                "that names them"
            )
        return radar
    names = [str(name).lower() for name in radar[channel].to_numpy()]
    chosen = contract.choose_polarizations(names)
    if chosen is None or len(set(names)) < len(names):
        raise RequestError(
            f"radar has {channel} {', '.join(names)}; model {contract.name} takes "
            f"{contract.radar_wanted}"
        )
    return radar.isel({channel: [names.index(name) for name in chosen]})


def _lay_out(array: xr.DataArray, channel: Any) -> da.Array:
    """Return (time, channel, y, x) as a Dask array, with new axes where dimensions are missing."""
    new = [dim for dim in ("time", channel) if dim not in array.dims]
    laid = array.expand_dims(new).transpose("time", channel, "y", "x")
    lazy: da.Array = laid.chunk().data
    return lazy
