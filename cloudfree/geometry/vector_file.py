"""Geometries from a file, whatever kind of file it is.

What is text is told by its content: GeoJSON in any encoding, several documents in a row, as a
script that assigns it, or WKT. GDAL reads the rest, through pyogrio, which brings its own.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from shapely.geometry.base import BaseGeometry

from cloudfree.core.errors import AoiError, UnknownFileError
from cloudfree.geometry.geojson import Shape, read_shapes

_KINDS = "GeoJSON, GeoPackage, Shapefile, KML, FlatGeobuf, GML or WKT"
_LAYER = "|layername="
"""Between a file and one of its layers, as QGIS writes it."""
_SIDECARS = (".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix")
_JSON = (".json", ".geojson", ".geojsonl", ".geojsons", ".ndjson")
_ZIPPED = (*_JSON, ".shp", ".gpkg", ".kml", ".fgb", ".gml", ".wkt")
_ONE_DRAWING = ("KML", "LIBKML")
"""Drivers whose layers are folders of one drawing."""
_ESRI = {"geometryType", "spatialReference"}
"""Members of Esri's JSON."""
_NEXT = re.compile(r"[^\s\x1e]")
"""Where a document begins; GeoJSONSeq has a record separator before each."""
_MAGIC = {
    b"PAR1": "Parquet", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"\x89PNG": "PNG", b"\xff\xd8": "JPEG",
    b"%PDF": "PDF", b"AC10": "DWG", b"<!DOCTYPE html": "HTML", b"<html": "HTML",
}  # fmt: skip
_PK = b"PK\3\4"
_SCRIPT = re.compile(r"\s*(?:(?:var|let|const)\s+)?[\w.$]+\s*[=(]\s*(?=[{\[])")
_TRAILING_COMMA = re.compile(r",(?=\s*[\]}])")
_WKT = re.compile(
    r"\s*(?:SRID\s*=\s*(\d+)\s*;)?\s*"
    r"((?:MULTI)?(?:POINT|LINESTRING|POLYGON)|GEOMETRYCOLLECTION)\b",
    re.I,
)
_lock = threading.Lock()
"""Warnings are caught for a whole process."""


class Drawn(NamedTuple):
    """What a file draws."""

    shapes: list[Shape]
    """Its geometries, in the order of the file."""
    remarks: tuple[str, ...]
    """What its reader should know: which of several layers was taken."""


def read_vector_file(path: Path) -> Drawn:
    """Return the geometries of a file, or of one of its layers: ``FILE|layername=LAYER``.

    Raises AoiError, in one line, where it cannot be read, is of no kind that is known, or has
    polygons in several layers.
    """
    file, layer = split_layer(path)
    return _read(file, str(file), layer)


def split_layer(path: Path) -> tuple[Path, str]:
    """Return the file of ``FILE|layername=LAYER``, and the layer, empty where none is named."""
    file, _, layer = str(path).partition(_LAYER)
    return Path(file), layer


def _read(path: Path, name: str, layer: str) -> Drawn:
    """Return what a file draws that messages call ``name``."""
    if path.suffix.lower() in _SIDECARS and path.with_suffix(".shp").exists():
        path = path.with_suffix(".shp")
    if path.suffix.lower() == ".gdb" and path.is_dir():
        return _read_with_gdal(path, name, layer, b"")
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
            text = head if head.startswith(_PK) else _decode(head)
            if isinstance(text, bytes):
                return _read_zip(path, name, layer)
            if text.lstrip().startswith("<"):  # as bytes: GDAL writes next to GML files
                return _read_with_gdal(head + stream.read(), name, layer, head)
            if _WKT.match(text):
                return Drawn(list(_read_wkt(_decode(head + stream.read()), name)), ())
            if _is_json(text, path):
                documents = _read_json(_decode(head + stream.read()), name)
                if not any(_is_for_gdal(document) for document in documents):
                    return Drawn([s for one in documents for s in read_shapes(one, name)], ())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AoiError(f"cannot read the area {name}: {reason}. Give {_KINDS}") from None
    return _read_with_gdal(path, name, layer, head)


