"""What a run settles, measures and writes down before its first chunk; resume takes it up."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from distributed import Client, Future

from cloudfree.check.figures import Check
from cloudfree.cluster import Workers, read_shared, run_all
from cloudfree.core.config import RunSettings
from cloudfree.core.errors import OutputError
from cloudfree.core.keys import product_key
from cloudfree.core.progress import Progress
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import Signer
from cloudfree.engine.fits import Fits, describe_fit, read_fit
from cloudfree.geometry.aoi import read_aoi
from cloudfree.geometry.crs import name_crs
from cloudfree.pixels import mask_file
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan, Request
from cloudfree.product import provenance, store
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.uncertainty import Calibration
from cloudfree.scenes import catalog
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.providers import Sources
from cloudfree.scenes.scene import Scene, parse_period
from cloudfree.storage import ledger
from cloudfree.storage.ledger import Ledger
from cloudfree.storage.outputs import Storage
from cloudfree.walk.measure import (
    NO_RADAR,
    PairStatistics,
    before_the_start,
    map_optical,
    measure_pair,
    settle_offsets,
)
from cloudfree.walk.references import FittedReferences
from cloudfree.walk.run_facts import PairKey, RunFacts

logger = logging.getLogger(__name__)

_FOOTPRINT_SLACK_DEG = 0.02
"""Footprints in catalogs are a little off."""


def describe_request(request: Request) -> dict[str, Any]:
    """Return the facts of a request that determine the product; not how it is worked off."""
    settings = asdict(request.settings)
    if request.settings.masks.file is not None:
        settings["masks"]["source"] = mask_file.fingerprint(request.settings.masks.file)
    for name in ("engine", "cube", "restoration", "kubernetes"):
        del settings[name]
    if not request.settings.references.days:
        del settings["references"]
    if not request.settings.uncertainty.write:
        del settings["selfcheck"]  # only then does it change the product
    del settings["grid"]["chunk_px"]
    settings["catalog"] = {"max_cloud_percent": request.settings.catalog.max_cloud_percent}
    return {
        "aoi": read_aoi(request.aoi).geojson,
        "date": str(parse_period(request.date)),
        "sources": _sources(request.sources),
        "settings": _plain(settings),
        "model": _describe_model(request.settings.restoration.model),
        "precision": "fp32",
    }


def _describe_model(name: str) -> dict[str, Any]:
    """Return a contract's facts; its bars under their first name, so that older runs go on."""
    facts = _plain(asdict(open_bundle(name).contract))
    assert isinstance(facts, dict)
    facts["reference"] = facts.pop("bars")
    candidates = facts.pop("candidates")
    if candidates:
        facts["candidates"] = [_describe_model(one) for one in candidates]
    return facts


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


def describe_grid(plan: Plan) -> dict[str, Any]:
    """Return what tells a grid from others over the same area: a resumed run must have the same."""
    return {"crs": name_crs(plan.grid.crs), "shape": list(plan.grid.geobox.shape)}


def settle(plan: Plan, state: dict[str, Any] | None, fetcher: Fetcher) -> Plan:
    """Return the plan with every scene's offset known; a resumed run takes those it began with."""
    if state is not None:
        known = {name: Offset(**offset) for name, offset in state["offsets"].items()}
        steps = tuple(
            map_optical(step, lambda scenes: tuple(replace(s, offset=known[s.id]) for s in scenes))
            for step in plan.steps
        )
        return replace(plan, steps=steps)
    with before_the_start():
        steps = settle_offsets(plan.steps, plan.settings, plan.bundle.contract, fetcher)
        return replace(plan, steps=steps)


