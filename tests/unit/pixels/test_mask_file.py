"""A user's own mask: read at exact pixel centres, and refused in one line where it is none."""

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from cloudfree.core.errors import MaskError
from cloudfree.core.types import UInt8Array
from cloudfree.geometry.grid import GridPlan
from cloudfree.pixels.mask_file import check_mask, fingerprint, read_mask
from cloudfree.pixels.masks import DRAWN_HIDDEN, DRAWN_SEEN, DRAWN_UNKNOWN

LEFT, TOP = 613020.0, 5343000.0
BOX = GeoBox((90, 130), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32632")
TO_DEGREES = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
GRID = GridPlan(
    geobox=BOX,
    area=shapely.box(LEFT + 50, TOP - 850, LEFT + 1200, TOP - 50),
    chunk_px=256,
    halo_px=0,
)
RNG = np.random.default_rng(11)


def centres() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(LEFT + 10 * np.arange(130) + 5, TOP - 10 * np.arange(90) - 5)
    return TO_DEGREES.transform(x, y)


def save(path: Path, pixels: np.ndarray, affine: Affine, crs: str | None, **more: object) -> Path:
    layers = pixels if pixels.ndim == 3 else pixels[None]
    with rasterio.open(
        path, "w", driver="GTiff", count=len(layers), height=layers.shape[1],
        width=layers.shape[2], dtype=layers.dtype, transform=affine, crs=crs, **more,
    ) as file:  # fmt: skip
        file.write(layers)
    return path


def in_degrees(path: Path, pixels: np.ndarray, **more: object) -> tuple[Path, UInt8Array]:
    """Write a raster in degrees that ends inside the grid; return where its pixels lie in it."""
    lon, lat = centres()
    step = 0.0002
    affine = Affine(step, 0, lon.min() + 0.001, 0, -step, lat.max() - 0.001)
    save(path, pixels, affine, "EPSG:4326", **more)
    cols = np.floor((lon - affine.c) / step).astype(int)
    rows = np.floor((lat - affine.f) / -step).astype(int)
    inside = (rows >= 0) & (rows < pixels.shape[0]) & (cols >= 0) & (cols < pixels.shape[1])
    return path, np.where(inside, rows * pixels.shape[1] + cols, -1)


def test_a_raster_in_degrees_is_read_at_every_centre(tmp_path: Path) -> None:
    pixels = RNG.choice([0, 1, 7, 255], (30, 60)).astype(np.uint8)
    path, where = in_degrees(tmp_path / "m.tif", pixels, nodata=255)
    meant = np.select([pixels == 255, pixels != 0], [DRAWN_UNKNOWN, DRAWN_HIDDEN], DRAWN_SEEN)
    expected = np.where(where < 0, DRAWN_UNKNOWN, meant.ravel()[where])
    assert (where < 0).any()
    np.testing.assert_array_equal(read_mask(path, BOX), expected)
    cut = read_mask(path, BOX[37:81, 22:99])
    np.testing.assert_array_equal(cut, expected[37:81, 22:99])


def test_not_a_number_and_fractions(tmp_path: Path) -> None:
    pixels = np.array([[0, 0.3, np.nan], [-1, 0, 1]], np.float32)
    path = save(tmp_path / "m.tif", pixels, BOX.affine, "EPSG:32632")
    expected = [[DRAWN_SEEN, DRAWN_HIDDEN, DRAWN_UNKNOWN], [DRAWN_HIDDEN, DRAWN_SEEN, DRAWN_HIDDEN]]
    np.testing.assert_array_equal(read_mask(path, BOX[:2, :3]), expected)
    assert (read_mask(path, BOX[40:50, 40:50]) == DRAWN_UNKNOWN).all()


def polygons(path: Path, *parts: shapely.Polygon) -> Path:
    features = [
        {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(part))}
        for part in parts
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_polygons_hide_the_centres_inside_and_show_the_rest(tmp_path: Path) -> None:
    lon, lat = centres()
    west, south = lon.min(), lat.min()
    one = shapely.Polygon([(west + 0.002, south + 0.001), (west + 0.009, south + 0.002),
                           (west + 0.004, south + 0.006)])  # fmt: skip
    two = shapely.box(west + 0.012, south + 0.003, west + 0.0141, south + 0.0052)
    far = shapely.box(west + 2, south + 2, west + 2.1, south + 2.1)
    path = polygons(tmp_path / "m.geojson", one, two, far)
    drawn = read_mask(path, BOX)
    expected = shapely.contains_xy(shapely.union_all([one, two]), lon, lat)
    assert 0.05 < expected.mean() < 0.5
    np.testing.assert_array_equal(drawn, np.where(expected, DRAWN_HIDDEN, DRAWN_SEEN))
    np.testing.assert_array_equal(read_mask(path, BOX[13:70, 31:77]), drawn[13:70, 31:77])
    check_mask(path, GRID)


def test_a_content_has_one_fingerprint(tmp_path: Path) -> None:
    one, two, other = tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.tif"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    other.write_bytes(b"else")
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)


ONES = np.ones((5, 8), np.uint8)
POINT = '{"type": "Point", "coordinates": [10.5, 48.2]}'


@pytest.mark.parametrize(
    ("name", "pixels", "crs", "shift", "hint"),
    [
        ("m.tif", np.ones((2, 5, 8), np.uint8), "EPSG:32632", 0, "2 bands"),
        ("m.tif", ONES, None, 0, "no CRS"),
        ("m.tif", ONES, "EPSG:32632", 90_000, "does not touch the area"),
        ("m.tif", ONES, "EPSG:32633", 0, "does not touch the area"),
        ("m.geojson", POINT, None, 0, "a Point"),
        ("m.json", "{", None, 0, "not JSON"),
        ("m.tif", "nothing", None, 0, "no raster"),
        ("m.tif", None, None, 0, "cannot read the mask"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(
    tmp_path: Path,
    name: str,
    pixels: np.ndarray | str | None,
    crs: str | None,
    shift: float,
    hint: str,
) -> None:
    path = tmp_path / name
    if isinstance(pixels, str):
        path.write_text(pixels)
    elif pixels is not None:
        save(path, pixels, Affine(100, 0, LEFT + shift, 0, -100, TOP), crs)
    with pytest.raises(MaskError, match=hint) as caught:
        check_mask(path, GRID)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
