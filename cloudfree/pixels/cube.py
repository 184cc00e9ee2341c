"""Row 6 of the walk: scene pixels on the product's grid, through stackstac.

stackstac names the steps and schedules the reads; which pixel is taken is decided by
`sampling`, in a reader of our own, because GDAL's warper is approximate and depends on blocks.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import rasterio
import shapely
import stackstac
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from cloudfree.core.bands import SCENE_CLASSIFICATION
from cloudfree.core.errors import ReadError, UnreachableError
from cloudfree.core.keys import unsigned
from cloudfree.core.types import AnyArray, Float32Array, UInt8Array, UInt16Array
from cloudfree.geometry.grid import crs_of
from cloudfree.geometry.sampling import (
    Positions,
    locate,
    source_window,
    take_bilinear,
    take_nearest,
)
from cloudfree.pixels.numbers import NOTHING, FileNumbers, to_classes, to_digital_numbers, to_power
from cloudfree.pixels.remote import Fetcher, RemoteAsset, is_remote
from cloudfree.scenes.scene import Scene
from cloudfree.scenes.stored import Stored

logger = logging.getLogger(__name__)

T = TypeVar("T")
_WORTH_SHARE = 0.01
"""Of the area: a footprint may be drawn a little too large."""
_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "VSI_CACHE": "TRUE",
}
"""For cloud-optimised GeoTIFFs: no directory listings; for object stores, patience."""
_ANY_EPSG = 3857
"""stackstac wants an EPSG code of grid and item, to see that they are one; a grid may have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One asset of a scene that is read."""

    name: str
    """What it shows, for errors."""
    links: tuple[str, ...]
    """Where it lies, the main link first."""
    kind: Literal["numbers", "classes", "power"]
    """What its pixels mean."""
    stored: Stored
    """What the item says of them."""
    offset_dn: int
    """What row 7 adds to the scene's numbers."""

    def convert(self, pixels: AnyArray, file: FileNumbers) -> AnyArray:
        """Return a file's pixels as the walk counts; ValueError where it cannot be known how."""
        if self.kind == "numbers":
            return to_digital_numbers(pixels, self.stored, file, self.offset_dn)
        if self.kind == "power":
            return to_power(pixels, self.stored, file)
        return to_classes(pixels, file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What a step's scenes hold at a geobox."""

    dn: UInt16Array
    """(scene, band, y, x) digital numbers as stored; 0 outside the scene, and in every band where
    the file of one marks no data."""
    classification: tuple[UInt8Array | None, ...]
    """Per optical scene (y, x) classes, 0 outside; None for a scene without."""
    power: Float32Array
    """(scene, channel, y, x) linear backscatter; NaN where there is none."""


def read_asset(links: Sequence[str], fetcher: Fetcher, look: Callable[[Any], T]) -> T:
    """Return what ``look`` makes of an open raster, by the first of its links that can be read.

    HTTP links are read through ``fetcher``. Raises ReadError, with the first link but not its
    signature, where there is none.
    """
    failures = []
    promising = fetcher.promising(links)
    for href in promising:
        try:
            return _read_link(href, fetcher, look, is_last=href == promising[-1])
        except ReadError as error:
            fetcher.give_up(href)
            failures.append(error)
    raise next((one for one in failures if isinstance(one, UnreachableError)), failures[0])


def _read_link(href: str, fetcher: Fetcher, look: Callable[[Any], T], *, is_last: bool) -> T:
    name = unsigned(href)
    attempts = fetcher.settings.attempts if is_last else 1
    remote = RemoteAsset(href, fetcher, attempts) if is_remote(href) else None
    failure: ReadError | None = None
    try:
        with (
            rasterio.Env(**_GDAL),
            rasterio.open(name, opener=remote) if remote else rasterio.open(href) as source,
        ):
            seen = look(source)
    except RasterioError as error:
        failure = ReadError(f"{name}: {_reason(error, href)}")
    if remote is not None and remote.failure is not None:
        failure = remote.failure
    if failure is not None:  # raised here: rasterio's error, as its context, would not pickle
        raise failure
    return seen


def _reason(error: RasterioError, href: str) -> str:
    """Return why a file cannot be read, in one line without its end and the file's name."""
    if ".zarr" in href:
        return "it lies in a Zarr store; give scenes as GeoTIFF or JPEG 2000"
    return " ".join(str(error).split()).replace(href, "the file").removesuffix(".")


def read_grid(scene: Scene, layer: str, fetcher: Fetcher) -> GeoBox:
    """Return the grid of a scene's own pixels; ReadError where the file cannot be read."""
    try:
        return read_asset(scene.links(layer), fetcher, _grid_of)
    except ReadError as error:
        raise type(error)(f"cannot read {layer} of scene {scene.id} at {error}") from None


def _grid_of(source: Any) -> GeoBox:
    if source.crs is None:
        raise RasterioIOError("the file has no CRS")
    code = source.crs.to_epsg()
    crs = source.crs.to_wkt() if code is None else f"EPSG:{code}"
    return GeoBox(source.shape, source.transform, crs)


def check_assets(
    scene: Scene, layers: tuple[str, ...], area: BaseGeometry, fetcher: Fetcher
) -> None:
    """Open the files of a scene's bands or polarisations, all of which it has.

    ``area`` is in longitude and latitude. ReadError names the first file that cannot be read, or
    that lies elsewhere than the footprint says.
    """
    promised = scene.footprint.intersection(area)
    for layer in layers:
        extent = shapely.box(*read_grid(scene, layer, fetcher).geographic_extent.boundingbox.bbox)
        if promised.area >= _WORTH_SHARE * area.area and not extent.intersects(promised):
            raise ReadError(
                f"{layer} of scene {scene.id} at {unsigned(scene.href(layer) or '')} lies "
                "elsewhere than its footprint says"
            )


def load(
    optical: Sequence[Scene],
    radar: Sequence[Scene],
    geobox: GeoBox,
    *,
    fetcher: Fetcher,
    bands: tuple[str, ...],
    polarizations: tuple[str, ...],
    threads: int,
    reduced: bool = False,
) -> Pixels:
    """Read every scene at ``geobox``; ReadError names the scene, asset and link that failed.

    Optical pixels are the nearest, exactly; radar is interpolated in linear power. Scenes must
    have the layers (select_scenes saw to it). Reads run on ``threads`` threads of their own.
    With ``reduced`` a coarse geobox is read from overviews: quick, and only for pictures.
    """
    read = functools.partial(
        _stack,
        geobox=geobox,
        threads=threads,
        fetcher=fetcher,
        reader=ReducedReader if reduced else ExactReader,
    )
    shape = (geobox.height, geobox.width)
    dn = np.zeros((len(optical), len(bands), *shape), np.uint16)
    classes: list[UInt8Array | None] = [None] * len(optical)
    power = np.full((len(radar), len(polarizations), *shape), np.nan, np.float32)
    for index, scene in enumerate(optical):
        has_classes = scene.href(SCENE_CLASSIFICATION) is not None
        layers = (*bands, SCENE_CLASSIFICATION) if has_classes else bands
        if has_classes:
            classes[index] = np.zeros(shape, np.uint8)
        if overlaps(scene, geobox):
            numbers = read(scene, layers, fill=np.uint16(0), resampling=Resampling.nearest)
            missing = (numbers[: len(bands)] == NOTHING).any(axis=0)
            dn[index] = np.where(missing, 0, numbers[: len(bands)])
            if has_classes:
                classes[index] = np.where(missing, 0, numbers[-1]).astype(np.uint8)
    for index, scene in enumerate(radar):
        if overlaps(scene, geobox):
            power[index] = read(
                scene, polarizations, fill=np.float32(np.nan), resampling=Resampling.bilinear
            )
    return Pixels(dn=dn, classification=tuple(classes), power=power)


def overlaps(scene: Scene, geobox: GeoBox) -> bool:
    """Return whether a footprint comes near a geobox: a cheap test that may err towards True."""
    margin = 0.02
    west, south, east, north = geobox.geographic_extent.boundingbox.bbox
    left, bottom, right, top = scene.footprint.bounds
    return bool(
        left - margin <= east
        and west <= right + margin
        and bottom - margin <= north
        and south <= top + margin
    )


def _stack(
    scene: Scene,
    layers: tuple[str, ...],
    *,
    fill: np.generic,
    resampling: Resampling,
    geobox: GeoBox,
    threads: int,
    fetcher: Fetcher,
    reader: type[ExactReader],
) -> AnyArray:
    """Return (layer, y, x) of one scene.

    stackstac is given an item that covers the geobox: it would drop scenes by the corners of
    their reprojected boxes, which depends on the block. The reader decides what lies where and
    by which link; stackstac's links are the names of the layers.
    """
    bounds = geobox.boundingbox.bbox
    item: dict[str, Any] = {
        "id": scene.id,
        "type": "Feature",
        "stac_version": "1.0.0",
        "geometry": None,
        "bbox": list(bounds),
        "properties": {
            "datetime": scene.time.isoformat(),
            "proj:epsg": _ANY_EPSG,
            "proj:bbox": list(bounds),
        },
        "assets": {layer: {"href": layer} for layer in layers},
    }
    cube = stackstac.stack(
        [item],
        assets=list(layers),
        epsg=_ANY_EPSG,
        resolution=abs(geobox.affine.a),
        bounds=bounds,
        snap_bounds=False,
        xy_coords=False,
        resampling=resampling,
        chunksize=(1, 1, -1, -1),
        dtype=fill.dtype,
        fill_value=fill,
        rescale=False,
        properties=False,
        band_coords=False,
        errors_as_nodata=(),
        reader=functools.partial(
            reader,
            crs=crs_of(geobox),
            fetcher=fetcher,
            layers={
                layer: _Layer(
                    links=scene.links(layer),
                    name=f"{layer} of scene {scene.id}",
                    stored=scene.stored_as(layer),
                    kind=_kind(layer, resampling),
                    offset_dn=scene.offset.dn or 0,
                )
                for layer in layers
            },
        ),
    )
    pixels: AnyArray = cube[0].data.compute(scheduler="threads", num_workers=threads)
    return pixels


def _kind(layer: str, resampling: Resampling) -> Literal["numbers", "classes", "power"]:
    if layer == SCENE_CLASSIFICATION:
        return "classes"
    return "power" if resampling is Resampling.bilinear else "numbers"


class ExactReader:
    """stackstac's Reader protocol over rasterio: a single-band asset read at exact positions.

    Opens its file at each read, on the thread that reads, and shares nothing.
    """

    def __init__(
        self,
        *,
        url: str,
        spec: Any,
        resampling: Resampling,
        dtype: np.dtype[Any],
        fill_value: float,
        crs: CRS,
        fetcher: Fetcher,
        layers: Mapping[str, _Layer],
        **_: Any,
    ) -> None:
        self.spec = spec
        self.resampling = resampling
        self.dtype = dtype
        self.fill_value = fill_value
        self.crs = crs
        self.fetcher = fetcher
        self.layer = layers[url]

    def read(self, window: Window, **_: Any) -> AnyArray:
        """Return the window (y, x) of the target grid."""
        spec = self.spec
        y, x = window.toslices()
        target = GeoBox(spec.shape, spec.transform, self.crs)[y, x]
        try:
            part = read_asset(
                self.layer.links, self.fetcher, lambda source: self._look(source, target)
            )
        except ReadError as error:
            raise type(error)(f"cannot read {self.layer.name} at {error}") from None
        if part is None:
            return np.full(target.shape, self.fill_value, self.dtype)
        pixels, corner, positions = part
        if self.resampling is Resampling.bilinear:
            return take_bilinear(pixels, positions, corner)
        fill = float(self.fill_value)
        return take_nearest(pixels, positions, corner, fill).astype(self.dtype, copy=False)

    def _look(
        self, source: Any, target: GeoBox
    ) -> tuple[AnyArray, tuple[int, int], Positions] | None:
        """Return the source pixels under ``target``, their first row and column, and positions.

        Pixels are in the numbers that the walk counts in. None where they do not meet.
        """
        if source.crs is None:
            raise RasterioIOError("the file has no CRS")
        if source.count != 1:
            raise RasterioIOError(f"the file has {source.count} bands, not one")
        affine, shape = self._grid(source, target)
        positions = locate(target, str(source.crs.to_wkt()), affine)
        part = source_window(positions, shape, margin=1)
        if part is None:
            return None
        file = FileNumbers(nodata=source.nodata, scale=source.scales[0], offset=source.offsets[0])
        try:
            pixels = self.layer.convert(self._pixels(source, shape, part), file)
        except ValueError as error:
            raise RasterioIOError(str(error)) from None
        return pixels, (part[0].start, part[1].start), positions

    def _grid(self, source: Any, target: GeoBox) -> tuple[Affine, tuple[int, int]]:
        """Return the affine and shape of the source's pixels as they are read."""
        return source.transform, source.shape

    def _pixels(self, source: Any, shape: tuple[int, int], part: tuple[slice, slice]) -> AnyArray:
        pixels: AnyArray = source.read(1, window=Window.from_slices(*part))
        return pixels

    def close(self) -> None:
        """Do nothing: files are closed after each read."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class ReducedReader(ExactReader):
    """Reads a source at about the target's resolution, through its overviews."""

    def _grid(self, source: Any, target: GeoBox) -> tuple[Affine, tuple[int, int]]:
        west, south, east, north = target.to_crs(source.crs.to_wkt()).boundingbox.bbox
        spacing = min((east - west) / target.width, (north - south) / target.height)
        factor = max(1, int(spacing / abs(source.transform.a)))
        height, width = (-(-side // factor) for side in source.shape)
        scale = Affine.scale(source.width / width, source.height / height)
        return source.transform @ scale, (height, width)

    def _pixels(self, source: Any, shape: tuple[int, int], part: tuple[slice, slice]) -> AnyArray:
        pixels: AnyArray = source.read(1, out_shape=shape)[part]
        return pixels
