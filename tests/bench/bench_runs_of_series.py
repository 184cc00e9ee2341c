"""The same as bench_other_days.py through whole runs: a catalog of each series, one date hidden.

    python tests/bench/bench_runs_of_series.py ../shared/data/series --finland ../shared/stac/scenes

Targets, shapes and figures are those of bench_other_days.py. Each case becomes a folder of GeoTIFF
and STAC items in which the target's pixels under the shape are white and called cloud; masks are
not grown, so that what is hidden is the same. A run makes the product; printed are its PSNR under
the shape by kind of made pixel, what its self-check stated, and the seconds. Prints Markdown;
``--out`` keeps the products, with a picture of each case: truth, given, made, source.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import shapely
import xarray as xr
from bench_other_days import KINDS, RADAR_REPEAT_DAYS, Case, hide, psnr, read_all
from PIL import Image
from rasterio.transform import from_origin
from rasterio.warp import transform_geom

import cloudfree
from cloudfree.core.bands import WHITE
from cloudfree.core.config import (
    EngineSettings,
    GridSettings,
    MaskSettings,
    ReferenceSettings,
    RunSettings,
    SceneSettings,
)

EPSG, WEST, NORTH = 32633, 500_040.0, 5_400_000.0
FIRST = dt.date(2020, 1, 1)
CLOUD_DN, CLEAR_CLASS, CLOUD_CLASS = 9000, 4, 9
COLOURS = np.array([(20, 20, 20), (222, 222, 216), (38, 120, 178), (205, 62, 48), (92, 172, 112)])


def write_catalog(case: Case, folder: Path) -> tuple[Path, dict[str, object]]:
    """Write the files of all dates and their items; return the items' file and the area."""
    series = case.series
    height, width = case.seen.shape
    right, bottom = WEST + 10 * width, NORTH - 10 * height
    box = shapely.geometry.mapping(shapely.box(WEST, bottom, right, NORTH))
    ground = transform_geom(f"EPSG:{EPSG}", "EPSG:4326", box)
    items = []
    for index, day in enumerate(series.days):
        clear = series.clear[index] & ~((index == case.time) & case.hidden)
        numbers = np.where(clear, series.optical[index], np.maximum(series.optical[index], 1))
        if index == case.time:
            numbers = np.where(case.hidden, CLOUD_DN, numbers)
        layers = {
            band_name(name): band
            for name, band in zip(series.bands, numbers, strict=True)
            if band_name(name) == name or band_name(name) not in series.bands
        }
        layers["SCL"] = np.where(clear, CLEAR_CLASS, CLOUD_CLASS).astype(np.uint8)
        facts = {
            "platform": "sentinel-2a",
            "eo:cloud_cover": round(100 * float(1 - clear.mean()), 1),
            "s2:processing_baseline": "02.14",
            "s2:mgrs_tile": "33UVP",
        }
        when = dt.datetime.combine(FIRST + dt.timedelta(days=int(day)), dt.time(10))
        items.append(write_item(folder, "sentinel-2-l2a", when, ground, layers, facts, index))
    for index, day in enumerate(series.radar_days):
        power = np.where(np.isfinite(series.radar[index]), 10 ** (series.radar[index] / 10), np.nan)
        names = ("vv", "vh")[: len(power)]
        layers = dict(zip(names, power.astype(np.float32), strict=True))
        when = dt.datetime.combine(FIRST + dt.timedelta(days=int(day)), dt.time(5))
        facts = {
            "platform": "sentinel-1a",
            "sat:orbit_state": "ascending",
            "sat:relative_orbit": 1 + int(day) % RADAR_REPEAT_DAYS,
        }
        items.append(write_item(folder, "sentinel-1-rtc", when, ground, layers, facts, index))
    file = folder / "items.json"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    inner = shapely.box(WEST + 1, bottom + 1, right - 1, NORTH - 1)
    area = transform_geom(f"EPSG:{EPSG}", "EPSG:4326", shapely.geometry.mapping(inner))
    return file, area


def band_name(name: str) -> str:
    """Return a band under a name that the product has."""
    return "B08" if name == "B8A" else name


def write_item(
    folder: Path,
    collection: str,
    when: dt.datetime,
    ground: dict[str, object],
    layers: dict[str, np.ndarray],
    facts: dict[str, object],
    index: int,
) -> dict[str, object]:
    """Write the files of a scene; return its item."""
    name = f"{collection}-{index:03d}"
    for layer, pixels in layers.items():
        profile = {
            "driver": "GTiff",
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "count": 1,
            "dtype": pixels.dtype,
            "crs": f"EPSG:{EPSG}",
            "transform": from_origin(WEST, NORTH, 10, 10),
            "nodata": np.nan if pixels.dtype == np.float32 else 0,
        }
        with rasterio.open(folder / f"{name}_{layer}.tif", "w", **profile) as file:
            file.write(pixels, 1)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": ground,
        "bbox": list(shapely.geometry.shape(ground).bounds),
        "properties": {"datetime": f"{when.isoformat()}Z", "proj:epsg": EPSG, **facts},
        "links": [],
        "assets": {layer: {"href": f"./{name}_{layer}.tif"} for layer in layers},
    }


