"""Rows 1 to 4 of the walk: what a run will do, without reading a pixel."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from cloudfree.core.config import CHECK_PX, RunSettings
from cloudfree.core.contract import Channels
from cloudfree.core.errors import BundleError, MaskError, NoSceneError
from cloudfree.core.types import Signer
from cloudfree.geometry.aoi import Aoi, Area, read_aoi
from cloudfree.geometry.crs import name_crs
from cloudfree.geometry.grid import GridPlan, halo_px, plan_grid
from cloudfree.geometry.ground import measure_scale
from cloudfree.geometry.windows import Lattice
from cloudfree.pixels.detectors import choose_detector, describe_mask, needs_detector
from cloudfree.pixels.mask_file import check_mask
from cloudfree.pixels.masks import EMPTY_REACH_PX, reach_px
from cloudfree.planning import projection
from cloudfree.planning.scale import to_equal_area, warn_of_scale
from cloudfree.product.layers import Layer, choose_layers
from cloudfree.product.printout import plan_text
from cloudfree.product.provenance import describe_step
from cloudfree.restoration.bundle import Bundle, open_bundle
from cloudfree.restoration.rims import REACH_PX
from cloudfree.scenes import catalog
from cloudfree.scenes.choice import select_scenes
from cloudfree.scenes.providers import Sources, find_sources
from cloudfree.scenes.scene import Reference, Scene, Step, parse_period
from cloudfree.scenes.signing import find_signer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks for."""

    aoi: Area
    """The area: a file of polygons, a GeoJSON mapping, or a geometry; see ``read_aoi``."""
    date: str
    """A day or an interval ``A/B``."""
    stac: str | None
    """A STAC API's address or a local file; None asks the settings' providers."""
    settings: RunSettings
    """Everything else."""
    signer: Signer | None = None
    """Signs the catalog's links when they are read; None leaves it to the providers' tables."""

    @property
    def sources(self) -> Sources:
        """Where scenes come from; SettingsError where providers do not have what is asked."""
        return find_sources(self.settings.catalog, self.stac)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan:
    """What a run will do; prints as lines of text."""

    aoi: Aoi
    """The area."""
    bundle: Bundle
    """The model."""
    items: list[catalog.Item]
    """Everything that was found, with links."""
    spare: frozenset[tuple[str, str]]
    """Of these, by collection and id, those that are neither used nor compared with what is."""
    unusable: tuple[str, ...]
    """Of each item that cannot be used, why."""
    mask_remarks: tuple[str, ...]
    """What should be known of the mask file."""
    steps: tuple[Step, ...]
    """What was chosen, earliest first."""
    grid: GridPlan
    """The grid and its chunks."""
    settings: RunSettings
    """The run's settings."""
    signer: Signer
    """Signs links when they are read."""

    def __repr__(self) -> str:
        return plan_text(self.describe())

    @property
    def references(self) -> dict[str, tuple[Reference, ...]]:
        """Optical scene id -> the other days that its hidden pixels may be made of."""
        return {
            scene.id: found
            for step in self.steps
            for scene, found in zip(step.optical, step.references, strict=True)
            if found
        }

    @property
    def reference_scenes(self) -> tuple[Scene, ...]:
        """All scenes of references, each once, by collection and id."""
        lists = self.references.values()
        scenes = {s.id: s for found in lists for one in found for s in one.scenes}
        return tuple(sorted(scenes.values(), key=lambda scene: (scene.collection, scene.id)))

    @property
    def watching_scenes(self) -> tuple[Scene, ...]:
        """All radar scenes that tell where the ground changed, each once, by collection and id."""
        scenes = {(s.collection, s.id): s for step in self.steps for s in step.watching}
        return tuple(scenes[key] for key in sorted(scenes))

    @property
    def kept_items(self) -> list[catalog.Item]:
        """The items that a resumed run needs."""
        return [one for one in self.items if _name(one) not in self.spare]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The arrays of the product."""
        return choose_layers(
            references=self.settings.references.days > 0,
            uncertainty=self.settings.uncertainty.write,
        )

    @property
    def stored_bytes(self) -> int:
        """The size of the product's arrays and their overviews before compression."""
        bands = len(self.settings.grid.bands)
        whole = sum(layer.pixel_bytes(bands) for layer in self.layers)
        shrunk = sum(layer.pixel_bytes(bands) for layer in self.layers if layer.shrinks_by)
        return len(self.steps) * self.grid.stored_bytes(whole, shrunk)

    def _check_at_most(self, lattice: Lattice) -> dict[str, int]:
        """Return what the self-check costs: its places and the windows that they can need."""
        pixels = len(self.steps) * sum(chunk.pixels for chunk in self.grid.chunks())
        places = self.settings.selfcheck.places_of(pixels)
        side = GeoBox((CHECK_PX, CHECK_PX), self.grid.geobox.affine, self.grid.geobox.crs)
        windows = places * projection.count_windows(lattice, side, reach_px=0)
        return {"places": places, "windows": windows}

    def masks(self) -> dict[str, str]:
        """Return what says which pixels of each optical scene are hidden, by scene id."""
        scenes = [scene for step in self.steps for scene in step.optical]
        return {scene.id: describe_mask(scene, self.settings.masks) for scene in scenes}

    def _mask_bands(self, step: Step) -> int:
        """Return how many bands are read for a detector only."""
        found = [s for s in step.optical if needs_detector(s, self.settings.masks)]
        wanted = {b for s in found for b in choose_detector(s, self.settings.masks).bands}
        return len(wanted.difference(self.settings.grid.bands))

    def gaps_km2(self, step: Step) -> dict[str, float]:
        """Return how much of the area no optical and no radar footprint covers."""
        area = to_equal_area(self.aoi.geometry)
        return {
            kind: round(area.difference(_footprints(scenes)).area / 1e6, 3)
            for kind, scenes in (("optical", step.optical), ("radar", step.radar))
        }

    def warnings(self) -> list[str]:
        """Return what the user should know: of the area and the mask, how far pixels are off, what
        was left out, what the model did not learn on.
        """
        contract, said = self.bundle.contract, [*self.aoi.remarks, *self.mask_remarks]
        said += warn_of_scale(self.grid, self.aoi)
        said += [f"left out: {why}" for why in self.unusable]
        bare = [f"{step.time:%Y-%m-%d}" for step in self.steps if not step.radar]
        if bare and not contract.needs_radar:
            said.append(
                f"no radar within {self.settings.scenes.sar_days:g} days of {', '.join(bare)}: "
                "what no other day saw is inpainted there, which is smooth colour"
            )
        for word, wanted, scenes in (
            ("Sentinel-2 level", contract.levels, [s for step in self.steps for s in step.optical]),
            (
                "Sentinel-1 radar",
                contract.radar_kinds,
                [s for step in self.steps for s in step.radar],
            ),
        ):
            other = sorted({s.kind for s in scenes} - set(wanted)) if wanted else []
            if other:
                said.append(
                    f"model {contract.name} learnt on {word} {', '.join(wanted)}, these scenes are "
                    f"{', '.join(other)}: its errors may be larger"
                )
        unknown = [s.id for step in self.steps for s in step.optical if s.offset.dn is None]
        if unknown:
            said.append(f"the pixels must say which offset they carry: {', '.join(unknown)}")
        return said

    @property
    def job_bytes(self) -> int:
        """The projected memory of one chunk in work, the largest there is."""
        return projection.job_bytes(
            self.grid,
            self.settings,
            n_radar=len(self.steps[0].polarizations),
            n_references=max(map(len, self.references.values()), default=0),
        )

    def describe(self) -> dict[str, Any]:
        """Return the plan as plain values: what ``cloudfree plan --json`` prints."""
        grid, settings = self.grid, self.settings
        bands, n_radar = len(settings.grid.bands), len(self.steps[0].polarizations)
        contract = self.bundle.contract
        lattice = Lattice(window_px=contract.window_px, stride_px=contract.stride_px)
        chunks = haloed = windows = 0
        for chunk in grid.chunks():
            chunks += 1
            haloed += projection.haloed_pixels(*chunk.geobox.shape.yx, grid.halo_px)
            windows += projection.count_windows(lattice, chunk.geobox)
        read = sum(
            haloed * (2 * (bands + self._mask_bands(step)) + 1 + 4 * n_radar * bool(step.radar))
            for step in self.steps
        )
        return {
            "model": f"{contract.name} {contract.version}",
            "needs_radar": contract.needs_radar,
            "steps": [{**describe_step(s), "gaps_km2": self.gaps_km2(s)} for s in self.steps],
            "masks": self.masks(),
            "mask_file": None if settings.masks.file is None else settings.masks.file.name,
            "crs": name_crs(grid.crs),
            "resolution_m": grid.resolution_m,
            "shape": list(grid.geobox.shape),
            "bounds": list(grid.geobox.boundingbox.bbox),
            "area_km2": round(to_equal_area(self.aoi.geometry).area / 1e6, 3),
            "chunks": chunks * len(self.steps),
            "chunk_px": grid.chunk_px,
            "halo_px": grid.halo_px,
            "windows_at_most": len(self.steps) * windows,
            "check_at_most": self._check_at_most(lattice),
            "read_bytes": read,
            "other_days_bytes": projection.other_days_bytes(
                grid, bands, [step.references for step in self.steps]
            ),
            "stored_bytes": self.stored_bytes,
            "warnings": self.warnings(),
            "memory_bytes": 2 * self.job_bytes + projection.PROCESS_BYTES,
        }


