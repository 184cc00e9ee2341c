"""The walk as a whole: plan, measure, restore chunk by chunk, finish. Resumes what it finds."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client, as_completed

from cloudfree import catalog, ledger, mask_file, provenance, report, store
from cloudfree.aoi import read_aoi
from cloudfree.bundle import open_bundle
from cloudfree.chunk import PairKey, Work, job_name, restore_chunk
from cloudfree.cluster import connect, room
from cloudfree.config import RunSettings
from cloudfree.errors import (
    CloudfreeError,
    OutputError,
    StoreError,
)
from cloudfree.finish import finish
from cloudfree.grid import Chunk
from cloudfree.harmonisation import Offset
from cloudfree.keys import product_key
from cloudfree.ledger import Ledger
from cloudfree.measure import PairStatistics, before_the_start, measure_pair, settle_offsets
from cloudfree.plan import Plan, Request, make_plan
from cloudfree.progress import Progress, Silent
from cloudfree.providers import Sources
from cloudfree.remote import Fetcher
from cloudfree.scenes import Scene, parse_period
from cloudfree.screen import passed_over, screen
from cloudfree.timing import Stopwatch
from cloudfree.types import Model, Signer

logger = logging.getLogger(__name__)

_FOOTPRINT_SLACK_DEG = 0.02
"""Footprints in catalogs are a little off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    out: Path
    """The output folder."""
    summary: dict[str, Any]
    """What run.json says; empty where chunks failed."""
    failed: dict[str, str]
    """Chunk -> why it failed."""
    chunks_done: int
    """Chunks of this product that are finished, now and before."""
    chunks_resumed: int
    """Of these, finished before this run began."""


