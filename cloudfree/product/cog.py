"""Row 14 of the walk: a step of a layer as cloud-optimised GeoTIFF, ready to be looked at.

What a viewer does without being told comes from the file: GDAL picks true colour by colour
interpretation (QGIS takes the first three bands), statistics (of every valid pixel) stretch them, a
colour table and category names draw and name classes.
"""

from __future__ import annotations

import datetime as dt
import math
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
import zarr
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from cloudfree.core.bands import BANDS, RGB
from cloudfree.core.errors import StoreError
from cloudfree.core.types import AnyArray
from cloudfree.geometry.grid import GridPlan, crs_of
from cloudfree.product.layers import Layer
from cloudfree.product.provenance import ATTRIBUTION
from cloudfree.product.store import CUBE, get_array, open_cube, writing
from cloudfree.storage.outputs import Checksum, Storage, checksum

NAMES_SUFFIX = ".aux.xml"
"""After the name of a COG: the file where GDAL looks for the names of its classes."""
_SCRATCH_SHARE = 3
"""What an export needs beside the product: a scratch file and a COG with its overviews, of an
array's stored size."""
_exporting = threading.Lock()
"""One export at a time per process: it takes a scratch disk, and every core to compress."""
_CACHE_BYTES = 2**28
"""Of GDAL's blocks during an export; its own default is a share of the machine's memory."""
_COLOURS = dict(zip(RGB, (ColorInterp.red, ColorInterp.green, ColorInterp.blue), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of a band's valid pixels, in stored numbers."""

    minimum: int
    """The smallest."""
    maximum: int
    """The largest."""
    mean: float
    """Their mean."""
    stddev: float
    """Their standard deviation."""
    valid_percent: float
    """How many pixels of the whole grid are valid."""

    @property
    def tags(self) -> dict[str, str]:
        """The metadata of a band by which GDAL knows them, and need not sample."""
        return {
            "STATISTICS_MINIMUM": f"{self.minimum}",
            "STATISTICS_MAXIMUM": f"{self.maximum}",
            "STATISTICS_MEAN": f"{self.mean:.6g}",
            "STATISTICS_STDDEV": f"{self.stddev:.6g}",
            "STATISTICS_VALID_PERCENT": f"{self.valid_percent:.4g}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cog:
    """A COG that was written."""

    small: AnyArray
    """(band, y, x), read from its overviews."""
    file: Checksum
    """Of the whole file."""
    statistics: tuple[Statistics | None, ...]
    """By band; None where no pixel is valid, or a number is no quantity."""
    names: Checksum | None
    """Of the file beside it with the names of its classes; None where it has none."""


def export_cog(
    storage: Storage,
    step: int,
    layer: Layer,
    name: str,
    *,
    plan: GridPlan,
    bands: tuple[str, ...],
    time: dt.datetime,
    shape: tuple[int, int],
) -> Cog:
    """Write one step of a layer as a COG with overviews; return it small, with y, x of ``shape``.

    It is made on a local disk (beside the product, or in the temporary directory) and then moved
    or uploaded; memory does not grow with the area. Category names, which a GeoTIFF cannot hold,
    are written beside it. Raises StoreError where there is no room for that.
    """
    cache = rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES)
    with _exporting, writing(storage, name), _scratch_folder(storage, name) as folder, cache:
        array = get_array(open_cube(storage, mode="r"), layer.name)
        _check_room(storage, step, layer.name, folder)
        names = bands if layer.has_bands else (layer.name,)
        scratch, whole = folder / "scratch.tif", folder / "whole.tif"
        with rasterio.open(scratch, "w", **_profile(plan, len(names), layer)) as file:
            _describe(file, names, layer, time)
            statistics = _fill(file, array, step, plan, layer)
        rasterio.shutil.copy(
            scratch,
            whole,
            driver="COG",
            compress="deflate",
            predictor=2,
            blocksize=512,
            bigtiff="if_safer",
            num_threads="all_cpus",
            overview_resampling=layer.shrinks_by or "nearest",
        )
        with rasterio.open(whole) as file:
            small: AnyArray = file.read(out_shape=(len(names), *shape))
        written = checksum(whole)
        storage.upload(whole, name)
        names_file = None
        if layer.classes:
            storage.write(name + NAMES_SUFFIX, content := _name_categories(layer))
            names_file = checksum(content)
    return Cog(small=small, file=written, statistics=statistics, names=names_file)


@contextmanager
def _scratch_folder(storage: Storage, name: str) -> Iterator[Path]:
    """Yield an empty folder on a local disk, which is removed at the end."""
    if storage.folder is None:
        with tempfile.TemporaryDirectory(prefix="cloudfree-") as temporary:
            yield Path(temporary)
        return
    folder = storage.folder / f".{name}.scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_room(storage: Storage, step: int, layer: str, folder: Path) -> None:
    """Raise StoreError where a COG and its scratch file do not fit on the scratch disk."""
    stored = sum(entry.size for entry in storage.list(f"{CUBE}/{layer}/c/{step}"))
    need, free = _SCRATCH_SHARE * stored, shutil.disk_usage(folder).free
    if free < need:
        raise StoreError(
            f"cannot export {layer}: No space left on device: {folder} needs about "
            f"{need / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free. Make room"
            + ("" if storage.folder else " or set TMPDIR to a larger disk")
        )


def _profile(plan: GridPlan, count: int, layer: Layer) -> dict[str, Any]:
    height, width = plan.geobox.shape
    return {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": count,
        "dtype": layer.dtype,
        "crs": crs_of(plan.geobox).to_wkt(),
        "transform": plan.geobox.affine,
        "nodata": layer.empty,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
        "zstd_level": 1,
        "bigtiff": "if_safer",
        "sparse_ok": True,
    }


def _describe(file: Any, names: tuple[str, ...], layer: Layer, time: dt.datetime) -> None:
    """Write down what is known before a pixel is."""
    file.update_tags(
        TIFFTAG_SOFTWARE=f"cloudfree {version('cloudfree')}",
        TIFFTAG_COPYRIGHT=ATTRIBUTION,
        TIFFTAG_DATETIME=f"{time:%Y:%m:%d %H:%M:%S}",
        TIFFTAG_IMAGEDESCRIPTION=layer.title,
    )
    file.descriptions = names
    if layer.scale is not None:
        file.scales = [layer.scale] * len(names)
    if layer.classes:
        file.write_colormap(1, {one.value: (*one.colour, 255) for one in layer.classes})
    if not layer.has_bands:
        return
    for index, name in enumerate(names, 1):
        wavelength = f"{BANDS[name].wavelength_um:g}"
        file.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=wavelength)
    if set(_COLOURS) <= set(names):
        file.colorinterp = [_COLOURS.get(name, ColorInterp.undefined) for name in names]


def _fill(
    file: Any, array: zarr.Array[Any], step: int, plan: GridPlan, layer: Layer
) -> tuple[Statistics | None, ...]:
    """Copy the pixels chunk by chunk; return and write down the statistics of a quantity."""
    tallies = [_Tally(layer.empty) for _ in range(file.count)]
    for chunk in plan.chunks():
        pixels: AnyArray = np.asarray(array[step, ..., chunk.y, chunk.x])
        pixels = pixels.reshape(file.count, *pixels.shape[-2:])
        file.write(pixels, window=Window.from_slices(chunk.y, chunk.x))
        if layer.unit is not None:
            for tally, band in zip(tallies, pixels, strict=True):
                tally.add(band)
    found = tuple(tally.statistics(file.width * file.height) for tally in tallies)
    for index, one in enumerate(found, 1):
        if one is not None:
            file.update_tags(index, **one.tags)
    return found


@dataclass(slots=True)
class _Tally:
    """Sums over valid pixels, exact whatever the order and number of chunks."""

    empty: int
    count: int = 0
    total: int = 0
    squares: int = 0
    minimum: int = 2**32
    maximum: int = -(2**32)

    def add(self, pixels: AnyArray) -> None:
        valid = pixels[pixels != self.empty].astype(np.int64)
        if valid.size:
            self.count += valid.size
            self.total += int(valid.sum())
            self.squares += int((valid * valid).sum())
            self.minimum = min(self.minimum, int(valid.min()))
            self.maximum = max(self.maximum, int(valid.max()))

    def statistics(self, pixels: int) -> Statistics | None:
        if not self.count:
            return None
        spread = self.count * self.squares - self.total**2
        return Statistics(
            minimum=self.minimum,
            maximum=self.maximum,
            mean=self.total / self.count,
            stddev=math.sqrt(spread) / self.count,
            valid_percent=100 * self.count / pixels,
        )


def _name_categories(layer: Layer) -> bytes:
    """Return the file that GDAL looks for beside a raster, with the names of the classes."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    for one in layer.classes:
        ElementTree.SubElement(names, "Category").text = one.title
    return ElementTree.tostring(root)