def _with_references(
    items: list[catalog.Item], sources: Sources, settings: RunSettings
) -> list[catalog.Item]:
    """Return items with those of other days over the optical scenes among them."""
    optical = {collection.id for collection in sources.optical.optical}
    targets = [s for s in catalog.read_scenes(items, sources).scenes if s.collection in optical]
    if not (targets and settings.references.days):
        return items
    others = catalog.search_references(
        sources, targets, references=settings.references, catalog=settings.catalog
    )
    known = {_name(item): item for item in (*others, *items)}
    return [known[name] for name in sorted(known)]


def _name(item: catalog.Item) -> tuple[str, str]:
    """Return an item's collection and id, whatever stands for the id of one that is no use."""
    return str(item["collection"]), str(item.get("id"))


def _find_spare(scenes: list[Scene], steps: list[Step]) -> frozenset[tuple[str, str]]:
    """Return the scenes that no step uses, nor names as another choice."""
    others = [one for step in steps for found in step.references for one in found]
    used = {s.id for step in steps for s in (*step.optical, *step.radar, *step.watching)}
    used |= {
        name
        for step in steps
        for one in (*step.considered, *step.radar_considered)
        for name in one.scenes
    }
    used |= {s.id for one in others for s in one.scenes}
    return frozenset((s.collection, s.id) for s in scenes if s.id not in used)


