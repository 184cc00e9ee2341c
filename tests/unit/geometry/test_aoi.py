"""The area of interest: every way to write one, and every way to get it wrong."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from shapely.geometry import MultiPolygon, mapping

from cloudfree.core.errors import AoiError
from cloudfree.geometry.aoi import read_aoi, read_polygons

WEST = shapely.box(10.0, 47.0, 10.2, 47.1)
EAST = shapely.box(10.5, 47.0, 10.6, 47.3)
BOTH = shapely.union_all([WEST, EAST])


def write(folder: Path, document: Any) -> Path:
    path = folder / "area.geojson"
    path.write_text(json.dumps(document))
    return path


def feature(geometry: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": "a"}, "geometry": geometry}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (mapping(WEST), WEST),
        (mapping(BOTH), BOTH),
        (feature(mapping(EAST)), EAST),
        (
            {
                "type": "FeatureCollection",
                "features": [feature(mapping(WEST)), feature(mapping(EAST))],
            },
            BOTH,
        ),
        ({"type": "GeometryCollection", "geometries": [mapping(WEST), mapping(EAST)]}, BOTH),
    ],
)
def test_every_kind_of_geojson_with_polygons(
    tmp_path: Path, document: Any, expected: shapely.Geometry
) -> None:
    area = read_aoi(write(tmp_path, document)).geometry
    assert area.equals(expected)
    assert area.is_valid


def test_overlapping_polygons_are_joined(tmp_path: Path) -> None:
    other = shapely.box(10.1, 47.05, 10.3, 47.4)
    document = {"type": "GeometryCollection", "geometries": [mapping(WEST), mapping(other)]}
    area = read_aoi(write(tmp_path, document)).geometry
    assert area.geom_type == "Polygon"
    assert area.equals(WEST.union(other))


def test_a_hole_stays_a_hole(tmp_path: Path) -> None:
    holed = WEST.difference(shapely.box(10.05, 47.02, 10.1, 47.06))
    area = read_aoi(write(tmp_path, mapping(holed))).geometry
    assert area.equals(holed)
    assert not area.contains(shapely.Point(10.07, 47.04))


def test_heights_are_dropped(tmp_path: Path) -> None:
    area = read_aoi(write(tmp_path, mapping(shapely.force_3d(EAST, 512.0)))).geometry
    assert not area.has_z
    assert area.equals(EAST)


def test_the_area_can_be_written_back(tmp_path: Path) -> None:
    aoi = read_aoi(write(tmp_path, mapping(BOTH)))
    assert read_aoi(write(tmp_path, aoi.geojson)) == aoi


def named(crs: str) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": crs}}


def polygon(*corners: tuple[Any, ...]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [corners]}


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ([1, 2], "no GeoJSON object"),
        (None, "no GeoJSON object"),
        ({"type": "Point", "coordinates": [10, 47]}, "a Point"),
        (feature({"type": "LineString", "coordinates": [[10, 47], [11, 48]]}), "a LineString"),
        (feature(None), "no geometry, and 1 that are empty or missing"),
        ({"type": "FeatureCollection", "features": []}, "no geometry"),
        ({"type": "FeatureCollection"}, "a FeatureCollection"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ([10.52, 48.21, 10.56, 48.22], r"POLYGON \(\(10.56 48.21, .* for the box of these four"),
        ({"type": "MultiPoint", "coordinates": [[10, 47], [11, 48]]}, "a MultiPoint|2 Points"),
        (polygon((10, 47), (math.nan, 48), (11, 47), (10, 47)), "hold one that is no number"),
        ({**mapping(WEST), "crs": {"type": "link", "properties": {"href": "x"}}}, "names none"),
        ({**mapping(WEST), "crs": named("EPSG:99")}, "PROJ does not know the CRS 'EPSG:99'"),
        ({"type": "Polygon"}, "not those of a polygon"),
        (polygon((10, 47), (11, 48)), "not those of a polygon"),
        (polygon(("a", "b"), (1, 2), (3, 4), ("a", "b")), "not those of a polygon"),
        ({"type": "Polygon", "coordinates": 7}, "not those of a polygon"),
        (polygon((10, 47), (11, 48), (11, 47), (10, 48), (10, 47)), "not valid"),
        (polygon((10, 47), (11, 48), (12, 49), (10, 47)), "not valid"),
        (
            mapping(shapely.box(600_000, 5_200_000, 601_000, 5_201_000)),
            "not longitude.*; reproject",
        ),
        (mapping(shapely.box(34.0, -118.3, 34.1, -118.2)), "not longitude.*; give longitude first"),
        (mapping(shapely.box(359, 60, 361, 61)), "not longitude"),
    ],
)
def test_a_wrong_area_is_refused_in_one_line(tmp_path: Path, document: Any, found: str) -> None:
    with pytest.raises(AoiError, match=found) as caught:
        read_aoi(write(tmp_path, document))
    assert "area.geojson" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}", None])
def test_a_file_that_is_missing_or_not_json_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "area.geojson"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AoiError, match=r"[Gg]ive GeoJSON, GeoPackage") as caught:
        read_aoi(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "drawn",
    [
        shapely.box(179.5, -17, 180.25, -16),
        shapely.box(-180.5, -17, -179.75, -16),
        shapely.Polygon([(179.5, -17), (-179.75, -17), (-179.75, -16), (179.5, -16)]),
        shapely.union_all(
            [shapely.box(179.5, -17, 180, -16), shapely.box(-180, -17, -179.75, -16)]
        ),
    ],
)
def test_an_area_across_the_antimeridian_is_cut_there(
    tmp_path: Path, drawn: shapely.Geometry
) -> None:
    aoi = read_aoi(write(tmp_path, mapping(drawn)))
    east, west = shapely.box(179.5, -17, 180, -16), shapely.box(-180, -17, -179.75, -16)
    assert aoi.geometry.equals(shapely.union_all([east, west]))


def test_a_mapping_and_a_geometry_are_as_good_as_a_file(tmp_path: Path) -> None:
    expected = read_aoi(write(tmp_path, mapping(BOTH)))
    assert read_aoi(str(tmp_path / "area.geojson")) == expected
    assert read_aoi(mapping(BOTH)) == expected
    assert read_aoi(feature(mapping(BOTH))) == expected
    assert read_aoi(BOTH) == expected


@pytest.mark.parametrize(
    ("area", "message"),
    [
        (shapely.Point(10, 47), "the geometry holds a Point; give a Polygon"),
        ({"type": "Feature", "geometry": None}, "the mapping holds no geometry, and 1"),
        (7, "the area is a int; give a file of polygons, a GeoJSON mapping or a geometry"),
    ],
)
def test_other_areas_are_refused_in_one_line(area: Any, message: str) -> None:
    with pytest.raises(AoiError, match=message) as caught:
        read_aoi(area)
    assert "\n" not in str(caught.value)


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [feature(one) for one in geometries]}


LINE = {"type": "LineString", "coordinates": [[10, 47], [11, 48]]}
ROUND = {"type": "LineString", "coordinates": list(WEST.exterior.coords)}
POINT = {"type": "Point", "coordinates": [10, 47]}


@pytest.mark.parametrize(
    ("document", "expected", "said"),
    [
        (collection(mapping(WEST), POINT, POINT), WEST, "left out 2 Points of"),
        (collection(mapping(EAST), LINE, ROUND), EAST, "left out 2 LineStrings of"),
        (collection(mapping(BOTH), None, None), BOTH, "left out 2 of the geometries of"),
        (collection({"type": "Polygon", "coordinates": []}, mapping(WEST)), WEST, "left out 1 of"),
        (feature(ROUND), WEST, "took closed lines of"),
        (collection(ROUND, POINT), WEST, "left out a Point of"),
    ],
)
def test_what_is_no_polygon_is_left_out_and_said(
    tmp_path: Path, document: Any, expected: shapely.Geometry, said: str
) -> None:
    aoi = read_aoi(write(tmp_path, document))
    assert aoi.geometry.equals(expected)
    assert any(remark.startswith(said) for remark in aoi.remarks)
    assert all("area.geojson" in remark for remark in aoi.remarks)


def touching() -> shapely.Polygon:
    """Two squares that one ring goes round in one sense: it touches itself."""
    return shapely.Polygon(
        [(10, 47), (10.1, 47), (10.1, 47.1), (10.2, 47.1), (10.2, 47.2), (10.1, 47.2),
         (10.1, 47.1), (10, 47.1)]
    )  # fmt: skip


def nicked() -> shapely.Polygon:
    """WEST with a corner where two edges cross within a centimetre."""
    return shapely.Polygon(
        [(10, 47), (10.2, 47), (10.2 - 1e-7, 47 - 1e-7), (10.2 - 1e-7, 47 + 1e-7), (10.2, 47.1),
         (10, 47.1)]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("crossed", "expected"),
    [
        (touching(), shapely.union_all([shapely.box(10, 47, 10.1, 47.1),
                                        shapely.box(10.1, 47.1, 10.2, 47.2)])),
        (nicked(), WEST),
        (MultiPolygon([WEST, shapely.box(10.1, 47.05, 10.3, 47.4)]),
         WEST.union(shapely.box(10.1, 47.05, 10.3, 47.4))),
    ],
)  # fmt: skip
def test_what_has_one_meaning_though_it_is_not_valid_is_mended(
    tmp_path: Path, crossed: shapely.Geometry, expected: shapely.Geometry
) -> None:
    assert not crossed.is_valid
    aoi = read_aoi(write(tmp_path, mapping(crossed)))
    assert aoi.geometry.is_valid
    assert aoi.geometry.symmetric_difference(expected).area < 1e-7
    mended = isinstance(crossed, shapely.Polygon)
    assert [remark.partition(" of ")[0] for remark in aoi.remarks] == ["mended a polygon"] * mended


@pytest.mark.parametrize(
    "hole", [shapely.box(11, 48, 11.1, 48.1), shapely.box(10.1, 47.02, 10.3, 47.08)]
)
def test_a_hole_beyond_its_polygon_is_refused(tmp_path: Path, hole: shapely.Polygon) -> None:
    crossed = shapely.Polygon(WEST.exterior, [hole.exterior])
    with pytest.raises(AoiError, match=r"not valid.*Fix geometries"):
        read_aoi(write(tmp_path, mapping(crossed)))


@pytest.mark.parametrize(
    "write_position",
    [
        lambda x, y: [x, y, 7.0],
        lambda x, y: [x, y, 7.0, 3.0],
        lambda x, y: [x, y, 7.0] if x > 10.55 else [x, y],
        lambda x, y: [str(x), str(y)],
    ],
)
def test_positions_may_have_heights_measures_and_quotes(
    tmp_path: Path, write_position: Callable[[float, float], list[Any]]
) -> None:
    ring = [write_position(x, y) for x, y in EAST.exterior.coords]
    aoi = read_aoi(write(tmp_path, {"type": "Polygon", "coordinates": [ring]}))
    assert aoi.geometry.equals(EAST)


def test_a_ring_that_is_open_or_turns_the_other_way_is_the_same_area(tmp_path: Path) -> None:
    corners = [list(corner) for corner in EAST.exterior.coords]
    expected = read_aoi(EAST)
    for ring in (corners[:-1], corners[::-1]):
        document = {"type": "Polygon", "coordinates": [ring]}
        assert read_aoi(write(tmp_path, document)) == expected


IN_UTM = shapely.box(613_000, 5_300_000, 616_000, 5_302_000)
UTM_TO_DEGREES = Transformer.from_crs(32632, 4326, always_xy=True)
IN_DEGREES = shapely.transform(
    shapely.segmentize(IN_UTM, 100.0), UTM_TO_DEGREES.transform, interleaved=False
)


def assert_in_utm(geometry: shapely.Geometry) -> None:
    assert geometry.symmetric_difference(IN_DEGREES).area < 1e-4 * IN_DEGREES.area


@pytest.mark.parametrize(
    "member",
    [
        named("urn:ogc:def:crs:EPSG::32632"),
        named("EPSG:32632"),
        {"type": "EPSG", "properties": {"code": 32632}},
    ],
)
@pytest.mark.parametrize("place", ["collection", "feature", "geometry"])
def test_the_crs_of_2008_is_taken_wherever_it_stands(
    tmp_path: Path, member: dict[str, Any], place: str
) -> None:
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(IN_UTM))
    one = feature(geometry)
    document = {"type": "FeatureCollection", "features": [one]}
    {"collection": document, "feature": one, "geometry": geometry}[place]["crs"] = member
    assert_in_utm(read_aoi(write(tmp_path, document)).geometry)


class Frame:
    """What shows itself as GeoJSON and has a CRS, as a GeoDataFrame does."""

    def __init__(self, crs: Any) -> None:
        self.crs = crs

    @property
    def __geo_interface__(self) -> dict[str, Any]:
        return collection(mapping(IN_UTM))


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:32632",
        32632,
        CRS(32632),
        GeoBox.from_bbox((0, 0, 9, 9), "EPSG:32632", resolution=1).crs,
    ],
)
def test_what_shows_itself_as_geojson_is_read_in_its_crs(crs: Any) -> None:
    assert_in_utm(read_aoi(Frame(crs)).geometry)


def test_longitude_stands_first_whatever_a_crs_says_and_that_is_said(tmp_path: Path) -> None:
    document = {**collection(mapping(WEST)), "crs": named("urn:ogc:def:crs:EPSG::4326")}
    aoi = read_aoi(write(tmp_path, document))
    assert aoi.geometry.equals(WEST)
    (remark,) = aoi.remarks
    assert "took longitude to stand first" in remark
    document["crs"] = named("urn:ogc:def:crs:OGC:1.3:CRS84")
    assert read_aoi(write(tmp_path, document)).remarks == ()


def test_polygons_may_be_none_where_no_area_is_asked_for(tmp_path: Path) -> None:
    none = {"type": "FeatureCollection", "features": []}
    assert read_polygons(write(tmp_path, none)).geometry.is_empty
    found = read_polygons(write(tmp_path, collection(None, None)))
    assert (found.geometry.is_empty, found.empty) == (True, 2)
