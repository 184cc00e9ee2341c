"""The area of interest: every way to write one, and every way to get it wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import mapping

from cloudfree.core.errors import AoiError
from cloudfree.geometry.aoi import read_aoi

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


def polygon(*corners: tuple[Any, ...]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [corners]}


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ([1, 2], "no GeoJSON object"),
        (None, "no GeoJSON object"),
        ({"type": "Point", "coordinates": [10, 47]}, "a Point"),
        (feature({"type": "LineString", "coordinates": [[10, 47], [11, 48]]}), "a LineString"),
        (feature(None), "no GeoJSON object"),
        ({"type": "FeatureCollection", "features": []}, "no geometry"),
        ({"type": "FeatureCollection"}, "a FeatureCollection"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
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


def test_a_file_of_another_kind_is_told_how_to_become_geojson(tmp_path: Path) -> None:
    path = tmp_path / "area.shp"
    path.write_bytes(bytes.fromhex("0000270a") + b"\0" * 24 + bytes.fromhex("e8030000"))
    with pytest.raises(AoiError, match=r"area\.shp is not text.*ogr2ogr"):
        read_aoi(path)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}", None])
def test_a_file_that_is_missing_or_not_json_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "area.geojson"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AoiError, match="Give a GeoJSON file") as caught:
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
        ({"type": "Feature", "geometry": None}, "the mapping holds no GeoJSON object"),
        (7, "the area is a int; give a GeoJSON file, a mapping or a geometry"),
    ],
)
def test_other_areas_are_refused_in_one_line(area: Any, message: str) -> None:
    with pytest.raises(AoiError, match=message) as caught:
        read_aoi(area)
    assert "\n" not in str(caught.value)