def measure_pairs(
    plan: Plan, client: Client, model: str, progress: Progress
) -> tuple[dict[PairKey, PairStatistics], Counter[str]]:
    """Measure every pair of an optical and a radar scene that meet; one Dask job a pair.

    Where the model can do without radar, an optical scene that meets none is measured alone.
    ``model`` is the name under which workers share it. Also returns how often servers were asked
    again.
    """
    pairs: dict[PairKey, tuple[Scene, Scene | None, tuple[str, ...]]] = {
        (optical.id, radar.id): (optical, radar, step.polarizations)
        for step in plan.steps
        for optical, radar in itertools.product(step.optical, step.radar)
        if optical.footprint.buffer(_FOOTPRINT_SLACK_DEG).intersects(radar.footprint)
    }
    if not plan.bundle.contract.needs_radar:
        paired = {name for name, _ in pairs}
        pairs |= {
            (scene.id, NO_RADAR): (scene, None, step.polarizations)
            for step in plan.steps
            for scene in step.optical
            if scene.id not in paired
        }
    measured: dict[PairKey, PairStatistics] = {}
    retries: Counter[str] = Counter()

    def submit(key: PairKey, _: Workers) -> Future[tuple[PairStatistics, dict[str, int]]]:
        settings, signer = plan.settings, plan.signer
        return client.submit(_measure_one, settings, signer, *pairs[key], model, pure=False)

    with progress.track("measure scenes", len(pairs), "scenes") as advance, before_the_start():
        for key, (statistics, asked_again) in run_all(client, pairs, submit):
            measured[key] = statistics
            retries.update(asked_again)
            advance(1)
    logger.info("radiometry.measure_scene: %d pairs of scenes", len(measured))
    return {key: measured[key] for key in sorted(measured)}, retries


def _measure_one(
    settings: RunSettings,
    signer: Signer,
    optical: Scene,
    radar: Scene | None,
    polarizations: tuple[str, ...],
    model: str,
) -> tuple[PairStatistics, dict[str, int]]:
    """Return what was measured, and how often servers were asked again."""
    fetcher = Fetcher(settings.cube, signer)
    statistics = measure_pair(
        optical,
        radar,
        polarizations=polarizations,
        model=read_shared(model),
        settings=settings,
        fetcher=fetcher,
        clock=Stopwatch(),
    )
    return statistics, fetcher.retries


def check_room(plan: Plan, storage: Storage) -> None:
    """Raise OutputError where the product may not fit, or cannot be written; writes nothing."""
    storage.check_writable()
    need = 2 * plan.stored_bytes
    free = _free_bytes(storage)
    if free is not None and free < need:
        raise OutputError(
            f"--out {storage.address} needs up to {need / 1e9:.2f} GB and {free / 1e9:.2f} GB are "
            "free; make room or give another folder"
        )


def _free_bytes(storage: Storage) -> int | None:
    return storage.free_bytes()