def run(
    request: Request, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Make the product in ``out``, or finish the one that was begun there.

    Nothing is written before the request is known to be right. Raises a RequestError of one
    line where it is not, StoreError where the disk fails. Chunks that fail do not stop the
    others; they are named in the outcome, and the same call does them again.
    """
    progress = progress or Silent()
    clock = Stopwatch()
    ledger.refuse_strangers(out)
    book = Ledger(folder=out / "ledger")
    asked = _asked(request)
    state = None if overwrite else book.read_state()
    items, left_out = None, []
    if state is not None:
        ledger.refuse_other(out, state["request"], asked)
        items, left_out = report.read_json(out / "items.json")["features"], state["left_out"]
        grid_settings = replace(request.settings.grid, chunk_px=state["chunk_px"])
        request = replace(request, settings=replace(request.settings, grid=grid_settings))
    with clock.row("plan"):
        plan = make_plan(request, items, passed_over=passed_over(left_out))
    with connect(request.settings.engine) as client:
        with clock.row("radiometry.measure_scene"):
            fetcher = Fetcher(plan.settings.cube, plan.signer)
            plan = _settle_offsets(plan, state, fetcher)
        if state is None:
            with clock.row("screen"):
                plan, left_out, retries = screen(request, plan, client, progress)
            with clock.row("radiometry.measure_scene"):
                statistics, asked_again = _measure(plan, client, progress)
                retries.update(asked_again)
                retries.update(fetcher.retries)
            state = _begin(plan, asked, statistics, retries, left_out, out, overwrite=overwrite)
        work = _work(plan, state, out)
        if not (out / "cube.zarr").is_dir():
            _create_cube(plan, work)
        done = {name for name, _ in book.marks(work.key)}
        with clock.row("chunks"):
            failed = _restore_all(work, client, done, progress)
    records = dict(book.marks(work.key))
    if failed:
        return Outcome(
            out=out, summary={}, failed=failed, chunks_done=len(records), chunks_resumed=len(done)
        )
    summary = finish(plan, work, state, records, clock, progress)
    return Outcome(
        out=out, summary=summary, failed={}, chunks_done=len(records), chunks_resumed=len(done)
    )


def _asked(request: Request) -> dict[str, Any]:
    """Return the facts of a request that determine the product; not how it is worked off."""
    settings = asdict(request.settings)
    if request.settings.masks.file is not None:
        settings["masks"]["source"] = mask_file.fingerprint(request.settings.masks.file)
    del settings["engine"], settings["cube"], settings["restoration"]
    del settings["grid"]["chunk_px"]
    settings["catalog"] = {"max_cloud_percent": request.settings.catalog.max_cloud_percent}
    return {
        "aoi": read_aoi(request.aoi).geojson,
        "date": str(parse_period(request.date)),
        "sources": _sources(request.sources),
        "settings": _plain(settings),
        "model": _plain(asdict(open_bundle(request.settings.restoration.model).contract)),
        "precision": "fp32",
    }


def _sources(sources: Sources) -> dict[str, Any]:
    """Return where scenes come from and by which tables they are read."""
    facts = _plain(asdict(sources))
    assert isinstance(facts, dict)
    for name in ("optical_address", "radar_address"):
        facts[name] = catalog.address_of(facts[name])
    return facts


def _plain(value: Any) -> Any:
    """Return tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _settle_offsets(plan: Plan, state: dict[str, Any] | None, fetcher: Fetcher) -> Plan:
    """Return the plan with every scene's offset known; a resumed run takes those it began with."""
    if state is not None:
        known = {name: Offset(**offset) for name, offset in state["offsets"].items()}
        steps = tuple(
            replace(step, optical=tuple(replace(s, offset=known[s.id]) for s in step.optical))
            for step in plan.steps
        )
        return replace(plan, steps=steps)
    with before_the_start():
        steps = settle_offsets(plan.steps, plan.settings, plan.bundle.contract, fetcher)
        return replace(plan, steps=steps)


def _measure(
    plan: Plan, client: Client, progress: Progress
) -> tuple[dict[PairKey, PairStatistics], Counter[str]]:
    """Measure every pair of an optical and a radar scene that meet; one Dask job a pair.

    Also returns how often servers were asked again.
    """
    model = client.scatter(plan.bundle.load(), hash=False)
    pairs = {
        (optical.id, radar.id): (optical, radar, step.polarizations)
        for step in plan.steps
        for optical, radar in itertools.product(step.optical, step.radar)
        if optical.footprint.buffer(_FOOTPRINT_SLACK_DEG).intersects(radar.footprint)
    }
    measured: dict[PairKey, PairStatistics] = {}
    retries: Counter[str] = Counter()
    with progress.track("measure scenes", len(pairs), "scenes") as advance:
        names = {
            client.submit(
                _measure_one,
                plan.settings,
                plan.signer,
                optical,
                radar,
                polarizations,
                model,
                pure=False,
            ): key
            for key, (optical, radar, polarizations) in pairs.items()
        }
        for future in as_completed(names, loop=client.loop):
            with before_the_start():
                measured[names[future]], asked_again = future.result()
            retries.update(asked_again)
            advance(1)
    logger.info("radiometry.measure_scene: %d pairs of scenes", len(measured))
    return {key: measured[key] for key in sorted(measured)}, retries


def _measure_one(
    settings: RunSettings,
    signer: Signer,
    optical: Scene,
    radar: Scene,
    polarizations: tuple[str, ...],
    model: Model,
) -> tuple[PairStatistics, dict[str, int]]:
    """Return what was measured, and how often servers were asked again."""
    fetcher = Fetcher(settings.cube, signer)
    statistics = measure_pair(
        optical,
        radar,
        polarizations=polarizations,
        model=model,
        settings=settings,
        fetcher=fetcher,
        clock=Stopwatch(),
    )
    return statistics, fetcher.retries


def _begin(
    plan: Plan,
    asked: dict[str, Any],
    statistics: dict[PairKey, PairStatistics],
    retries: Counter[str],
    left_out: list[dict[str, Any]],
    out: Path,
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Write down what the run is; the first thing that touches the output."""
    features = {"type": "FeatureCollection", "features": plan.items}
    measured = [
        {"optical": optical, "radar": radar, "statistics": _plain(one.as_json())}
        for (optical, radar), one in statistics.items()
    ]
    scenes = [
        provenance.describe_scene(s) for step in plan.steps for s in (*step.optical, *step.radar)
    ]
    state = {
        "request": asked,
        "key": product_key({**asked, "scenes": scenes, "statistics": measured}),
        "left_out": left_out,
        "chunk_px": plan.grid.chunk_px,
        "statistics": measured,
        "retries": dict(sorted(retries.items())),
        "offsets": {s.id: asdict(s.offset) for step in plan.steps for s in step.optical},
        "began": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    try:
        if overwrite:
            ledger.remove_run(out)
        existing = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
        need = 2 * plan.grid.stored_bytes(len(plan.settings.grid.bands), len(plan.steps))
        free = _free_bytes(existing)
        if free < need:
            raise OutputError(
                f"--out {out} needs up to {need / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; "
                "make room or give another folder"
            )
        (out / "ledger").mkdir(parents=True, exist_ok=True)
        ledger.write_json(out / "items.json", features)
        Ledger(folder=out / "ledger").write_state(state)
    except OSError as error:
        raise OutputError(f"cannot write to --out {out}: {error.strerror}") from None
    return state


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _work(plan: Plan, state: dict[str, Any], out: Path) -> Work:
    optical = itertools.accumulate((len(s.optical) for s in plan.steps), initial=0)
    radar = itertools.accumulate((len(s.radar) for s in plan.steps), initial=0)
    return Work(
        out=out.resolve(),
        key=state["key"],
        plan=plan.grid,
        steps=plan.steps,
        first_optical=tuple(optical)[:-1],
        first_radar=tuple(radar)[:-1],
        statistics={
            (one["optical"], one["radar"]): PairStatistics.from_json(one["statistics"])
            for one in state["statistics"]
        },
        settings=plan.settings,
        signer=plan.signer,
    )


def _create_cube(plan: Plan, work: Work) -> None:
    attributes = {
        "title": "cloud-free Sentinel-2 mosaic",
        "source": f"cloudfree, model {plan.bundle.contract.name} {plan.bundle.contract.version}",
        "attribution": provenance.ATTRIBUTION,
        "optical_scenes": [s.id for step in plan.steps for s in step.optical],
        "radar_scenes": [s.id for step in plan.steps for s in step.radar],
        "steps": [provenance.describe_step(step) for step in plan.steps],
    }
    try:
        store.create_cube(
            work.out / "cube.zarr", plan.grid, plan.steps, plan.settings.grid.bands, attributes
        )
    except OSError as error:
        raise StoreError(f"cannot create {work.out / 'cube.zarr'}: {error.strerror}") from None


def _restore_all(work: Work, client: Client, done: set[str], progress: Progress) -> dict[str, str]:
    """Do every chunk that has no mark, a bounded number in flight; return those that failed."""
    n_steps = len(work.steps)
    total = sum(chunk.pixels for chunk in work.plan.chunks()) * n_steps
    jobs = ((step, chunk) for step in range(n_steps) for chunk in work.plan.chunks())
    failed: dict[str, str] = {}
    with progress.track("restore", total, "px") as advance:
        shared = client.scatter(work, broadcast=True, hash=False)
        running: dict[Any, tuple[int, Chunk]] = {}
        results = as_completed(loop=client.loop)

        def submit_next() -> None:
            for step, chunk in jobs:
                if job_name(step, chunk) in done:
                    advance(chunk.pixels)
                    continue
                future = client.submit(restore_chunk, shared, step, chunk, pure=False)
                running[future] = (step, chunk)
                results.add(future)
                return

        for _ in range(room(client)):
            submit_next()
        for future in results:
            step, chunk = running.pop(future)
            error = future.exception()
            if isinstance(error, StoreError):
                raise error
            if error is not None:
                failed[job_name(step, chunk)] = _reason(error)
                logger.error("chunk %s failed: %s", job_name(step, chunk), _reason(error))
            advance(chunk.pixels)
            submit_next()
    return failed


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CloudfreeError) else f"{type(error).__name__}: {text}"