def _decode(content: bytes) -> str:
    """Return a text by its byte order mark or zeros; coordinates are ASCII in any other."""
    return content.decode(json.detect_encoding(content), "replace").removeprefix("\ufeff")


def _is_json(text: str, path: Path) -> bool:
    """Return whether a file's beginning is JSON, or a script with it, or should be."""
    named = path.suffix.lower() in _JSON and "\0" not in text
    return named or text.lstrip()[:1] in ("{", "[", "\x1e") or _SCRIPT.match(text) is not None


def _read_json(text: str, name: str) -> list[Any]:
    """Return the documents of a text: one, or several in a row, as of GeoJSONSeq."""
    if script := _SCRIPT.match(text):
        text = text[script.end() :].rstrip().rstrip(";)")
    try:
        return _parse(text)
    except (ValueError, RecursionError) as error:
        try:
            return _parse(_TRAILING_COMMA.sub("", text))
        except (ValueError, RecursionError):
            raise AoiError(f"{name} is not JSON: {error}. Mend it, or give {_KINDS}") from None


def _parse(text: str) -> list[Any]:
    decoder, documents, at = json.JSONDecoder(), [], 0
    while found := _NEXT.search(text, at):
        document, at = decoder.raw_decode(text, found.start())
        documents.append(document)
    if not documents:
        raise ValueError("there is nothing in it")
    return documents


def _is_for_gdal(document: Any) -> bool:
    """Return whether JSON is TopoJSON or that of Esri."""
    return isinstance(document, dict) and (
        document.get("type") == "Topology" or not _ESRI.isdisjoint(document)
    )


def _read_wkt(text: str, name: str) -> Iterator[Shape]:
    """Yield the geometry of WKT, or one of each line; ``SRID=32633;`` before it names its CRS."""
    lines = [line for line in text.splitlines() if line.strip()]
    for written in lines if all(map(_WKT.match, lines)) else [text]:
        found = _WKT.match(written)
        assert found is not None
        try:
            with np.errstate(invalid="ignore"):
                geometry = shapely.from_wkt(written[found.start(2) :].strip(" ;\n"))
        except shapely.errors.GEOSException as error:
            reason = " ".join(str(error).split())
            raise AoiError(f"{name} is not WKT: {reason}. Mend it, or give {_KINDS}") from None
        yield Shape(geometry, f"EPSG:{found[1]}" if found[1] else None)