def run_case(case: Case, folder: Path, model: str, days: float) -> dict[str, object]:
    """Return the figures of a run."""
    items, area = write_catalog(case, folder)
    wanted = tuple(dict.fromkeys(band_name(name) for name in case.series.bands))
    date = str(FIRST + dt.timedelta(days=int(case.series.days[case.time])))
    settings = RunSettings(
        scenes=SceneSettings(optical_days=0, min_seen=0),
        references=ReferenceSettings(days=days, dilation_m=0),
        grid=GridSettings(bands=wanted, chunk_px=256, crs=f"EPSG:{EPSG}"),
        masks=MaskSettings(dilation_m=0, min_area_m2=0),
        engine=EngineSettings(reader_threads=2),
    )
    start = time.perf_counter()
    outcome = cloudfree.run(
        area, date, stac=items, out=folder / "product", model=model, settings=settings
    )
    seconds = time.perf_counter() - start
    height, width = case.seen.shape  # the grid's edges lie on multiples of 60 m, as these do
    cube = xr.open_zarr(folder / "product" / "cube.zarr").isel(time=0)
    cube = cube.isel(y=slice(height), x=slice(width)).load()
    source = cube.source.to_numpy()
    made = np.nan_to_num(cube.reflectance.to_numpy()) * 1e4
    names = [band_name(name) for name in case.series.bands]
    truth = np.stack([case.truth[names.index(band)] for band in wanted]).astype(np.float64)
    squared = ((np.clip(made, 1, WHITE) - np.minimum(truth, WHITE)) ** 2).mean(axis=0)
    draw(case, wanted, made, truth, source, folder)
    figures: dict[str, object] = {"seconds": seconds, "summary": outcome.summary}
    for kind, codes in (("all", (2, 4)), ("other days", (4,)), ("alone", (2,))):
        where = case.hidden & np.isin(source, codes)
        figures[kind] = psnr(squared[where].mean()) if where.any() else None
        figures[f"{kind} px"] = int(where.sum())
    return figures


def draw(
    case: Case,
    bands: tuple[str, ...],
    made: np.ndarray,
    truth: np.ndarray,
    source: np.ndarray,
    folder: Path,
) -> None:
    """Write a picture: truth, given, made, source."""
    shown = [bands.index(one) for one in ("B04", "B03", "B02") if one in bands]
    shown = shown if len(shown) == 3 else [0, 0, 0]
    low, high = np.percentile(truth[shown], (1, 99))
    given = np.where(case.hidden, CLOUD_DN, truth)
    pictures = [np.clip((one[shown] - low) / (high - low), 0, 1) for one in (truth, given, made)]
    stacked = [np.moveaxis(255 * one, 0, -1) for one in pictures] + [COLOURS[source]]
    whole = Image.fromarray(np.concatenate(stacked, axis=1).astype(np.uint8))
    times = max(1, 256 // source.shape[0])
    whole.resize((whole.width * times, whole.height * times), Image.Resampling.NEAREST).save(
        folder / "case.png"
    )


def told(check: dict[str, object] | None, kind: str) -> str:
    """Return what a self-check stated of a kind."""
    found = check if kind == "alone" else (check or {}).get("other_days")
    models = (found or {}).get("models") or {}
    return f"{next(iter(models.values()))['psnr_db']:.1f}" if models else ""


def main(arguments: argparse.Namespace) -> None:
    """Print the table."""
    every = read_all(arguments.folder, arguments.finland)
    print("| case | all | other days | stated | alone | stated | px | s |\n|---|" + "---|" * 7)
    for kind, names in KINDS.items():
        means = []
        for name in names:
            if name not in every or name not in (arguments.only or every):
                continue
            for index, case in enumerate(hide(every, name, arguments.cases, arguments.seed)):
                with tempfile.TemporaryDirectory() as scratch:
                    folder = Path(arguments.out or scratch) / f"{name}-{index}"
                    folder.mkdir(parents=True)
                    found = run_case(case, folder, arguments.model, arguments.days)
                check = found["summary"]["check"]
                one = [
                    f"{found[k]:.2f}" if found[k] else "" for k in ("all", "other days", "alone")
                ]
                print(
                    f"| {name} day {case.series.days[case.time]} | {one[0]} | {one[1]} | "
                    f"{told(check, 'other days')} | {one[2]} | {told(check, 'alone')} | "
                    f"{found['other days px']} + {found['alone px']} | {found['seconds']:.0f} |",
                    flush=True,
                )
                means.append(found["all"])
        if means:
            print(f"| **{kind}, mean of {len(means)}** | **{np.mean(means):.2f}** | | | | | | |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--finland", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--days", type=float, default=75)
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
