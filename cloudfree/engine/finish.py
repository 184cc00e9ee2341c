"""Row 14 of the walk: overviews, COGs, preview, STAC, report and run.json of a full cube."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future

from cloudfree.check.figures import warn
from cloudfree.cluster import Workers, run_all
from cloudfree.core.progress import Progress
from cloudfree.core.timing import Stopwatch, peak_memory_bytes
from cloudfree.core.types import AnyArray
from cloudfree.engine.stac_files import PREVIEW, REPORT, write_stac
from cloudfree.engine.step_pictures import Small, picture_steps
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan
from cloudfree.product import provenance, report
from cloudfree.product.assets import name_file
from cloudfree.product.cog import Cog, export_cog
from cloudfree.product.layers import REFERENCE_DAYS, Layer
from cloudfree.product.overviews import OverviewJob, overview_jobs, write_overview
from cloudfree.product.report_page import make_report
from cloudfree.scenes.scene import Scene
from cloudfree.storage.ledger import Totals
from cloudfree.storage.outputs import to_json
from cloudfree.walk.run_facts import RunFacts

logger = logging.getLogger(__name__)

_NAMES = ("%Y-%m-%d", "%Y-%m-%dT%H%M", "%Y-%m-%dT%H%M%S", "%Y-%m-%dT%H%M%S.%f")
"""Of a step, the shortest first."""


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
    names = name_steps([step.time for step in plan.steps])
    fetcher = Fetcher(plan.settings.cube, plan.signer)
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
                reference_days=_first(small.get(_cog_name(name, REFERENCE_DAYS.name))),
            )
            for name in names
        ]
        pictures = picture_steps(facts, names, products, client, fetcher, progress)
        preview = report.draw_preview(pictures)
    shares = [
        provenance.share_references(
            step, facts.reference_table, shown.counts.references, shown.counts.made
        )
        for step, shown in zip(plan.steps, pictures, strict=True)
    ]
    asked_again = [state["retries"], totals.retries, fetcher.retries]
    summary = {**_summary(plan, state, totals, clock), "retries": _add(asked_again)}
    summary["cogs"] = [job.name for job in _cog_jobs(names, plan.layers)]
    for said, of_step in zip(summary["steps"], shares, strict=True):
        said["reference_shares"] = provenance.describe_shares(of_step)
    files = {
        PREVIEW: preview,
        REPORT: make_report(pictures, summary).encode(),
        provenance.RUN: to_json(summary),
    }
    write_stac(plan, facts, state, pictures, shares, cogs, files)
    for name, content in files.items():
        facts.storage.write(name, content)
    logger.info("report.write: %s", facts.storage.address)
    return summary


def _first(bands: AnyArray | None) -> AnyArray | None:
    return None if bands is None else bands[0]


def _add(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def name_steps(times: Sequence[dt.datetime]) -> list[str]:
    """Return a name for each step: its date, with as much of the time of day as tells it apart."""
    spelled = [[f"{time:{how}}" for time in times] for how in _NAMES]
    return [
        next(all_[step] for all_ in spelled if all_.count(all_[step]) == 1)
        for step in range(len(times))
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
    return name_file(step_name, layer, ".tif")


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


def _scenes(plan: Plan) -> Iterable[Scene]:
    """Return what the product was made of, each scene once."""
    own = (scene for step in plan.steps for scene in (*step.optical, *step.radar))
    return {
        (scene.collection, scene.id): scene
        for scene in (*own, *plan.reference_scenes, *plan.watching_scenes)
    }.values()


def _unusable(state: dict[str, Any]) -> list[str]:
    """Return which other days could not be used, and why."""
    left_out = (one for fit in state.get("fits", ()) for one in fit["left_out"])
    said = dict.fromkeys(f"{one['what']} is left out: {one['why']}" for one in left_out)
    return [*said, *state.get("worse", {}).values()]


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
        "warnings": [*plan.warnings(), *warn(state["check"]), *_unusable(state)],
        "began": state["began"],
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "scenes": [provenance.describe_scene(scene) for scene in _scenes(plan)],
        "statistics": state["statistics"],
        "choice": state.get("choices", []),
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
