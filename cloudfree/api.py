"""What Python code calls: the functions that ``import cloudfree`` offers, all of them thin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from obstore.exceptions import BaseError

from cloudfree.core.config import RunSettings
from cloudfree.core.errors import OutputError, StoreError
from cloudfree.core.progress import Progress
from cloudfree.core.tables import build, read_toml
from cloudfree.core.types import Model
from cloudfree.engine import pipeline
from cloudfree.engine.pipeline import Outcome
from cloudfree.geometry.aoi import Area
from cloudfree.planning.plan import Plan, Request, make_plan
from cloudfree.product.store import CUBE
from cloudfree.restoration.bundle import open_bundle
from cloudfree.storage.outputs import open_storage

_LAYOUT = ("chunks", "preferred_chunks", "shards", "compressors", "filters", "serializer")
"""How Zarr stores an array: what xarray would have a copy repeat, and refuses where it is cut."""


def plan(
    aoi: Area,
    date: str | dt.date,
    *,
    stac: str | Path | None = None,
    model: str | Path | None = None,
    bands: Sequence[str] | None = None,
    settings: RunSettings | str | Path | None = None,
) -> Plan:
    """Return what a run would do; asks the catalog and reads no pixel. Print it to see it.

    ``aoi`` is a file of polygons, a GeoJSON mapping, a shapely geometry in longitude and latitude,
    or what has a ``__geo_interface__`` and perhaps a ``crs``, such as a GeoDataFrame; ``date`` a
    day, or text of an interval ``A/B``; ``stac`` a STAC API or a file, None for the settings'
    providers. ``settings`` are a RunSettings or a TOML file like ``pipelines/run.toml``; ``model``
    and ``bands`` go before what they say. RequestError, in one line, where something is wrong.

    >>> import cloudfree
    >>> from pathlib import Path
    >>> scenes = cloudfree.write_scenes(Path("scenes"), size_px=384)
    >>> cloudfree.plan(scenes.aoi, scenes.date, stac=scenes.items)  # doctest: +ELLIPSIS
    grid     EPSG:32632, 10 m, 342 x 264 px, area 6.0 km2
    model    auto ...
    step     2024-06-15T10:20:31+00:00
      optical  synthetic-sentinel-2-l2a-2024-06-15
    ...
    """
    return make_plan(_request(aoi, date, stac, model, bands, settings))


def run(
    aoi: Area,
    date: str | dt.date,
    out: str | Path,
    *,
    stac: str | Path | None = None,
    model: str | Path | None = None,
    bands: Sequence[str] | None = None,
    settings: RunSettings | str | Path | None = None,
    check: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Make the product of an area and date in ``out``, or finish the one that was begun there.

    ``out`` is a folder or the URL of a prefix; ``check=False`` leaves out the self-check, which for
    a small area takes longer than all the rest; everything else as in ``plan``. What comes back has
    ``failed`` chunks, to be done by the same call again, and the ``summary`` that run.json says.

    >>> import cloudfree
    >>> from pathlib import Path
    >>> scenes = cloudfree.write_scenes(Path("scenes"), size_px=384)
    >>> outcome = cloudfree.run(scenes.aoi, scenes.date, "out", stac=scenes.items, model="baseline")
    >>> outcome.failed, outcome.summary["pixels"]["not_restored"]
    ({}, 0)
    >>> cube = cloudfree.open_cube("out")
    >>> cube.reflectance.dims
    ('time', 'band', 'y', 'x')
    """
    request = _request(aoi, date, stac, model, bands, settings)
    if not check:
        whole = request.settings
        without = replace(whole, selfcheck=replace(whole.selfcheck, places=0))
        request = replace(request, settings=without)
    return pipeline.run(request, open_storage(out), overwrite=overwrite, progress=progress)


def load_model(name: str | Path) -> Model:
    """Return the model of a built-in name or a bundle's folder, its weights checked.

    >>> import cloudfree
    >>> cloudfree.load_model("small").contract.bands
    ('B04', 'B03', 'B02')
    """
    return open_bundle(str(name)).load()


def open_cube(out: str | Path) -> xr.Dataset:
    """Return the cube of a product, lazily: nothing but coordinates and attributes is read.

    ``out`` is what ``run`` was given, a folder or a URL. ``reflectance`` is decoded: float32, 1 for
    a white surface, NaN for nodata. Dask's chunks are the shards of the cube. OutputError where
    there is no cube, StoreError where the output fails. How the arrays are laid out on disk is no
    part of what is opened, so that any part of it, cut anew, can be written by ``to_zarr``.
    """
    storage = open_storage(out)
    try:
        cube: xr.Dataset = xr.open_zarr(
            storage.zarr(CUBE, read_only=True),
            chunks=None,
            consolidated=False,
            decode_coords="all",
        )
    except FileNotFoundError:
        raise OutputError(
            f"there is no cube in {storage.address}; give the --out of a run"
        ) from None
    except (OSError, BaseError) as error:
        raise StoreError(f"cannot read {storage.join(CUBE)}: {storage.reason(error)}") from None
    arrays = {str(name): cube.variables[name] for name in sorted(cube.data_vars, key=str)}
    opened = cube.drop_vars(list(arrays)).assign(
        {name: _as_single(_by_shard(array)) for name, array in arrays.items()}
    )
    for variable in opened.variables.values():
        for layout in _LAYOUT:
            variable.encoding.pop(layout, None)
    return opened


def _by_shard(array: xr.Variable) -> xr.Variable:
    return array.chunk(dict(zip(array.dims, array.encoding["shards"], strict=True)))


def _as_single(array: xr.Variable) -> xr.Variable:
    """Return numbers of 16 bits as floats of 32, not of 64 as xarray decodes them."""
    if array.dtype != np.float64:
        return array
    single: xr.Variable = array.astype(np.float32)
    single.encoding = array.encoding
    return single


def _request(
    aoi: Area,
    date: str | dt.date,
    stac: str | Path | None,
    model: str | Path | None,
    bands: Sequence[str] | None,
    settings: RunSettings | str | Path | None,
) -> Request:
    if settings is None:
        settings = RunSettings()
    elif not isinstance(settings, RunSettings):
        settings = build(RunSettings, read_toml(Path(settings)), str(settings))
    if model is not None:
        settings = replace(settings, restoration=replace(settings.restoration, model=str(model)))
    if bands is not None:
        names = bands.split(",") if isinstance(bands, str) else bands
        settings = replace(settings, grid=replace(settings.grid, bands=tuple(names)))
    return Request(
        aoi=aoi, date=str(date), stac=None if stac is None else str(stac), settings=settings
    )
