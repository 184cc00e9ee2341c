"""A synthetic but plausible pair of Sentinel-1 and Sentinel-2 scenes, as COGs with STAC items."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage

from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.scenes.harmonisation import SINCE_0400_DN
from cloudfree.synthetic.items import (
    BANDS,
    CLOUDS,
    EPSG,
    NORTH_M,
    POLARISATIONS,
    SWATH,
    WEST_M,
    Corners,
    describe_optical,
    describe_radar,
    enclose,
    locate,
)
from cloudfree.synthetic.landscape import (
    CLOUD_SHARE,
    LOOK,
    Array,
    Day,
    Landscape,
    Shape,
    paint_days,
)
from cloudfree.synthetic.seasons import lay_snow, look_near, look_on

_DATE = "2024-06-15"
YEAR = tuple(str(dt.date(2024, 1, 11) + dt.timedelta(days=24 * step)) for step in range(15))
"""Days on which a satellite passed over."""
_CHANGED_A_DAY = 0.004
"""Share of the parcels that are mown, ploughed, sown or ripe from one day to the next."""
_VEGETATION, _BARE_SOIL, _SNOW = 4, 5, 11
"""Classes of Sentinel-2's scene classification."""
_AREA: Corners = ((0.10, 0.35), (0.35, 0.95), (0.97, 0.80), (0.86, 0.14), (0.42, 0.06))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Another day on which the optical satellite passed over, and what its scene shows."""

    days: int
    """From the day of the scenes; negative before it, never 0."""
    cloud_share: float = CLOUD_SHARE
    """Of the picture."""
    gain: float = 1.0
    """Factor on the stored numbers."""
    offset_dn: float = 0.0
    """Added to the stored numbers times `gain`."""
    cloud_missed: bool = False
    """Whether the classification takes the largest cloud for vegetation."""
    snow: bool = False
    """Whether snow lies on all but water; the classification knows it."""
    radar: bool = False
    """Whether the radar passed over on the evening before, in the orbit that it has otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticScenes:
    """Where a written pair of scenes lies."""

    items: Path
    """ItemCollection; its asset links are relative to it."""
    aoi: Path
    """GeoJSON polygon in lon/lat over clouds, river, town and a bit of the nodata wedge."""
    date: str
    """Day of the optical scene; the radar is of the evening before."""
    truth: Path
    """The optical scene as it would be without clouds: the same bands, numbers and nodata.

    Farther than 60 m from the edge and from what SCL calls cloud or shadow the two are equal;
    nearer, some thin edges escape SCL, as in real scenes.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticYear:
    """Where the scenes of a place through the year lie."""

    items: Path
    """ItemCollection; its asset links are relative to it."""
    aoi: Path
    """GeoJSON polygon in lon/lat, as of SyntheticScenes."""
    truths: dict[str, Path]
    """Day -> the optical scene of that day as it would be without clouds."""

    @property
    def interval(self) -> str:
        """From the first day to the last."""
        return f"{min(self.truths)}/{max(self.truths)}"


def write_scenes(
    folder: Path,
    *,
    seed: int = 0,
    size_px: int = 1536,
    cloud_share: float = CLOUD_SHARE,
    passes: Sequence[Pass] = (),
) -> SyntheticScenes:
    """Write both scenes, their items, an area and the clear truth into `folder`; say where.

    The scenes are `size_px` wide and three quarters of it high, 10 m a pixel. Optical: uint16,
    reflectance * 10000 + 1000, 0 beyond the edge of the swath. Radar: gamma0 as linear power,
    valid everywhere. Each of `passes` adds an optical scene of another day, with radar if it says
    so, in a folder named by the day: the same place with its crops of that day, some fields mown,
    ploughed, sown or ripe of themselves, under a haze and clouds of its own. Passes change nothing
    in the two scenes, nor does a field of one pass change another. Equal arguments give equal
    pixels.
    ValueError unless `size_px` is a multiple of 32 from 256 and no two passes are of one day.
    """
    shape, date = _shape(size_px), dt.date.fromisoformat(_DATE)
    away = [one.days for one in passes]
    if len({0, *away}) != 1 + len(away):
        raise ValueError(f"passes lie {away} days away; give each a day of its own, not 0.")
    weather = [
        Day(look=LOOK, cloud_share=cloud_share),
        *(_forecast(one, date, seed) for one in passes),
    ]
    lands = paint_days(np.random.default_rng(seed), shape, weather)
    items = _write_pair(folder, "", next(lands), _DATE)
    for one, land in zip(passes, lands, strict=True):
        items += _write_pass(folder, one, land, date + dt.timedelta(days=one.days))
    return SyntheticScenes(
        items=_write_items(folder, items),
        aoi=_write_area(folder, shape),
        date=_DATE,
        truth=folder / "truth.tif",
    )


def write_year(
    folder: Path,
    *,
    seed: int = 0,
    size_px: int = 512,
    days: Sequence[str] = YEAR,
    cloud_share: float | None = None,
) -> SyntheticYear:
    """Write a pair of scenes for each day, of one place whose fields green up and fade.

    Clouds cover ``cloud_share`` of a scene, or, without it, a tenth in summer and more in winter,
    some days far more than others.
    Everything else as in `write_scenes`; files lie in a folder for each day.
    """
    shape, chance = _shape(size_px), np.random.default_rng([seed, 1])
    dates = [dt.date.fromisoformat(day) for day in days]
    weather = [
        Day(
            look=look_on(date),
            cloud_share=_draw_cloud_share(date, chance) if cloud_share is None else cloud_share,
            front=float(chance.uniform(-1, 1)),
        )
        for date in dates
    ]
    items = []
    for day, land in zip(
        days, paint_days(np.random.default_rng(seed), shape, weather), strict=True
    ):
        items += _write_pair(folder, f"{day}/", land, day)
    return SyntheticYear(
        items=_write_items(folder, items),
        aoi=_write_area(folder, shape),
        truths={day: folder / day / "truth.tif" for day in days},
    )


def read_reflectance(folder: Path, cube: xr.Dataset, *, cloudy: bool = False) -> xr.DataArray:
    """Return what a scene in ``folder`` shows of a product: (band, y, x) reflectance, NaN nodata.

    That is the ground as it would be without clouds, or, ``cloudy``, what was observed. Pixels and
    bands are those of the cube, whose grid these scenes lie on.
    """
    names = [f"{band}.tif" for band in BANDS] if cloudy else ["truth.tif"]
    with rasterio.open(folder / names[0]) as first:
        west, north = first.transform.c, first.transform.f
    numbers = np.concatenate([_read(folder / name) for name in names])
    rows = np.rint((north - cube["y"].to_numpy()) / 10 - 0.5).astype(int)
    columns = np.rint((cube["x"].to_numpy() - west) / 10 - 0.5).astype(int)
    chosen = [BANDS.index(str(band)) for band in cube["band"].to_numpy()]
    shown = numbers[np.ix_(chosen, rows, columns)]
    reflectance = np.where(shown == 0, np.nan, (shown + SINCE_0400_DN) * REFLECTANCE_SCALE)
    grid = {name: cube[name] for name in ("band", "y", "x")}
    return xr.DataArray(reflectance, grid, ("band", "y", "x"))


def _read(path: Path) -> Array:
    with rasterio.open(path) as source:
        return np.asarray(source.read(), dtype=np.float64)


def _draw_cloud_share(date: dt.date, chance: np.random.Generator) -> float:
    winter = (1 + np.cos(2 * np.pi * (date.timetuple().tm_yday - 15) / 365)) / 2
    return float(np.clip(0.03 + 0.08 * winter + chance.uniform(-0.03, 0.16), 0.01, 0.5))


def _shape(size_px: int) -> Shape:
    if size_px < 256 or size_px % 32:
        raise ValueError(f"size_px is {size_px}; give a multiple of 32 from 256.")
    return size_px * 3 // 4, size_px


def _forecast(one: Pass, date: dt.date, seed: int) -> Day:
    """Return what a pass paints; `date` is that of the scenes."""
    day = date + dt.timedelta(days=one.days)
    chance, look = np.random.default_rng([seed, day.toordinal()]), look_near(day, date)
    return Day(
        look=lay_snow(look) if one.snow else look,
        cloud_share=one.cloud_share,
        front=float(chance.uniform(-1, 1)),
        changed=_CHANGED_A_DAY * one.days,
        haze=float(chance.uniform(0, 0.012)),
        radar=one.radar,
        speckle=int(chance.integers(2**31)),
    )


def _write_pair(folder: Path, prefix: str, land: Landscape, date: str) -> list[dict[str, Any]]:
    """Write the files of one day to ``folder/prefix``; return the items of both scenes."""
    shape, day = land.clear.shape[1:], dt.date.fromisoformat(date)
    optical = _write_optical(folder, prefix, _to_numbers(land.cloudy), land.classes, day)
    truth = np.where(_fill(SWATH, shape), _to_numbers(land.clear), 0)
    _write_cog(folder / prefix / "truth.tif", truth)
    return [optical, _write_radar(folder, prefix, land, day)]


def _write_pass(folder: Path, one: Pass, land: Landscape, day: dt.date) -> list[dict[str, Any]]:
    """Write what a pass saw to a folder named by its day; return the items."""
    classes = land.classes
    if one.cloud_missed:
        clouds, _ = ndimage.label(np.isin(classes, CLOUDS))
        sizes = np.bincount(clouds.ravel())
        sizes[0] = 0  # what is no cloud
        classes = np.where((clouds > 0) & (clouds == sizes.argmax()), _VEGETATION, classes)
    if one.snow:
        classes = np.where(np.isin(classes, (_VEGETATION, _BARE_SOIL)), _SNOW, classes)
    numbers = _to_numbers(land.cloudy, one.gain, one.offset_dn)
    optical = _write_optical(folder, f"{day}/", numbers, classes, day)
    return [optical, _write_radar(folder, f"{day}/", land, day)] if one.radar else [optical]


def _write_optical(
    folder: Path, prefix: str, numbers: Array, classes: Array, day: dt.date
) -> dict[str, Any]:
    """Write bands and classes to ``folder/prefix``; return the item."""
    shape = numbers.shape[1:]
    valid = _fill(SWATH, shape)
    scl = np.where(valid[::2, ::2], classes, 0).astype(np.uint8)
    place = folder / prefix
    place.mkdir(parents=True, exist_ok=True)
    _write_cog(place / "SCL.tif", scl[None], pixel_m=20.0)
    for name, band in zip(BANDS, numbers, strict=True):
        _write_cog(place / f"{name}.tif", np.where(valid, band, 0)[None])
    return describe_optical(shape, scl, day, prefix)


def _write_radar(folder: Path, prefix: str, land: Landscape, day: dt.date) -> dict[str, Any]:
    """Write both channels to ``folder/prefix``; return the item."""
    for name, power in zip(POLARISATIONS, land.power, strict=True):
        _write_cog(folder / prefix / f"{name}.tif", power[None])
    return describe_radar(land.power.shape[1:], day, prefix)


def _write_items(folder: Path, items: list[dict[str, Any]]) -> Path:
    collection = {"type": "FeatureCollection", "features": items}
    file = folder / "items.json"
    file.write_text(json.dumps(collection, indent=1), encoding="utf-8")
    return file


def _write_area(folder: Path, shape: Shape) -> Path:
    area = {"type": "Feature", "properties": {}, "geometry": locate(_AREA, shape)}
    file = folder / "aoi.geojson"
    file.write_text(json.dumps(area), encoding="utf-8")
    return file


def _to_numbers(reflectance: Array, gain: float = 1.0, offset_dn: float = 0.0) -> Array:
    """Digital numbers as since processing baseline 04.00; never 0, which is nodata."""
    numbers = gain * (10_000 * reflectance + 1000) + offset_dn
    return np.asarray(np.rint(numbers).clip(1, 65535), dtype=np.uint16)


def _fill(outline: Corners, shape: Shape) -> Array:
    """Pixels inside an outline, in blocks of 2 x 2 so that 10 m and 20 m agree."""
    polygon = enclose([(column * shape[1], row * shape[0]) for column, row in outline])
    blocks = rasterize([polygon], (shape[0] // 2, shape[1] // 2), transform=Affine.scale(2))
    return np.asarray(blocks, dtype=bool).repeat(2, 0).repeat(2, 1)


def _write_cog(path: Path, pixels: Array, *, pixel_m: float = 10.0) -> None:
    profile = {
        "driver": "COG",
        "dtype": pixels.dtype,
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "crs": f"EPSG:{EPSG}",
        "transform": Affine(pixel_m, 0, WEST_M, 0, -pixel_m, NORTH_M),
        "nodata": -32768.0 if pixels.dtype == np.float32 else 0,
        "compress": "DEFLATE",
        "level": 1,
        "predictor": "YES",
        "blocksize": 512,
        "overview_resampling": "nearest" if pixels.dtype == np.uint8 else "average",
        "num_threads": "ALL_CPUS",
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)