def begin(
    plan: Plan,
    asked: dict[str, Any],
    statistics: dict[PairKey, PairStatistics],
    fits: Fits,
    retries: Counter[str],
    left_out: list[dict[str, Any]],
    check: Check | None,
    storage: Storage,
) -> dict[str, Any]:
    """Write down what the run is, and the empty cube; the ledger's state comes last.

    What an earlier run or a begin that was stopped left is removed first. Raises StoreError where
    the output fails.
    """
    measured = [
        {"optical": optical, "radar": radar, "statistics": _plain(one.as_json())}
        for (optical, radar), one in statistics.items()
    ]
    scenes = [
        provenance.describe_scene(s) for step in plan.steps for s in (*step.optical, *step.radar)
    ]
    contents = {name: fits.fitted[name].fit.to_bytes() for name in sorted(fits.fitted)}
    described = [
        describe_fit(name, content, fits, index)
        for index, (name, content) in enumerate(contents.items())
    ]
    others = {
        "reference_scenes": [
            provenance.describe_scene(s) for s in (*plan.reference_scenes, *plan.watching_scenes)
        ],
        "fits": described,
    }
    calibrations = {
        kind: asdict(one) for kind, one in ({} if check is None else check.calibrations).items()
    }
    chunk_pixels = [chunk.pixels for chunk in plan.grid.chunks()]
    state = {
        "request": asked,
        "key": product_key(
            {
                **asked,
                "scenes": scenes,
                "statistics": measured,
                "calibrations": calibrations,
                **(others if described else {}),
            }
        ),
        "fits": described,
        "worse": fits.worse,
        "left_out": left_out,
        "chunk_px": plan.grid.chunk_px,
        **describe_grid(plan),
        "cuts": [len(plan.steps), *plan.grid.cuts],
        "chunks": len(chunk_pixels) * len(plan.steps),
        "pixels": sum(chunk_pixels) * len(plan.steps),
        "statistics": measured,
        "choices": [
            {"optical": optical, "radar": radar, **one.choice.describe()}
            for (optical, radar), one in statistics.items()
            if one.choice is not None
        ],
        "check": None if check is None else check.figures,
        "calibrations": _plain(calibrations),
        "retries": dict(sorted(retries.items())),
        "offsets": {s.id: asdict(s.offset) for s in _optical_scenes(plan)},
        "items": ledger.fingerprint(plan.kept_items),
        "began": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    ledger.remove_run(storage)
    items = {"type": "FeatureCollection", "features": plan.kept_items}
    storage.write_json(provenance.ITEMS, items)
    for one in described:
        storage.write(one["file"], contents[one["scene"]])
    _create_cube(plan, storage)
    state["cube"] = store.fingerprint(storage)
    Ledger(storage=storage).write_state(state)
    return state


def _optical_scenes(plan: Plan) -> Iterator[Scene]:
    yield from (scene for step in plan.steps for scene in step.optical)
    yield from plan.reference_scenes


def read_items(storage: Storage, state: dict[str, Any]) -> list[catalog.Item]:
    """Return the items that a run began with; OutputError where they or the cube are damaged."""
    name = storage.join(provenance.ITEMS)
    items = ledger.parse_json(storage.read(provenance.ITEMS) or b"", name).get("features")
    whole = {name: ledger.fingerprint(items) == state["items"],
             storage.join(store.CUBE): store.fingerprint(storage) == state["cube"]}  # fmt: skip
    for part, as_begun in whole.items():
        if not as_begun:
            raise OutputError(
                f"{part} is not what the run began with. Use --overwrite to start anew"
            )
    assert isinstance(items, list)
    return items


def resume_facts(plan: Plan, state: dict[str, Any], storage: Storage, model: str) -> RunFacts:
    """Return what every chunk job of a run that has begun needs to know."""
    # states of a cloudfree that knew no other days have one calibration at most, and no fits
    former = {} if state.get("calibration") is None else {"reconstructed": state["calibration"]}
    calibrations = state.get("calibrations", former)
    return make_facts(
        plan,
        {
            (one["optical"], one["radar"]): PairStatistics.from_json(one["statistics"])
            for one in state["statistics"]
        },
        {one["scene"]: read_fit(plan, storage, one) for one in state.get("fits", ())},
        storage,
        model,
        key=state["key"],
        calibrations={kind: Calibration.from_json(one) for kind, one in calibrations.items()},
    )


def make_facts(
    plan: Plan,
    statistics: dict[PairKey, PairStatistics],
    fitted: dict[str, FittedReferences],
    storage: Storage,
    model: str,
    *,
    key: str = "",
    calibrations: Mapping[str, Calibration] | None = None,
) -> RunFacts:
    """Return what jobs need to know; without a key for those that mark nothing."""
    optical = itertools.accumulate((len(s.optical) for s in plan.steps), initial=0)
    radar = itertools.accumulate((len(s.radar) for s in plan.steps), initial=0)
    return RunFacts(
        storage=storage,
        key=key,
        plan=plan.grid,
        steps=plan.steps,
        first_optical=tuple(optical)[:-1],
        first_radar=tuple(radar)[:-1],
        statistics=statistics,
        fitted=fitted,
        reference_table={scene.id: 1 + i for i, scene in enumerate(plan.reference_scenes)},
        settings=plan.settings,
        signer=plan.signer,
        model=model,
        calibrations=calibrations or {},
    )


def _create_cube(plan: Plan, storage: Storage) -> None:
    attributes = {
        "title": "cloud-free Sentinel-2 mosaic",
        "source": f"cloudfree, model {plan.bundle.contract.name} {plan.bundle.contract.version}",
        "attribution": provenance.ATTRIBUTION,
        "optical_scenes": [s.id for step in plan.steps for s in step.optical],
        "radar_scenes": [s.id for step in plan.steps for s in step.radar],
        "reference_scenes": [s.id for s in plan.reference_scenes],
        "steps": [provenance.describe_step(step) for step in plan.steps],
    }
    bands = plan.settings.grid.bands
    store.create_cube(storage, plan.grid, plan.steps, bands, attributes, plan.layers)
