"""However reflectance is stored, and wherever that is said, the same reflectance is read."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from cloudfree.core.config import CatalogSettings, GridSettings, MaskSettings, RunSettings
from cloudfree.core.errors import ReadError
from cloudfree.core.types import Unsigned
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.providers import find_sources
from cloudfree.scenes.scene import Step, read_scene
from tests.unit.pixels.test_observe import NoClock

BOX = GeoBox((18, 26), Affine(10, 0, 464640, 0, -10, 3773760), "EPSG:32611")
BANDS = ("B04", "B02")
SETTINGS = RunSettings(
    grid=GridSettings(bands=BANDS), masks=MaskSettings(dilation_m=0, min_area_m2=0)
)
FETCHER = Fetcher(SETTINGS.cube, Unsigned())


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How numbers are stored, and where that is said."""

    dtype: str
    scale: float
    offset: float
    nodata: float
    said_by: str


@st.composite
def ways(draw: st.DrawFn) -> Way:
    """Return a way of storing reflectance."""
    dtype = draw(st.sampled_from(["uint16", "int16", "int32", "uint32", "float32", "float64"]))
    scale = draw(st.sampled_from([1e-4, 5e-5] if "int" in dtype else [1e-4, 0.5, 1.0]))
    offset = draw(st.sampled_from([0.0, -0.1] if scale == 1e-4 else [0.0]))
    marks = {"uint16": [0, 65535], "int16": [0, -999], "int32": [0, -9999], "uint32": [0, 70000]}
    nodata = draw(st.sampled_from(marks.get(dtype, [math.nan, -9999.0])))
    said_by = draw(st.sampled_from(["asset", "raster:bands", "bands", "file"]))
    return Way(dtype=dtype, scale=scale, offset=offset, nodata=nodata, said_by=said_by)


def write_item(folder: Path, way: Way, numbers: np.ndarray, valid: np.ndarray) -> dict[str, Any]:
    """Write reflectance numbers (band, y, x) in a way; return the item.

    ``valid`` is (band, y, x), or (y, x) for every band.
    """
    assets = {}
    in_file = way.said_by == "file"
    valid = np.broadcast_to(valid, numbers.shape)
    for band, layer, known in zip(BANDS, numbers, valid, strict=True):
        stored = (layer * 1e-4 - way.offset) / way.scale
        stored = np.round(stored) if "int" in way.dtype else stored
        stored = np.where(known, stored, way.nodata).astype(way.dtype)
        path = folder / f"{band}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=18, width=26, count=1, dtype=way.dtype,
            crs="EPSG:32611", transform=BOX.affine, nodata=way.nodata if in_file else None,
        ) as file:  # fmt: skip
            file.write(stored, 1)
            if in_file:
                file.scales, file.offsets = [way.scale], [way.offset]
        nodata: Any = "nan" if math.isnan(way.nodata) else way.nodata
        prefix = "raster:" if way.said_by == "bands" else ""
        said = {f"{prefix}scale": way.scale, f"{prefix}offset": way.offset, "nodata": nodata}
        asset: dict[str, Any] = {"href": str(path)}
        if way.said_by == "asset":
            asset |= said
        elif not in_file:
            asset[way.said_by] = [said]
        assets[band] = asset
    return {
        "id": "scene",
        "collection": "sentinel-2-l1c",
        "geometry": shapely.geometry.mapping(shapely.box(*BOX.geographic_extent.boundingbox.bbox)),
        "properties": {"datetime": "2024-06-15T18:00:00Z", "s2:processing_baseline": "05.10"},
        "assets": assets,
    }


def read(item: dict[str, Any]) -> np.ndarray:
    """Return the reflectance numbers that the walk reads of an item."""
    collection = find_sources(CatalogSettings(), "items.json").collections["sentinel-2-l1c"]
    step = Step(
        time=dt.datetime(2024, 6, 15, tzinfo=dt.UTC),
        optical=(read_scene(item, collection),),
        radar=(),
        polarizations=("vv",),
        radar_age_h=None,
    )
    chosen = RunSettings(grid=SETTINGS.grid, masks=SETTINGS.masks)
    return observe(step, BOX, chosen, FETCHER, NoClock())[0].reflectance


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(way=ways(), seed=st.integers(0, 10_000))
def test_the_same_reflectance(way: Way, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(1, 2500, (2, 18, 26))
    valid = (rng.random((18, 26)) < 0.8) & (rng.random((2, 18, 26)) < 0.95)
    item = write_item(tmp_path, way, numbers, valid)
    # a stored 0 may be dark ground, where nothing else is said and no offset is carried: files say
    # theirs to the reader only, the walk takes that of the baseline
    is_dark = way.nodata == 0 and way.offset == 0 and way.said_by != "file"
    shown = valid.any(axis=0) if is_dark else valid.all(axis=0)
    np.testing.assert_array_equal(read(item), np.where(shown, np.where(valid, numbers, 1), 0))


def test_reflectance_without_a_scale_is_what_it_says(tmp_path: Path) -> None:
    way = Way(dtype="float32", scale=1.0, offset=0.0, nodata=math.nan, said_by="file")
    numbers = np.random.default_rng(1).integers(1, 2500, (2, 18, 26))
    item = write_item(tmp_path, way, numbers, np.ones((18, 26), bool))
    # whatever the baseline says: floating-point reflectance carries no offset
    np.testing.assert_array_equal(read(item), numbers)


def test_negative_and_wrapped_numbers_are_the_darkest_ground(tmp_path: Path) -> None:
    numbers = np.random.default_rng(2).integers(1, 2500, (2, 18, 26))
    valid = np.ones((18, 26), bool)
    signed = Way(dtype="int16", scale=1e-4, offset=0.0, nodata=-999, said_by="asset")
    item = write_item(tmp_path, signed, numbers - 300, valid)
    expected = np.maximum(numbers - 300, 1)
    np.testing.assert_array_equal(read(item), expected)
    wrapped = Way(dtype="uint16", scale=1e-4, offset=0.0, nodata=0, said_by="asset")
    item = write_item(tmp_path, wrapped, (numbers - 300) % 65536, valid)
    numbers_0 = numbers - 300 == 0  # stored as 0 in one band: dark, since no offset is carried
    np.testing.assert_array_equal(read(item)[~numbers_0], expected[~numbers_0])


def test_one_band_of_nothing_ends_a_strip_where_numbers_carry_an_offset(tmp_path: Path) -> None:
    numbers = np.random.default_rng(3).integers(1, 2500, (2, 18, 26))
    way = Way(dtype="uint16", scale=1e-4, offset=-0.1, nodata=0, said_by="asset")
    item = write_item(tmp_path, way, numbers, np.ones((18, 26), bool))
    with rasterio.open(tmp_path / "B02.tif", "r+") as file:
        stored = file.read(1)
        stored[:, :4] = 0
        file.write(stored, 1)
    expected = numbers.copy()
    expected[:, :, :4] = 0
    np.testing.assert_array_equal(read(item), expected)


def test_eight_bits_without_a_scale_are_refused(tmp_path: Path) -> None:
    way = Way(dtype="uint8", scale=1e-3, offset=0.0, nodata=0, said_by="asset")
    numbers = np.random.default_rng(4).integers(1, 200, (2, 18, 26)) * 10
    valid = np.ones((18, 26), bool)
    np.testing.assert_array_equal(read(write_item(tmp_path, way, numbers, valid)), numbers)
    item = write_item(tmp_path, way, numbers, valid)
    for asset in item["assets"].values():
        del asset["scale"]
    with pytest.raises(ReadError, match=r"B0[24] of scene scene at .*8 bits without a scale"):
        read(item)
