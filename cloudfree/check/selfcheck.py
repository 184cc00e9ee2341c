"""The self-check: seen pixels under the scene's own clouds, restored and compared with the truth.

In some places of the area, clouds and shadows of another place of the same datatake are laid over
pixels that were seen. What rows 9 to 12 make of them is compared with what was seen: once of what
other days saw there, beside the closest of these and a line in time, and once without, beside the
baseline and an inpainting that knows no radar.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from distributed import Client, Future
from odc.geo.geobox import GeoBox

from cloudfree.check.figures import Check, PlaceCheck, score, summarise
from cloudfree.check.places import Blocks, Place, choose_places, count_blocks
from cloudfree.cluster import GPU, Workers, read_shared, run_all, share
from cloudfree.core.config import CHECK_PX, MIRRORS
from cloudfree.core.contract import Contract
from cloudfree.core.errors import ReadError
from cloudfree.core.progress import Progress
from cloudfree.core.source import is_made
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import AnyArray, BoolArray, Float32Array, Masks, Model
from cloudfree.geometry.grid import Chunk, GridPlan, origin_px, pixels_inside
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.screen import look
from cloudfree.restoration.auto import BASELINE, INPAINTING
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.inpainting import spread_seen
from cloudfree.restoration.restore import restore_alone
from cloudfree.walk.chunk import ask_other_days, choose, restore
from cloudfree.walk.chunk_pixels import compose, core_signs, doubt_of, find_colours
from cloudfree.walk.hiding import FEWEST_PIXELS, borrow_cloud, draw_over
from cloudfree.walk.other_days import MadeOfOtherDays
from cloudfree.walk.references import taught
from cloudfree.walk.run_facts import Candidate, RunFacts, core_of

logger = logging.getLogger(__name__)

_SAMPLE = 4000
"""Pixels of a place that the calibration learns from."""
OTHER_DAYS = "other days"
_EXPERTS = ("closest", "line")
"""What is asked beside the fusion of all experts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInPlace:
    """What hiding and restoring the pixels of a place came to."""

    reconstructed: PlaceCheck | None = None
    """Of radar and surroundings; None for too few pixels."""
    other_days: PlaceCheck | None = None
    """Of what other days saw; None for too few pixels."""


Found = tuple[FoundInPlace, dict[str, int]]
"""What a place's job gives: what was found, and how often servers were asked again."""


def check_itself(
    facts: RunFacts, client: Client, progress: Progress
) -> tuple[Check | None, Counter[str]]:
    """Return how wrong a run's own pixels are, and how often servers were asked again.

    One Dask job a place, where an accelerator is if any is used. None where the settings want no
    check. Places that cannot be read are left out with a warning.
    """
    settings, retries = facts.settings.selfcheck, Counter[str]()
    if not settings.places:
        return None, retries
    clock = Stopwatch()
    with clock.row("selfcheck"):
        blocks = _look(facts, client, progress)
        pixels = len(facts.steps) * sum(chunk.pixels for chunk in facts.plan.chunks())
        places = choose_places(blocks, settings.places_of(pixels), settings.seed)
        found: dict[int, FoundInPlace] = {}
        name = f"cloudfree-check-{uuid.uuid4().hex}"

        def submit(index: int, workers: Workers) -> Future[Found]:
            on_gpu = facts.settings.engine.gpu != "off" and workers.gpus > 0
            where = {"resources": {GPU: 1}} if on_gpu else {}
            return client.submit(_check, name, places[index], pure=False, **where)

        with (
            progress.track("self-check", len(places), "places") as advance,
            share(client, name, facts),
        ):
            for index, (one, asked_again) in run_all(client, range(len(places)), submit):
                found[index] = one
                retries.update(asked_again)
                advance(1)
    in_order = [found[index] for index in sorted(found)]
    check = summarise(
        [one.reconstructed for one in in_order if one.reconstructed is not None],
        [one.other_days for one in in_order if one.other_days is not None],
        seed=settings.seed,
        uncertain=facts.settings.uncertainty.write,
    )
    logger.info("selfcheck: %d places, %d pixels", check.figures["places"], check.figures["pixels"])
    check.figures["seconds"] = round(clock.seconds["selfcheck"], 1)
    return check, retries


