"""Row 14 of the walk: overviews, COGs, preview, STAC Item, report and run.json of a full cube."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future

from cloudfree.check.figures import warn
from cloudfree.cluster import Workers, run_all
from cloudfree.core.progress import Progress
from cloudfree.core.timing import Stopwatch, peak_memory_bytes
from cloudfree.engine.step_pictures import Small, picture_steps, stretch
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan
from cloudfree.product import provenance, report
from cloudfree.product.cog import Cog, export_cog
from cloudfree.product.item import CogAsset, Product, build_item
from cloudfree.product.layers import Layer
from cloudfree.product.overviews import OverviewJob, overview_jobs, write_overview
from cloudfree.product.report_page import make_report
from cloudfree.storage.ledger import Totals
from cloudfree.storage.outputs import checksum, to_json
from cloudfree.walk.run_facts import RunFacts

logger = logging.getLogger(__name__)


def finish(
    plan: Plan,
    facts: RunFacts,
    state: dict[str, Any],
    totals: Totals,
    client: Client,
    clock: Stopwatch,
    progress: Progress,
) -> dict[str, Any]:
    """Write everything beside the cube, ``run.json`` last; return what that says.

    Overviews and COGs are made by the client's workers.
    """
    names, fetcher = _step_names(plan), Fetcher(plan.settings.cube, plan.signer)
    shape = report.reduced_shape(plan.grid.geobox.shape.yx, report.picture_px(len(names)))
    with clock.row("overviews"):
        _shrink(plan, facts, client, progress)
    with clock.row("store.export_cog"):
        cogs = _export(plan, facts, names, shape, client, progress)
    small = {name: cog.small for name, cog in cogs.items()}
    with clock.row("report.write"):
        products = [
            Small(
                reflectance=small[_cog_name(name, "reflectance")],
                source=small[_cog_name(name, "source")][0],
            )
            for name in names
        ]
        pictures = picture_steps(facts, names, products, client, fetcher, progress)
        preview = report.draw_preview(pictures)
        facts.storage.write("preview.png", preview)
    asked_again = [state["retries"], totals.retries, fetcher.retries]
    summary = {**_summary(plan, state, totals, clock), "retries": _add(asked_again)}
    summary["cogs"] = [job.name for job in _cog_jobs(names, plan.layers)]
    files = {
        "preview.png": preview,
        "report.html": make_report(pictures, summary).encode(),
        provenance.RUN: to_json(summary),
    }
    item = build_item(
        describe_product(plan),
        identifier=f"cloudfree-{state['key'][:12]}",
        cogs=_cog_assets(plan, facts, names, cogs),
        files={name: checksum(content) for name, content in files.items()},
        summary=summary,
    )
    facts.storage.write_json("item.json", item)
    facts.storage.write("report.html", files["report.html"])
    facts.storage.write(provenance.RUN, files[provenance.RUN])
    logger.info("report.write: %s", facts.storage.address)
    return summary


def describe_product(plan: Plan) -> Product:
    """Return what the Item says of a plan's product."""
    return Product(
        grid=plan.grid,
        steps=plan.steps,
        layers=plan.layers,
        bands=plan.settings.grid.bands,
        contract=plan.bundle.contract,
        found=plan.items,
    )


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


def _shrink(plan: Plan, facts: RunFacts, client: Client, progress: Progress) -> None:
    """Write the cube's overviews, one after the other, each of the one above it."""

    def submit(job: OverviewJob, _: Workers) -> Future[None]:
        return client.submit(write_overview, facts.storage, job, pure=False)

    levels = [
        list(overview_jobs(facts.plan, len(plan.steps), factor))
        for factor in facts.plan.overview_factors
    ]
    with progress.track("overviews", sum(map(len, levels)), "shards") as advance:
        for jobs in levels:
            for _ in run_all(client, jobs, submit):
                advance(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CogJob:
    step: int
    step_name: str
    layer: Layer

    @property
    def name(self) -> str:
        return _cog_name(self.step_name, self.layer.name)


def _cog_name(step_name: str, layer: str) -> str:
    return f"{step_name}_{layer}.tif"


def _cog_jobs(names: list[str], layers: tuple[Layer, ...]) -> list[_CogJob]:
    return [
        _CogJob(step=step, step_name=name, layer=layer)
        for step, name in enumerate(names)
        for layer in layers
        if layer.exported
    ]


def _export(
    plan: Plan,
    facts: RunFacts,
    names: list[str],
    shape: tuple[int, int],
    client: Client,
    progress: Progress,
) -> dict[str, Cog]:
    """Write every COG, one Dask job each; return them by name."""
    jobs = _cog_jobs(names, plan.layers)

    def submit(job: _CogJob, _: Workers) -> Future[Cog]:
        return client.submit(
            export_cog,
            facts.storage,
            job.step,
            job.layer,
            job.name,
            plan=facts.plan,
            bands=plan.settings.grid.bands,
            time=plan.steps[job.step].time,
            shape=shape,
            pure=False,
        )

    cogs: dict[str, Cog] = {}
    with progress.track("export", len(jobs), "COG") as advance:
        for job, cog in run_all(client, jobs, submit):
            cogs[job.name] = cog
            advance(1)
    return cogs


def _cog_assets(
    plan: Plan, facts: RunFacts, names: list[str], cogs: Mapping[str, Cog]
) -> list[CogAsset]:
    assets = []
    for job in _cog_jobs(names, plan.layers):
        cog = cogs[job.name]
        low, high = stretch(facts, plan.steps[job.step])
        shown = tuple(zip(low.tolist(), high.tolist(), strict=True))
        if not job.layer.has_bands:
            shown = tuple((0.0, 1.0 if one is None else one.maximum) for one in cog.statistics)
        assets.append(
            CogAsset(
                key=job.name.removesuffix(".tif"),
                name=job.name,
                layer=job.layer,
                shown=shown,
                cog=cog,
            )
        )
    return assets


def _summary(plan: Plan, state: dict[str, Any], totals: Totals, clock: Stopwatch) -> dict[str, Any]:
    rows = Stopwatch()
    rows.add(totals.seconds)
    rows.add({row: seconds for row, seconds in clock.seconds.items() if row != "chunks"})
    return {
        **plan.describe(),
        "key": state["key"],
        "request": state["request"],
        "left_out": state["left_out"],
        "check": state["check"],
        "warnings": [*plan.warnings(), *warn(state["check"])],
        "began": state["began"],
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "scenes": [
            provenance.describe_scene(scene)
            for step in plan.steps
            for scene in (*step.optical, *step.radar)
        ],
        "statistics": state["statistics"],
        "pixels": dict(totals.pixels),
        "windows": {
            "computed": totals.windows,
            "skipped": totals.windows_skipped,
        },
        "seconds": rows.seconds,
        "wall_seconds": clock.seconds,
        "peak_memory_bytes": max(peak_memory_bytes(), totals.peak_memory_bytes),
        "versions": provenance.versions(),
        "attribution": provenance.ATTRIBUTION,
    }