def _read_zip(path: Path, name: str, layer: str) -> Drawn:
    """Return what the one vector file in a zip draws."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            held = [one for one in archive.namelist() if not one.startswith("__MACOSX")]
            found = sorted({_dataset(one) for one in held} - {""})
            if "doc.kml" in found:  # a KMZ: what else it holds is linked from there
                found = ["doc.kml"]
            if len(found) != 1:
                raise AoiError(f"{name} is a zip of {_list(found or held)}; {_unzip(found)}")
            stem = found[0].removesuffix(PurePosixPath(found[0]).suffix)
            archive.extractall(folder, [one for one in held if one.startswith(stem)])
            return _read(Path(folder, found[0]), f"{name}/{found[0]}", layer)
    except (
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
    ) as error:  # the last two: a password, an unknown compression
        raise AoiError(f"cannot unzip the area {name}: {error}. Give {_KINDS}") from None


def _dataset(member: str) -> str:
    """Return the file of vectors that a member of a zip is or belongs to; empty for others."""
    geodatabase, found, _ = member.partition(".gdb/")
    if found:
        return f"{geodatabase}.gdb"
    return member if PurePosixPath(member).suffix.lower() in _ZIPPED else ""


def _unzip(found: list[str]) -> str:
    return "unzip it and give one of them" if found else f"give {_KINDS}"


def _list(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most]) or "nothing"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _read_with_gdal(source: Path | bytes, name: str, layer: str, head: bytes) -> Drawn:
    """Return the layer that draws an area; of all of them where they are folders of a drawing."""
    if isinstance(source, Path) and source.suffix.lower() == ".shp":
        _check_whole(source, name)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if kind is not None:
        raise UnknownFileError(f"{name} is {kind}, {_convert(kind, name)}")
    try:
        with _lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            listed = {
                str(one): index
                for index, (one, geometry) in enumerate(pyogrio.list_layers(source))
                if geometry
            }
            if layer and layer not in listed:
                raise AoiError(f"{name} has no layer {layer}; it has {_list(list(listed))}")
            layers = {
                one: _read_layer(source, index)
                for one, index in listed.items()
                if layer in ("", one)
            }
            folders = len(layers) > 1 and pyogrio.read_info(source)["driver"] in _ONE_DRAWING
    except (DataSourceError, DataLayerError, FeatureError, GeometryError,
            shapely.errors.GEOSException) as error:  # fmt: skip
        reason = " ".join(str(error).split(";")[0].split())
        if "not recognized" in reason:
            raise UnknownFileError(f"{name} is no file of polygons; give {_KINDS}") from None
        raise AoiError(f"cannot read the area {name}: {reason}. Give {_KINDS}") from None
    if folders:
        return Drawn([one for shapes in layers.values() for one in shapes], ())
    return _choose_layer(layers, name)


def _read_layer(source: Path | bytes, layer: int) -> list[Shape]:
    meta, _, written, _ = pyogrio.raw.read(source, layer=layer, columns=[], force_2d=True)
    geometries: list[BaseGeometry | None] = list(shapely.from_wkb(written, on_invalid="fix"))
    return [Shape(geometry, meta["crs"]) for geometry in geometries]


def _choose_layer(layers: dict[str, list[Shape]], name: str) -> Drawn:
    """Return the one layer with polygons; with lines where none has any."""
    for dimensions in (2, 1, 0):
        drawing = {
            layer: count
            for layer, shapes in layers.items()
            if (count := sum(_dimensions(one) == dimensions for one in shapes))
        }
        if len(drawing) > 1 and dimensions > 0:
            what = "polygons" if dimensions == 2 else "lines"
            counts = [f"{layer} ({count})" for layer, count in drawing.items()]
            one = shlex.quote(f"{name}{_LAYER}{max(drawing, key=drawing.__getitem__)}")
            raise AoiError(f"{name} has {what} in layers {_list(counts)}; name one, as {one}")
        if drawing:
            (layer, *_) = drawing
            others = _list([other for other, shapes in layers.items() if shapes and other != layer])
            said = f"took layer {layer} of {name}, not {others}"
            return Drawn(layers[layer], () if others == "nothing" else (said,))
    return Drawn([one for shapes in layers.values() for one in shapes], ())


def _dimensions(one: Shape) -> int:
    """Return 2 of polygons, 1 of lines, 0 of points, -1 of nothing."""
    return int(shapely.get_dimensions(one.geometry))


def _check_whole(path: Path, name: str) -> None:
    there = {other.suffix.lower() for other in path.parent.glob(f"{path.stem}.*")}
    if ".shx" not in there:
        raise AoiError(
            f"{name} is a part of a Shapefile, whose {path.stem}.shx is missing; put it beside, "
            f"with {path.stem}.prj and {path.stem}.dbf, or give a zip of all"
        )


def _convert(kind: str, name: str) -> str:
    """Return how to come from a kind of file that is not read to one that is."""
    if kind != "Parquet":
        return f"no file of polygons; give {_KINDS}"
    code = f'import geopandas; geopandas.read_parquet({json.dumps(name)}).to_file("area.gpkg")'
    return (
        "which is not read; make a GeoPackage of it: pip install geopandas pyarrow && "
        f"python -c {shlex.quote(code)}"
    )
