"""A user's own mask: read at exact pixel centres, and refused in one line where it is none."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.enums import ColorInterp

from cloudfree.core.errors import MaskError
from cloudfree.core.types import UInt8Array
from cloudfree.geometry.grid import GridPlan
from cloudfree.pixels.mask_file import check_mask, fingerprint, read_mask, turned_round
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
        ("m.tif", "nothing", None, 0, "no raster that GDAL reads, nor polygons"),
        ("m.png", "\x89PNG nothing", None, 0, "no raster that GDAL reads, nor polygons"),
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


def here(pixels: np.ndarray, path: Path, **more: object) -> Path:
    """Save a mask over the whole grid."""
    whole = np.zeros((90, 130), pixels.dtype)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return save(path, whole, BOX.affine, "EPSG:32632", **more)


PERCENT = RNG.integers(0, 101, (80, 120)).astype(np.uint8)
SCL = RNG.choice([3, 4, 5, 8, 9], (90, 130)).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "nodata", "hint"),
    [
        (PERCENT, None, "many values from 0 to 100; .*probability; .*> \\(read 1\\) 50"),
        (PERCENT, 255, "many values from 0 to 100"),
        ((PERCENT / 100).astype(np.float32), None, "many values from 0 to 1; .*1\\) 0.5\\)"),
        (PERCENT * 2.55 // 1, None, "many values from 0 to 25.*127.5"),
        (SCL, None, "5 values .3, 4, 5, 8, 9.; .*classification .SCL., leave --mask away"),
        (SCL, 0, "5 values .3, 4, 5, 8, 9."),
        (SCL * 10, None, "5 values .30, 40, 50, 80, 90.; .*like classes. Hide one"),
        (SCL // 8 + 1, None, "2 values .1, 2."),
        (np.full((90, 130), 9, np.uint8), 9, "says nothing of the area: all of it is nodata"),
        (np.full((90, 130), np.nan, np.float32), None, "says nothing of the area"),
    ],
)
def test_values_that_are_not_those_of_a_mask_are_named(
    tmp_path: Path, pixels: np.ndarray, nodata: float | None, hint: str
) -> None:
    path = here(pixels, tmp_path / "m.tif", nodata=nodata)
    with pytest.raises(MaskError, match=hint) as caught:
        check_mask(path, GRID)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def cure(path: Path) -> str:
    """Return the command in what check_mask says of a file."""
    with pytest.raises(MaskError) as caught:
        check_mask(path, GRID)
    return re.search(r": (rio .*)$", str(caught.value))[1]


def do(command: str, folder: Path) -> None:
    program, *arguments = shlex.split(command)
    rio = Path(sys.executable).parent / program
    subprocess.run([rio, *arguments], cwd=folder, check=True, timeout=120)


@pytest.mark.parametrize(
    ("pixels", "nodata", "hidden"),
    [
        (PERCENT, None, PERCENT > 50),
        ((PERCENT / 100).astype(np.float32), 1, (PERCENT > 50) & (PERCENT != 100)),
        (SCL, 0, SCL == 9),
    ],
)
def test_the_cure_works_as_it_is_printed(
    tmp_path: Path, pixels: np.ndarray, nodata: float | None, hidden: np.ndarray
) -> None:
    path = here(pixels, tmp_path / "my cloud's.tif", nodata=nodata)
    do(cure(path), tmp_path)
    assert check_mask(tmp_path / "mask.tif", GRID) == ()
    drawn = read_mask(tmp_path / "mask.tif", BOX)[: hidden.shape[0], : hidden.shape[1]]
    np.testing.assert_array_equal(drawn == DRAWN_HIDDEN, hidden)


def test_the_cure_of_a_missing_crs(tmp_path: Path) -> None:
    bare = save(tmp_path / "bare.tif", ONES, Affine(100, 0, LEFT, 0, -100, TOP), None)
    do(cure(bare), tmp_path)
    assert check_mask(bare, GRID) == ()


def test_what_shows_the_ground_is_turned_round_by_a_command(tmp_path: Path) -> None:
    shown = (PERCENT > 20).astype(np.uint8)
    path = here(shown, tmp_path / "shown.tif")
    command = turned_round(path)
    assert command is not None
    do(command, tmp_path)
    drawn = read_mask(tmp_path / "mask.tif", BOX)[:80, :120]
    np.testing.assert_array_equal(drawn == DRAWN_HIDDEN, shown == 0)
    assert turned_round(polygons(tmp_path / "m.geojson")) is None


@pytest.mark.parametrize("value", [1, 9, 255])
def test_two_values_are_a_mask_whatever_the_other_one_is(tmp_path: Path, value: int) -> None:
    pixels = ((PERCENT > 60) * value).astype(np.uint8)
    path = here(pixels, tmp_path / "m.tif")
    assert check_mask(path, GRID) == ()
    drawn = read_mask(path, BOX)[:80, :120]
    np.testing.assert_array_equal(drawn, np.where(PERCENT > 60, DRAWN_HIDDEN, DRAWN_SEEN))


def test_a_mask_of_nothing_but_0_is_that_of_a_day_without_cloud(tmp_path: Path) -> None:
    nothing = np.zeros((90, 130), np.uint8)
    for nodata, remarks in ((None, 0), (255, 0), (0, 1)):
        path = here(nothing, tmp_path / f"{nodata}.tif", nodata=nodata)
        said = check_mask(path, GRID)
        assert len(said) == remarks
        assert all("so that it hides nothing of the area" in one for one in said)
        assert (read_mask(path, BOX)[:90, :130] == DRAWN_SEEN).all()


def test_nodata_0_of_a_mask_is_ground_that_is_seen_and_that_is_said(tmp_path: Path) -> None:
    pixels = (PERCENT > 60).astype(np.uint8)
    path = here(pixels, tmp_path / "m.tif", nodata=0)
    (remark,) = check_mask(path, GRID)
    assert "declares 0 to be nodata" in remark
    np.testing.assert_array_equal(
        read_mask(path, BOX), read_mask(here(pixels, tmp_path / "same.tif"), BOX)
    )


def test_a_rare_third_value_is_found(tmp_path: Path) -> None:
    pixels = (PERCENT > 60).astype(np.uint8)
    pixels[61, 44] = 7
    with pytest.raises(MaskError, match=r"3 values \(0, 1, 7\)"):
        check_mask(here(pixels, tmp_path / "m.tif"), GRID)


def test_what_a_mask_holds_elsewhere_does_not_matter(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400), np.uint8)
    pixels[:90, :130] = 1
    pixels[300:, 300:] = RNG.integers(0, 100, (100, 100))
    path = save(tmp_path / "m.tif", pixels, BOX.affine, "EPSG:32632")
    assert check_mask(path, GRID) == ()


def test_an_alpha_band_says_what_is_known(tmp_path: Path) -> None:
    pixels = np.stack([(PERCENT > 60).astype(np.uint8), (PERCENT % 2 * 255).astype(np.uint8)])
    path = save(tmp_path / "m.tif", pixels, BOX.affine, "EPSG:32632")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
    assert check_mask(path, GRID) == ()
    meant = np.where(PERCENT > 60, DRAWN_HIDDEN, DRAWN_SEEN)
    expected = np.where(PERCENT % 2 == 0, DRAWN_UNKNOWN, meant)
    np.testing.assert_array_equal(read_mask(path, BOX)[:80, :120], expected)


@pytest.mark.parametrize("name", ["m.png", "m.gif"])
def test_a_picture_without_a_place_is_refused(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray((PERCENT > 60).astype(np.uint8))
    picture.convert("P").save(tmp_path / name)
    with pytest.raises(MaskError, match="no CRS"):
        check_mask(tmp_path / name, GRID)


def test_no_polygon_is_a_day_without_cloud(tmp_path: Path) -> None:
    path = polygons(tmp_path / "m.geojson")
    assert check_mask(path, GRID) == ()
    assert (read_mask(path, BOX) == DRAWN_SEEN).all()
    path.write_text(json.dumps({
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": None}],
    }))  # fmt: skip
    assert (read_mask(path, BOX) == DRAWN_SEEN).all()


CLOUD = shapely.Polygon([(LEFT + 203, TOP - 104), (LEFT + 806, TOP - 307), (LEFT + 411, TOP - 709)])


@pytest.mark.parametrize("name", ["m.geojson", "m.gpkg", "m.shp", "m.fgb", "m.gml"])
def test_polygons_of_any_kind_of_file_in_any_crs_hide_the_same(tmp_path: Path, name: str) -> None:
    x, y = np.meshgrid(LEFT + 10 * np.arange(130) + 5, TOP - 10 * np.arange(90) - 5)
    expected = shapely.contains_xy(CLOUD, x, y)
    overlapping = [CLOUD, CLOUD.intersection(shapely.box(LEFT, TOP - 900, LEFT + 500, TOP))]
    path = tmp_path / name
    pyogrio.raw.write(
        path, shapely.to_wkb(overlapping), [], [], geometry_type="Polygon", crs="EPSG:32632"
    )
    assert check_mask(path, GRID) == ()
    np.testing.assert_array_equal(read_mask(path, BOX) == DRAWN_HIDDEN, expected)
    np.testing.assert_array_equal(
        read_mask(path, BOX[11:60, 17:101]) == DRAWN_HIDDEN, expected[11:60, 17:101]
    )


def test_polygons_of_another_place_are_said_to_hide_nothing(tmp_path: Path) -> None:
    path = polygons(tmp_path / "m.geojson", shapely.box(100, -10, 101, -9))
    (remark,) = check_mask(path, GRID)
    assert "hides nothing of the area: its polygons lie around -9.5 N, 100.5 E" in remark
    assert (read_mask(path, BOX) == DRAWN_SEEN).all()


def test_one_of_several_layers_is_a_mask_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "m.gpkg"
    for layer, cloud in (("noon", CLOUD), ("dawn", shapely.box(LEFT, TOP - 90, LEFT + 90, TOP))):
        pyogrio.raw.write(
            path, shapely.to_wkb([cloud]), [], [], geometry_type="Polygon", crs="EPSG:32632",
            layer=layer, append=path.exists(),
        )  # fmt: skip
    with pytest.raises(MaskError, match=r"cannot be used: .*name one"):
        check_mask(path, GRID)
    noon, dawn = (Path(f"{path}|layername={layer}") for layer in ("noon", "dawn"))
    assert check_mask(noon, GRID) == ()
    assert (read_mask(dawn, BOX) == DRAWN_HIDDEN).sum() == 81
    assert fingerprint(noon) != fingerprint(dawn)
