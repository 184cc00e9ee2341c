"""Row 14 of the walk: what was done, for run.json and the cube's attributes."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from cloudfree.core.keys import unsigned
from cloudfree.core.types import Int64Array
from cloudfree.scenes.scene import RadarWatch, RatedPass, Reference, Scene, Step

ITEMS = "items.json"
"""The scenes' own STAC items."""
RUN = "run.json"
"""Written last: where it is, the product is finished."""
ATTRIBUTION = "Contains modified Copernicus Sentinel data"
_PACKAGES = ("cloudfree", "dask", "numpy", "rasterio", "stackstac", "torch", "xarray", "zarr")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceShare:
    """How much a step owes to a scene of another day."""

    scene: Scene
    """What was seen then."""
    days: int
    """From the step to it, negative before."""
    share: float
    """Of the step's made pixels those that it was the nearest reference of, to four digits."""


def share_references(
    step: Step, numbers: Mapping[str, int], nearest: Int64Array, made: int
) -> tuple[ReferenceShare, ...]:
    """Return each scene of a step's other days once, in the order of time.

    ``numbers`` are those of scenes in the product, from 1; ``nearest`` (n,) how many of the step's
    ``made`` pixels each of them was nearest to.
    """
    others = {
        scene.id: (scene, one.days)
        for found in step.references
        for one in found
        for scene in one.scenes
    }
    return tuple(
        ReferenceShare(
            scene=scene,
            days=days,
            share=float(f"{nearest[numbers[scene.id] - 1] / max(made, 1):.4g}"),
        )
        for scene, days in sorted(others.values(), key=lambda one: (one[0].time, one[0].id))
    )


def describe_shares(references: Sequence[ReferenceShare]) -> list[dict[str, Any]]:
    """Return what run.json says of them."""
    return [{"id": one.scene.id, "days": one.days, "share": one.share} for one in references]


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Return a scene's facts for run.json and the cube's attributes; links without signatures."""
    return {
        "id": scene.id,
        "collection": scene.collection,
        "time": scene.time.isoformat(),
        "platform": scene.platform,
        "kind": scene.kind,
        "baseline": scene.baseline,
        "offset_dn": scene.offset.dn,
        "offset_why": scene.offset.why,
        "orbit_state": scene.orbit_state,
        "hrefs": {key: unsigned(href) for key, href in sorted(scene.hrefs.items())},
        **_describe_stored(scene),
    }


def _describe_stored(scene: Scene) -> dict[str, Any]:
    """Return what the item says of its numbers, if anything: it decides what they become."""
    stored = {}
    for key, said in sorted(scene.stored.items()):
        stored[key] = asdict(said)
        if said.nodata is not None and math.isnan(said.nodata):
            stored[key]["nodata"] = "nan"  # JSON has no number for it
    return {"stored": stored} if stored else {}


def describe_step(step: Step) -> dict[str, Any]:
    """Return a step's facts: which scenes and why, which radar channels, how old the radar is."""
    return {
        "time": step.time.isoformat(),
        "optical": [scene.id for scene in step.optical],
        "radar": [scene.id for scene in step.radar],
        "polarizations": list(step.polarizations) if step.radar else [],
        "radar_age_h": step.radar_age_h,
        "offsets": {s.id: {"dn": s.offset.dn, "why": s.offset.why} for s in step.optical},
        "considered": [_describe_rated(one) for one in step.considered],
        "radar_considered": [_describe_rated(one) for one in step.radar_considered],
        "references": {
            scene.id: [_describe_reference(one) for one in found]
            for scene, found in zip(step.optical, step.references, strict=False)
            if found
        },
    }


def _describe_reference(reference: Reference) -> dict[str, Any]:
    """Return another day's facts: which scenes, how far it lies, what it is likely to show."""
    return {
        "days": reference.days,
        "scenes": [scene.id for scene in reference.scenes],
        "covered": round(reference.covered, 3),
        "cloud_percent": round(reference.cloud_percent, 1),
        "radar": _describe_watch(reference.watch),
    }


def _describe_watch(watch: RadarWatch | None) -> dict[str, Any] | None:
    """Return which radar tells where the ground changed."""
    if watch is None:
        return None
    return {
        "now": [scene.id for scene in watch.now],
        "then": [scene.id for scene in watch.then],
        "orbit": watch.now[0].orbit,
        "polarization": watch.polarization,
    }


def describe_left_out(
    step: Step, seen_share: float, unreadable: str | None = None
) -> dict[str, Any]:
    """Return the facts of a step that showed too little of the area, or could not be read."""
    return {
        "time": step.time.isoformat(),
        "optical": [scene.id for scene in step.optical],
        "seen_share": math.floor(seen_share * 1e4) / 1e4,  # never rounded up to what was asked
        **({} if unreadable is None else {"unreadable": unreadable}),
    }


def describe_unreadable(radar: Scene, why: str) -> dict[str, Any]:
    """Return the facts of a radar scene that cannot be read."""
    return {"time": radar.time.isoformat(), "radar": [radar.id], "unreadable": why}


def _describe_rated(candidate: RatedPass) -> dict[str, Any]:
    facts: dict[str, Any] = {"time": candidate.time.isoformat(), "scenes": list(candidate.scenes)}
    figures = ("covered", "cloud_percent", "days", "score")
    rounded = {
        name: round(value, 3) for name in figures if (value := getattr(candidate, name)) is not None
    }
    return facts | rounded


def versions() -> dict[str, str]:
    """Return the versions that made a product."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