def _footprints(scenes: tuple[Scene, ...]) -> BaseGeometry:
    return shapely.union_all([to_equal_area(scene.footprint) for scene in scenes])


def _zones(steps: list[Step], area: BaseGeometry) -> dict[int, float]:
    """Return the UTM zones of the optical scenes, and what of the area the scenes of each cover."""
    zones: defaultdict[int, float] = defaultdict(float)
    for scene in (scene for step in steps for scene in step.optical):
        if scene.zone is not None:
            zones[scene.zone] += scene.footprint.intersection(area).area
    return {zone: part for zone, part in zones.items() if part > 0}  # halos alone do not count


def make_plan(
    request: Request,
    items: list[catalog.Item] | None = None,
    *,
    channels: Channels | None = None,
    passed_over: frozenset[str] = frozenset(),
) -> Plan:
    """Return what a run will do; asks the catalog once unless given its items.

    ``channels`` say which radar is wanted instead of the model's contract. Scenes whose ids are
    ``passed_over`` are known to show too little.
    Raises a RequestError of one line for anything wrong with the request.
    """
    settings = request.settings
    bundle = open_bundle(settings.restoration.model)
    contract = bundle.contract
    if contract.bands and set(contract.bands) != set(settings.grid.bands):
        raise BundleError(
            f"model {contract.name} restores bands {', '.join(contract.bands)}; the run asks for "
            f"{', '.join(settings.grid.bands)}. Give these with --bands, or --model baseline"
        )
    aoi, sources = read_aoi(request.aoi), request.sources
    period = parse_period(request.date)
    side_m = settings.grid.resolution_m
    grid = plan_grid(aoi, settings.grid, halo=0)
    scale = measure_scale(grid.crs, aoi.geometry)
    halo = halo_px(
        window_px=contract.window_px,
        reach_px=REACH_PX,
        mask_px=max(reach_px(settings.masks, scale.smallest_pixel_m(side_m)), EMPTY_REACH_PX),
    )
    remarks: tuple[str, ...] = ()
    if settings.masks.file is not None:
        remarks = check_mask(settings.masks.file, grid)
        # whole: workers may run elsewhere on this machine
        whole = replace(settings.masks, source=str(settings.masks.file.absolute()))
        settings = replace(settings, masks=whole)
    area = catalog.widen(aoi.geometry, halo * side_m * (1 if scale.is_true else scale.longest))
    if items is None:
        items = catalog.search(
            sources,
            area=area,
            period=period,
            catalog=settings.catalog,
            scenes=settings.scenes,
        )
        items = _with_references(items, sources, settings)
    scenes, unusable = catalog.read_scenes(items, sources, settings.grid.bands)
    try:
        steps = select_scenes(
            scenes,
            area=aoi.geometry,
            reach=area,
            period=period,
            bands=settings.grid.bands,
            channels=channels or contract,
            sources=sources,
            settings=settings.scenes,
            references=settings.references,
            needs_radar=channels is not None or contract.needs_radar,
            most_cloud_percent=settings.catalog.max_cloud_percent,
            passed_over=passed_over,
        )
    except NoSceneError as error:
        left_out = [f"Left out {len(unusable)}, first: {unusable[0]}"] if unusable else []
        raise NoSceneError(". ".join([str(error), *aoi.remarks, *left_out])) from None
    if settings.masks.file is not None and len(steps) > 1:
        raise MaskError(
            f"the mask {request.settings.masks.source} is of one overpass, and {request.date} "
            f"holds {len(steps)}; give the mask's own day"
        )
    grid = plan_grid(aoi, settings.grid, halo=halo, zones=_zones(steps, aoi.geometry))
    for scene in (scene for step in steps for scene in step.optical):
        logger.info("masks: %s by %s", scene.id, describe_mask(scene, settings.masks))
    for step in steps:
        logger.info("scenes.select_scenes: %s", describe_step(step))
    logger.info("grid.plan_grid: %s %s px", name_crs(grid.crs), tuple(grid.geobox.shape))
    return Plan(
        aoi=aoi,
        bundle=bundle,
        items=items,
        spare=_find_spare(scenes, steps),
        unusable=tuple(unusable),
        mask_remarks=remarks,
        steps=tuple(steps),
        grid=grid,
        settings=settings,
        signer=request.signer or find_signer(sources),
    )
