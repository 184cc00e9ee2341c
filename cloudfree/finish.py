"""Row 14 of the walk: a finished cube as COGs, preview, STAC Item, run.json and report."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cloudfree import ledger, provenance, report, store
from cloudfree.chunk import Work
from cloudfree.observe import observe
from cloudfree.plan import Plan
from cloudfree.progress import Progress
from cloudfree.radiometry import assume_optical
from cloudfree.remote import Fetcher
from cloudfree.timing import Stopwatch, peak_memory_bytes
from cloudfree.types import UInt8Array

logger = logging.getLogger(__name__)

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_COUNTS = ("seen", "reconstructed", "not_restored", "limited")
_CONTACT_PX = 300
"""Side of a picture in the preview where there are several steps."""


def finish(
    plan: Plan,
    work: Work,
    state: dict[str, Any],
    records: dict[str, dict[str, Any]],
    clock: Stopwatch,
    progress: Progress,
) -> dict[str, Any]:
    """Write everything beside the cube; return what run.json says."""
    names, fetcher = _step_names(plan), Fetcher(plan.settings.cube, plan.signer)
    with clock.row("store.export_cog"):
        _export(plan, work, names, progress)
    with clock.row("report.write"):
        report.write_preview(work.out / "preview.png", _pictures(plan, work, names, fetcher))
    asked_again = [state["retries"], *(r["retries"] for r in records.values()), fetcher.retries]
    summary = {**_summary(plan, state, records, clock), "retries": _add(asked_again)}
    ledger.write_json(work.out / "item.json", _item(plan, state["key"], summary, names, work.out))
    ledger.write_json(work.out / "run.json", summary)
    report.write_report(work.out, summary)
    logger.info("report.write: %s", work.out)
    return summary


def _add(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def _step_names(plan: Plan) -> list[str]:
    """Return each step's date, with the time of day where dates repeat."""
    dates = [f"{step.time:%Y-%m-%d}" for step in plan.steps]
    return [
        date if dates.count(date) == 1 else f"{step.time:%Y-%m-%dT%H%M}"
        for date, step in zip(dates, plan.steps, strict=True)
    ]


def _export(plan: Plan, work: Work, names: list[str], progress: Progress) -> None:
    with progress.track("export", 2 * len(names), "COG") as advance:
        for step, name in enumerate(names):
            for layer in store.EXPORTED:
                store.export_cog(
                    work.out / "cube.zarr",
                    step,
                    layer,
                    work.out / f"{name}_{layer}.tif",
                    plan=work.plan,
                    bands=plan.settings.grid.bands,
                )
                advance(1)


def _pictures(
    plan: Plan, work: Work, names: list[str], fetcher: Fetcher
) -> list[tuple[str, list[UInt8Array]]]:
    """Return per step what was observed, the product and its source, small."""
    bands = plan.settings.grid.bands
    longest = report.PREVIEW_PX if len(names) == 1 else _CONTACT_PX
    shape = report.reduced_shape(plan.grid.geobox.shape.yx, longest)
    geobox = plan.grid.geobox.zoom_to(shape)
    rows = []
    for step, name in zip(plan.steps, names, strict=True):
        observation, _ = observe(step, geobox, plan.settings, fetcher, Stopwatch(), reduced=True)
        product = report.read_reduced(work.out / f"{name}_reflectance.tif", shape)
        source = report.read_reduced(work.out / f"{name}_source.tif", shape)[0]
        own = {scene.id for scene in step.optical}
        measured = (one.optical for (name, _), one in work.statistics.items() if name in own)
        statistics = next(measured, assume_optical(len(bands)))
        limits = np.array(statistics.low, np.float32), np.array(statistics.high, np.float32)
        rows.append(
            (
                name,
                [
                    report.true_colour(observation.reflectance, bands, *limits),
                    report.true_colour(product, bands, *limits),
                    report.source_colours(source),
                ],
            )
        )
    return rows


def _summary(
    plan: Plan, state: dict[str, Any], records: dict[str, dict[str, Any]], clock: Stopwatch
) -> dict[str, Any]:
    rows = Stopwatch()
    for record in records.values():
        rows.add(record["seconds"])
    rows.add({row: seconds for row, seconds in clock.seconds.items() if row != "chunks"})
    return {
        **plan.describe(),
        "key": state["key"],
        "request": state["request"],
        "left_out": state["left_out"],
        "began": state["began"],
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "scenes": [
            provenance.describe_scene(scene)
            for step in plan.steps
            for scene in (*step.optical, *step.radar)
        ],
        "statistics": state["statistics"],
        "pixels": {name: sum(r[name] for r in records.values()) for name in _COUNTS},
        "windows": {
            "computed": sum(record["windows"] for record in records.values()),
            "skipped": sum(record["windows_skipped"] for record in records.values()),
        },
        "seconds": rows.seconds,
        "wall_seconds": clock.seconds,
        "peak_memory_bytes": max(
            [peak_memory_bytes(), *(record["peak_memory_bytes"] for record in records.values())]
        ),
        "versions": provenance.versions(),
        "attribution": provenance.ATTRIBUTION,
    }


def _item(
    plan: Plan, key: str, summary: dict[str, Any], names: list[str], out: Path
) -> dict[str, Any]:
    assets = [("cube", out / "cube.zarr", "application/vnd+zarr; version=3", ["data"])]
    for name in names:
        for layer in store.EXPORTED:
            role = "data" if layer == "reflectance" else "metadata"
            assets.append((f"{name}_{layer}", out / f"{name}_{layer}.tif", _COG, [role]))
    assets += [
        ("preview", out / "preview.png", "image/png", ["thumbnail"]),
        ("report", out / "report.html", "text/html", ["overview"]),
        ("run", out / "run.json", "application/json", ["metadata"]),
    ]
    return provenance.build_item(
        identifier=f"cloudfree-{key[:12]}",
        geobox=plan.grid.geobox,
        steps=plan.steps,
        assets=assets,
        properties={"cloudfree:model": summary["model"], "cloudfree:pixels": summary["pixels"]},
    )
