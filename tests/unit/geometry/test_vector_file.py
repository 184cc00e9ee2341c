"""An area in every kind of file that people have it in, written by GDAL or by hand."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyogrio
import pyproj
import pytest
import shapely

from cloudfree.core.errors import AoiError, UnknownFileError
from cloudfree.geometry.aoi import read_aoi
from cloudfree.geometry.vector_file import read_vector_file

AREA = shapely.Polygon([(10.52, 48.22), (10.53, 48.20), (10.56, 48.21), (10.55, 48.23)])
OTHER = shapely.box(11, 47, 11.2, 47.1)
KML = (
    '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>{}</Document></kml>'
)
DOCUMENT = json.dumps({"type": "Feature", "properties": {}, "geometry": AREA.__geo_interface__})


def save(path: Path, *geometries: shapely.Geometry | None, **more: Any) -> Path:
    """Write geometries with GDAL, in the kind of file that the suffix says."""
    kinds = [one.geom_type for one in geometries if one is not None]
    more = {"crs": "EPSG:4326", "geometry_type": (kinds or ["Polygon"])[0], **more}
    if path.suffix == ".kml":
        more["driver"] = "LIBKML"
    pyogrio.raw.write(path, shapely.to_wkb(list(geometries)), [], [], **more)
    return path


def placemark(polygon: shapely.Polygon) -> str:
    corners = " ".join(f"{x},{y},0" for x, y in polygon.exterior.coords)
    return (
        "<Placemark><Polygon><outerBoundaryIs><LinearRing><coordinates>"
        f"{corners}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"
    )


def is_area(path: Path | str) -> bool:
    return bool(read_aoi(path).geometry.equals_exact(shapely.normalize(AREA), 1e-9))


@pytest.mark.parametrize(
    "name", ["a.gpkg", "a.shp", "a.fgb", "a.gml", "a.kml", "a.geojson", "a.geojsonl"]
)
def test_what_gdal_writes_is_read_and_nothing_left_behind(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, AREA)
    (tmp_path / "a.xsd").unlink(missing_ok=True)  # GML is read without, too
    before = sorted(tmp_path.iterdir())
    assert is_area(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.fgb", "a.gml"])
def test_the_crs_of_a_file_is_taken(tmp_path: Path, name: str) -> None:
    box = shapely.box(3_500_000, 5_350_000, 3_502_000, 5_351_000)
    path = save(tmp_path / name, box, crs="EPSG:31467")
    x, y = shapely.get_coordinates(read_aoi(path).geometry.centroid)[0]
    # Gauss-Krueger zone 3 on DHDN, some 150 m from where WGS 84 puts the same numbers
    assert (x, y) == pytest.approx((9.012455, 48.292391), abs=2e-5)


@pytest.mark.parametrize("sidecar", ["a.dbf", "a.prj", "a.shx"])
def test_any_part_of_a_shapefile_names_it(tmp_path: Path, sidecar: str) -> None:
    save(tmp_path / "a.shp", AREA)
    assert is_area(tmp_path / sidecar)


def zip_of(path: Path, *files: Path, inside: str = "", first: str | None = None) -> Path:
    ordered = sorted(files, key=lambda file: (file.name != first, file.name))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._a.shp", b"\0")
        for file in ordered:
            archive.write(file, inside + file.name)
    return path


@pytest.mark.parametrize("inside", ["", "land/parcels/"])
@pytest.mark.parametrize("first", ["a.shp", "a.dbf", "a.prj"])
def test_a_zipped_shapefile_is_found_wherever_it_lies(
    tmp_path: Path, inside: str, first: str
) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    save(folder / "a.shp", AREA)
    assert is_area(zip_of(tmp_path / "a.zip", *folder.iterdir(), inside=inside, first=first))


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb", "a.gml", "a.kml"])
def test_other_files_in_a_zip(tmp_path: Path, name: str) -> None:
    readme = tmp_path / "read.txt"
    readme.write_text("mine")
    assert is_area(zip_of(tmp_path / "a.zip", save(tmp_path / name, AREA), readme))


def test_a_geodatabase_as_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    folder = save(tmp_path / "a.gdb", shapely.MultiPolygon([AREA]), driver="OpenFileGDB")
    assert is_area(folder)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "a.gdb")
    assert is_area(tmp_path / "packed.zip")


def test_a_zip_of_several_files_or_none_names_them(tmp_path: Path) -> None:
    one, two = save(tmp_path / "one.gpkg", AREA), save(tmp_path / "two.fgb", OTHER)
    with pytest.raises(AoiError, match=r"a\.zip is a zip of one\.gpkg, two\.fgb; unzip it"):
        read_aoi(zip_of(tmp_path / "a.zip", one, two))
    with pytest.raises(AoiError, match=r"b\.zip is a zip of area\.txt; give GeoJSON"):
        text = tmp_path / "area.txt"
        text.write_text("mine")
        read_aoi(zip_of(tmp_path / "b.zip", text))
    (tmp_path / "c.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:200])
    with pytest.raises(AoiError, match="cannot unzip"):
        read_aoi(tmp_path / "c.zip")


def test_kml_and_kmz_with_folders_are_one_drawing(tmp_path: Path) -> None:
    text = KML.format(
        f"<Folder><name>a</name>{placemark(AREA)}</Folder>"
        f"<Folder><name>b</name>{placemark(OTHER)}</Folder>"
    )
    (tmp_path / "a.kml").write_text(text)
    with zipfile.ZipFile(tmp_path / "a.kmz", "w") as archive:
        archive.writestr("icons/pin.png", b"")
        archive.writestr("doc.kml", text)
        archive.writestr("links/other.kml", KML.format(""))
    for name in ("a.kml", "a.kmz"):
        assert read_aoi(tmp_path / name).geometry.equals(AREA.union(OTHER))


def test_a_gps_track_that_is_closed_is_an_area(tmp_path: Path) -> None:
    points = "".join(f'<trkpt lon="{x}" lat="{y}"/>' for x, y in AREA.exterior.coords)
    (tmp_path / "a.gpx").write_text(
        '<gpx version="1.1" creator="me" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
        f"{points}</trkseg></trk></gpx>"
    )
    assert is_area(tmp_path / "a.gpx")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.geojson", DOCUMENT.encode("utf-16")),
        ("a.geojson", DOCUMENT.encode("utf-16-le")),
        ("a.json", b"\xef\xbb\xbf" + DOCUMENT.encode()),
        ("a.geojson", DOCUMENT.replace("{}", '{"n": "Käse"}').encode("latin-1")),
        ("a.geojson", b"\n\n  " + DOCUMENT.encode()),
        ("a.geojson", DOCUMENT.replace("]]]}", "],],],}").encode()),
        ("a.geojsonl", f"{DOCUMENT}\n{DOCUMENT}\n".encode()),
        ("a.geojsons", f"\x1e{DOCUMENT}\n\x1e{DOCUMENT}\n".encode()),
        ("a.js", f"var area = {DOCUMENT};\n".encode()),
        ("a.geojson", f"onArea({DOCUMENT});".encode()),
        ("a.wkt", AREA.wkt.encode()),
        ("a.txt", AREA.wkt.lower().replace("((", "(\n(").encode()),
        ("a.wkt", f"SRID=4326;{AREA.wkt}".encode()),
        ("a.wkt", f"{AREA.wkt}\n{AREA.wkt}\n".encode()),
        ("a.wkt", AREA.wkt.replace(",", " 7,").replace("))", " 7))").encode()),
        ("esri.json", json.dumps({
            "geometryType": "esriGeometryPolygon", "spatialReference": {"wkid": 4326},
            "features": [{"attributes": {}, "geometry": {"rings": [list(AREA.exterior.coords)]}}],
        }).encode()),
        ("topo.json", json.dumps({
            "type": "Topology", "arcs": [list(AREA.exterior.coords)],
            "objects": {"a": {"type": "Polygon", "arcs": [[0]]}},
        }).encode()),
    ],
)  # fmt: skip
def test_text_is_told_by_its_content(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_area(tmp_path / name)


def test_ewkt_names_its_crs(tmp_path: Path) -> None:
    path = tmp_path / "a.wkt"
    path.write_text("SRID=32632;POLYGON ((6e5 53e5, 601e3 53e5, 6e5 54e5, 6e5 53e5))")
    to_degrees = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
    corner = shapely.Point(to_degrees.transform(6e5, 54e5))
    assert read_aoi(path).geometry.distance(corner) < 1e-9


def layers(path: Path) -> Path:
    save(path, AREA, layer="fields")
    save(path, OTHER, shapely.box(12, 47, 12.1, 47.1), layer="woods", append=True)
    save(path, shapely.Point(1, 2), layer="trees", append=True)
    return path


def test_several_layers_with_polygons_are_named_and_one_can_be(tmp_path: Path) -> None:
    path = layers(tmp_path / "a.gpkg")
    with pytest.raises(AoiError, match=r"in layers fields \(1\), woods \(2\)") as caught:
        read_aoi(path)
    *_, advice = str(caught.value).split(" ")
    assert advice == f"'{path}|layername=woods'"
    assert read_aoi(advice.strip("'")).geometry.contains(OTHER)
    assert is_area(f"{path}|layername=fields")
    with pytest.raises(AoiError, match="no layer field; it has fields, woods, trees"):
        read_aoi(f"{path}|layername=field")


def test_the_one_layer_with_polygons_is_taken_and_said(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", shapely.Point(1, 2), layer="trees")
    save(path, AREA, layer="fields", append=True)
    aoi = read_aoi(path)
    assert aoi.geometry.equals(shapely.normalize(AREA))
    assert aoi.remarks == (f"took layer fields of {path}, not trees",)


def test_features_without_geometry_are_kept_apart(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", AREA, None)
    assert [one.geometry is None for one in read_vector_file(path).shapes] == [False, True]
    assert is_area(path)
    with pytest.raises(AoiError, match="no geometry, and 1"):
        read_aoi(save(tmp_path / "b.gpkg", None))


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("a.tif", b"II*\0" + bytes(60), "is TIFF, no file of polygons"),
        ("a.png", b"\x89PNG\r\n", "is PNG"),
        ("a.html", b"<!DOCTYPE html><html>", "is HTML"),
        ("a.txt", b"my area", "is no file of polygons"),
        ("a.xml", b"<area/>", "is no file of polygons"),
        ("a.gpkg", b"SQLite format 3\0" + bytes(100), "a.gpkg"),
        ("a.shp", bytes.fromhex("0000270a") + bytes(100), "a.shx is missing"),
        ("a.wkt", b"POLYGON ((1 2, 3", "is not WKT"),
        ("a.json", b'{"type": "Polygon", "coordinates": [[[1, 2', "is not JSON"),
        ("a.geojsonl", DOCUMENT.encode() + b'\n{"type": ', "is not JSON"),
        ("a.parquet", b"PAR1" + bytes(60), "is Parquet.*geopandas.*to_file"),
    ],
)
def test_what_is_no_file_of_polygons_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, hint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AoiError, match=hint) as caught:
        read_aoi(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    unknown = hint.startswith("is ") and "not" not in hint
    assert isinstance(caught.value, UnknownFileError) == unknown


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AoiError, match="cannot read the area"):
        read_aoi(tmp_path)


def test_files_are_read_beside_rasterios_gdal(tmp_path: Path) -> None:
    """Both bring a GDAL of their own."""
    path = save(tmp_path / "a.gpkg", AREA, crs="EPSG:4326")
    code = (
        "import rasterio, pyogrio; from cloudfree.geometry.aoi import read_aoi; "
        f"print(rasterio.__gdal_version__ and read_aoi({str(path)!r}).geometry.area > 0)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.stdout.strip() == "True", result.stderr
