"""A made-up product to show: what looks and run.json hold, without a run."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from cloudfree.product.layers import NO_DAYS
from cloudfree.product.pixel_counts import count_pixels
from cloudfree.product.report import StepPictures, picture_px

BANDS = ("B04", "B03", "B02")
_START = dt.datetime(2024, 1, 3, 10, 20, tzinfo=dt.UTC)


def make_look(name: str, *, shape: tuple[int, int], seed: int = 0) -> StepPictures:
    """Return a look of noise, which no picture format makes small."""
    rng = np.random.default_rng(seed)
    source = np.where(np.arange(shape[1]) < shape[1] // 2, 1, 2).astype(np.uint8)
    source = np.broadcast_to(source, shape).copy()
    source[0], source[-1] = 0, 3
    days = rng.integers(-30, 31, shape).astype(np.int16)
    days[:, : shape[1] - shape[1] // 4] = NO_DAYS
    source[(source == 2) & (days != NO_DAYS)] = 4
    reflectance = rng.integers(200, 1500, (3, *shape), dtype=np.uint16)
    return StepPictures(
        name=name,
        bands=BANDS,
        observed=rng.integers(0, 255, (*shape, 3), dtype=np.uint8),
        product=rng.integers(0, 255, (*shape, 3), dtype=np.uint8),
        source=source,
        reference_days=np.where(source == 4, days, NO_DAYS).astype(np.int16),
        cloud=np.where(source == 0, 255, (source > 1) * rng.integers(1, 5, shape)).astype(np.uint8),
        decibel=rng.normal(-12, 3, shape).astype(np.float32),
        counts=count_pixels(source, reflectance, (slice(None), slice(None))),
    )


def make_looks(n_steps: int) -> list[StepPictures]:
    """Return looks of that many dates, as large as a run would make them."""
    side = picture_px(n_steps)
    days = [_START + dt.timedelta(days=5 * step) for step in range(n_steps)]
    shape = (round(0.8 * side), side)
    return [make_look(f"{day:%Y-%m-%d}", shape=shape, seed=day.day) for day in days]


def make_summary(n_steps: int = 1, **changed: Any) -> dict[str, Any]:
    """Return what run.json would say; ``changed`` replaces or adds keys."""
    days = [_START + dt.timedelta(days=5 * step) for step in range(n_steps)]
    steps = [_step(index, day, asked_for_a_day=n_steps == 1) for index, day in enumerate(days)]
    scenes = [
        {"id": name, "time": step["time"], "kind": kind}
        for step in steps
        for names, kind in (
            (step["optical"], "L2A"),
            (step["radar"], "gamma0-rtc"),
            ([one["id"] for one in step["reference_shares"]], "L2A"),
        )
        for name in names
    ]
    return {
        "model": "auto 1",
        "needs_radar": False,
        "choice": [
            {
                "optical": "S2_0",
                "radar": "S1_0",
                "maker": "small",
                "why": "small is better than baseline by 0.5 dB",
                "psnr_db": {"small": 18.5, "baseline": 18.0, "inpainting": 17.0},
                "windows": 12,
                "pixels": 123_456,
            }
        ],
        "steps": steps,
        "scenes": scenes,
        "masks": {name: "SCL" for step in steps for name in step["optical"]},
        "mask_file": None,
        "crs": "EPSG:32632",
        "resolution_m": 10.0,
        "shape": [400, 500],
        "bounds": [614520.0, 5332020.0, 619520.0, 5336020.0],
        "area_km2": 20.0,
        "chunks": 4 * n_steps,
        "chunk_px": 256,
        "warnings": [],
        "key": "60906fc896dca6df",
        "request": {
            "date": "2024-01-03",
            "settings": {
                "scenes": {"day_cost": 0.1, "sar_days": 6.0, "min_seen": 0.1},
                "grid": {"bands": list(BANDS)},
                "references": {"days": 75, "most": 8, "dilation_m": 100.0},
            },
        },
        "left_out": [],
        "began": "2026-11-25T14:20:29+00:00",
        "finished": "2026-11-25T14:21:13+00:00",
        "pixels": {
            "seen": 600,
            "reconstructed": 299,
            "other_days": 100,
            "not_restored": 1,
            "limited": 40,
        },
        "windows": {"computed": 177, "skipped": 23},
        "seconds": {"cube.load": 2.5, "restoration": 40.0},
        "peak_memory_bytes": 1_698_283_520,
        "versions": {"python": "3.11.7", "cloudfree": "0.1.0"},
        "attribution": "Contains modified Copernicus Sentinel data",
        "retries": {},
        **changed,
    }


def _step(index: int, day: dt.datetime, *, asked_for_a_day: bool) -> dict[str, Any]:
    optical, radar = f"S2A_MSIL2A_T32UPU_{index:04d}", f"S1A_IW_GRDH_{index:04d}"
    rated = {"covered": 0.991, "days": 0.0, "score": 0.703}
    poor = {"covered": 0.4, "days": 4.0, "score": -0.2, "cloud_percent": 55.0}
    time, earlier = day.isoformat(), (day - dt.timedelta(hours=17.5)).isoformat()
    datatakes = [
        {"time": time, "scenes": [optical], "cloud_percent": 29.0, **rated},
        {"time": earlier, "scenes": [f"S2B_other_{index:04d}"], **poor},
    ]
    return {
        "time": time,
        "optical": [optical],
        "radar": [radar],
        "polarizations": ["vv"],
        "radar_age_h": -17.5,
        "offsets": {optical: {"dn": -1000, "why": "processing baseline 05.10"}},
        "considered": datatakes if asked_for_a_day else [],
        "reference_shares": [
            {"id": f"S2B_before_{index:04d}", "days": -5, "share": 0.2},
            {"id": f"S2A_after_{index:04d}", "days": 10, "share": 0.05063},
        ],
        "radar_considered": [{"time": earlier, "scenes": [radar], **rated}],
    }
