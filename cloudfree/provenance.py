"""Row 14 of the walk: what was done, as run.json and as a STAC Item."""

from __future__ import annotations

import datetime as dt
import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import antimeridian
import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from cloudfree.aoi import cut_at_antimeridian
from cloudfree.grid import crs_of
from cloudfree.keys import unsigned
from cloudfree.scenes import Candidate, Scene, Step

ATTRIBUTION = "Contains modified Copernicus Sentinel data"
_PACKAGES = ("cloudfree", "dask", "numpy", "rasterio", "stackstac", "torch", "xarray", "zarr")


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
    }


def describe_step(step: Step) -> dict[str, Any]:
    """Return a step's facts: which scenes and why, which radar channels, how old the radar is."""
    return {
        "time": step.time.isoformat(),
        "optical": [scene.id for scene in step.optical],
        "radar": [scene.id for scene in step.radar],
        "polarizations": list(step.polarizations) if step.radar else [],
        "radar_age_h": step.radar_age_h,
        "offsets": {s.id: {"dn": s.offset.dn, "why": s.offset.why} for s in step.optical},
        "considered": [_describe_candidate(one) for one in step.considered],
        "radar_considered": [_describe_candidate(one) for one in step.radar_considered],
    }


def describe_left_out(step: Step, seen_share: float) -> dict[str, Any]:
    """Return the facts of a step that showed too little of the area."""
    return {
        "time": step.time.isoformat(),
        "optical": [scene.id for scene in step.optical],
        "seen_share": round(seen_share, 4),
    }


def _describe_candidate(candidate: Candidate) -> dict[str, Any]:
    facts: dict[str, Any] = {"time": candidate.time.isoformat(), "scenes": list(candidate.scenes)}
    figures = ("covered", "cloud_percent", "days", "score")
    rounded = {
        name: round(value, 3) for name in figures if (value := getattr(candidate, name)) is not None
    }
    return facts | rounded


def versions() -> dict[str, str]:
    """Return the versions that made a product."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def build_item(
    *,
    identifier: str,
    geobox: GeoBox,
    steps: tuple[Step, ...],
    assets: Iterable[tuple[str, Path, str, list[str]]],
    properties: dict[str, Any],
) -> dict[str, Any]:
    """Return the product's STAC Item; ``assets`` are key, path, media type and roles."""
    footprint = cut_at_antimeridian(geobox.geographic_extent.geom)
    item = pystac.Item(
        id=identifier,
        geometry=json.loads(shapely.to_geojson(footprint)),
        bbox=list(antimeridian.bbox(mapping(footprint))),
        datetime=steps[0].time if len(steps) == 1 else None,
        start_datetime=steps[0].time if len(steps) > 1 else None,
        end_datetime=steps[-1].time if len(steps) > 1 else None,
        properties={
            "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "proj:code": f"EPSG:{crs_of(geobox).epsg}",
            "proj:shape": list(geobox.shape),
            "proj:transform": list(geobox.affine)[:6],
            "processing:software": {"cloudfree": version("cloudfree")},
            "attribution": ATTRIBUTION,
            **properties,
        },
        stac_extensions=[
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
        ],
    )
    for key, path, media_type, roles in assets:
        item.add_asset(key, pystac.Asset(href=f"./{path.name}", media_type=media_type, roles=roles))
    for scene in {s.id: s for step in steps for s in (*step.optical, *step.radar)}.values():
        href = next(iter(scene.hrefs.values()))
        item.add_link(pystac.Link("derived_from", target=unsigned(href), title=scene.id))
    return item.to_dict(include_self_link=False)