def _look(facts: RunFacts, client: Client, progress: Progress) -> dict[int, Blocks]:
    """Return how much some steps show of each place; as many steps as places are wanted."""
    settings = facts.settings.selfcheck
    drawn = np.random.default_rng(settings.seed).permutation(len(facts.steps))
    chosen = sorted(drawn[: settings.places].tolist())
    blocks: dict[int, Blocks] = {}

    def submit(step: int, _: Workers) -> Future[Blocks]:
        return client.submit(_look_at, facts, step, pure=False)

    with progress.track("look for ground", len(chosen), "datatakes") as advance:
        for step, one in run_all(client, chosen, submit):
            blocks[step] = one
            advance(1)
    return {step: blocks[step] for step in chosen}


def _look_at(facts: RunFacts, step: int) -> Blocks:
    fetcher = Fetcher(facts.settings.cube, facts.signer)
    try:
        seen, hidden, inside = look(facts.steps[step], facts.plan, facts.settings, fetcher)
    except ReadError as error:
        logger.warning("the self-check leaves out a datatake: %s", error)
        seen = hidden = inside = np.zeros((1, 1), bool)
    return count_blocks(seen & inside, hidden & inside, facts.plan.geobox.shape.yx)


def _check(name: str, place: Place) -> Found:
    facts: RunFacts = read_shared(name)
    fetcher = Fetcher(facts.settings.cube, facts.signer)
    try:
        return check_place(facts, read_shared(facts.model), place, fetcher), fetcher.retries
    except ReadError as error:
        logger.warning("the self-check leaves out a place: %s", error)
        return FoundInPlace(), fetcher.retries


def check_place(facts: RunFacts, model: Model, place: Place, fetcher: Fetcher) -> FoundInPlace:
    """Return what hiding and restoring the pixels of a place comes to."""
    chunk = _place_chunk(facts.plan, place.at)
    truth = _observe(facts, place.step, facts.plan.haloed(chunk), fetcher)
    hidden, clouded = _lay_cloud(facts, place, chunk, truth, fetcher)
    core = core_of(facts, chunk)
    wanted = hidden[core] & pixels_inside(facts.plan.area, chunk.geobox)
    if np.count_nonzero(wanted) < FEWEST_PIXELS:
        return FoundInPlace()
    fills_all = find_colours(facts, facts.steps[place.step]) is not None
    in_reach = wanted if fills_all else wanted & truth.has_radar[core]
    candidate = _make_candidate(facts, model, place.step, chunk, clouded, in_reach)
    made = _compose(facts, place.step, chunk, clouded, None, candidate)
    pictures = {model.contract.name: made}
    if model.contract.name != BASELINE:
        local = _FittedHere(model=Baseline(contract=open_bundle(BASELINE).contract))
        fitted = _make_candidate(facts, local, place.step, chunk, clouded, in_reach)
        pictures[BASELINE] = _compose(facts, place.step, chunk, clouded, None, fitted)
    origin = origin_px(facts.plan.haloed(chunk))
    spread = spread_seen(clouded.reflectance, clouded.masks.seen, origin=origin)
    pictures[INPAINTING] = spread[:, *core]
    with_signs = facts.settings.uncertainty.write
    signs = core_signs(facts, chunk, clouded, candidate) if with_signs else None
    # no model of a pair of scenes may reach here
    check = _judge(facts, place, pictures, truth, core, in_reach & made.any(axis=0), signs)
    others = _ask_other_days(facts, model.contract, place, chunk, clouded, wanted, fetcher)
    if others is None:
        return FoundInPlace(reconstructed=check)
    if model.contract.wants_other_days:
        told = replace(clouded, other_days=others.estimate)
        candidate = _make_candidate(facts, model, place.step, chunk, told, wanted)
    of_others = {OTHER_DAYS: _compose(facts, place.step, chunk, clouded, others, candidate)}
    alone = replace(candidate, makes_other_days=False)  # an expert's own answer, not corrected
    for name, one in _apart(others).items():
        of_others[name] = _compose(facts, place.step, chunk, clouded, one, alone)
    known = others.estimate.known[core]
    of_day = _judge(
        facts, place, of_others | pictures, truth, core, wanted & known,
        doubt_of(others, core) if with_signs else None,
    )  # fmt: skip
    days = float(np.abs(others.days[core], dtype=np.float64)[wanted & known].sum())
    return FoundInPlace(
        reconstructed=check, other_days=None if of_day is None else replace(of_day, days=days)
    )


def _ask_other_days(
    facts: RunFacts,
    contract: Contract,
    place: Place,
    chunk: Chunk,
    clouded: Observation,
    wanted: BoolArray,
    fetcher: Fetcher,
) -> MadeOfOtherDays | None:
    """Return what other days make of a place, where the fit of its scene did not learn from it."""
    step, core, first = facts.steps[place.step], core_of(facts, chunk), facts.settings.grid.bands[0]
    for index, scene in enumerate(step.optical):
        here = clouded.optical_scene[core] == index + 1
        if scene.id in facts.fitted and (wanted & here).any():
            wanted = wanted & ~(here & taught(scene, chunk.geobox, first, fetcher))
    if np.count_nonzero(wanted) < FEWEST_PIXELS:
        return None
    clock = Stopwatch()
    return ask_other_days(
        facts, contract, place.step, chunk, clouded, wanted, fetcher, clock, experts=_EXPERTS
    )


def _apart(others: MadeOfOtherDays) -> dict[str, MadeOfOtherDays]:
    """Return what single experts make, as if the product were made of that."""
    return {name: replace(others, estimate=one) for name, one in others.experts.items()}


def _judge(
    facts: RunFacts,
    place: Place,
    pictures: dict[str, AnyArray],
    truth: Observation,
    core: tuple[slice, slice],
    where: BoolArray,
    signs: Float32Array | None,
) -> PlaceCheck | None:
    """Return how wrong pictures (band, y, x) are where something was made, the first in detail."""
    if np.count_nonzero(where) < FEWEST_PIXELS:
        return None
    actual = truth.reflectance[:, *core]
    sample = np.flatnonzero(where)
    rng = np.random.default_rng(place.seed)
    sample = np.sort(rng.choice(sample, min(_SAMPLE, len(sample)), replace=False))
    error = np.abs(next(iter(pictures.values())).astype(np.float32) - actual).mean(axis=0).ravel()
    signs = np.zeros((0, *where.shape), np.float32) if signs is None else signs
    bands = facts.settings.grid.bands
    return PlaceCheck(
        pixels=int(np.count_nonzero(where)),
        contrast=float(np.sqrt(actual[:, where].astype(np.float64).var(axis=1).mean())),
        sums={name: score(one, actual, where, bands) for name, one in pictures.items()},
        signs=signs.reshape(len(signs), where.size)[:, sample],
        errors=error[sample],
    )


def _place_chunk(plan: GridPlan, at: tuple[int, int]) -> Chunk:
    """Return a place as a chunk, which is what rows 9 to 12 work on."""
    y, x = (
        slice(index * CHECK_PX, min((index + 1) * CHECK_PX, side))
        for index, side in zip(at, plan.geobox.shape.yx, strict=True)
    )
    return Chunk(row=at[0], col=at[1], y=y, x=x, geobox=plan.geobox[y, x])


def _observe(facts: RunFacts, step: int, geobox: GeoBox, fetcher: Fetcher) -> Observation:
    return observe(facts.steps[step], geobox, facts.settings, fetcher, Stopwatch())[0]


def _lay_cloud(
    facts: RunFacts, place: Place, chunk: Chunk, truth: Observation, fetcher: Fetcher
) -> tuple[BoolArray, Observation]:
    """Return (y, x) which seen pixels a cloud hides, and what would be observed then."""
    if place.cloud_from is None:
        return draw_over(truth, place.seed)
    donor = _place_chunk(facts.plan, place.cloud_from).geobox
    halo = facts.plan.halo_px
    geobox = GeoBox(chunk.geobox.shape, donor.affine, donor.crs).pad(halo, halo)
    other = _observe(facts, place.step, geobox, fetcher)
    return borrow_cloud(truth, other, MIRRORS[place.mirror], origin_px(geobox))


def _make_candidate(
    facts: RunFacts,
    model: Model,
    step: int,
    chunk: Chunk,
    clouded: Observation,
    wanted: BoolArray,
) -> Candidate:
    """Return what a model makes of the wanted pixels of a core."""
    # half of the windows that a chunk would take; the rest only refines how far seams are fitted
    choice = choose(facts, model.contract, chunk, clouded.masks.made, wanted, reach_px=0)
    with_signs = facts.settings.uncertainty.write
    return restore(facts, model, step, clouded, choice, with_signs=with_signs)


def _compose(
    facts: RunFacts,
    step: int,
    chunk: Chunk,
    clouded: Observation,
    others: MadeOfOtherDays | None,
    candidate: Candidate,
) -> AnyArray:
    """Return a core's made pixels (band, y, x), 0 elsewhere."""
    done = compose(facts, step, chunk, clouded, others, candidate)
    return np.where(is_made(done.source), done.reflectance, np.uint16(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _FittedHere:
    """The baseline, fitted to the windows that it restores."""

    model: Baseline

    @property
    def contract(self) -> Contract:
        return self.model.contract

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        return restore_alone(self.model, optical, radar[:, :1], masks)
