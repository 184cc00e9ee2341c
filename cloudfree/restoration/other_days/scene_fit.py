"""What is learnt of one scene, once, and the pixels that are made with it, anywhere in the scene.

A pixel's answer depends on its own observations and the fit alone, to the bit: not on the pixels
that are asked for beside it, their number or order, nor on how many threads the machine has.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from cloudfree.core.types import AnyArray, BoolArray, Float32Array, Int64Array
from cloudfree.restoration.other_days.evidence import OBSERVATIONS, Evidence, gather
from cloudfree.restoration.other_days.experts import (
    DESIGNS,
    DOUBT,
    EXPERTS,
    LAYOUTS,
    STEP_PX,
    Layout,
    Learnt,
    estimate,
    find_experts,
    lay_out,
    learn,
    learn_doubt,
)
from cloudfree.restoration.other_days.harmonise import FEWEST_PIXELS, Harmonisation, harmonise
from cloudfree.restoration.other_days.one_thread import run_on_one_thread
from cloudfree.restoration.other_days.referee import FEWEST_CELLS, deal_folds, weigh
from cloudfree.restoration.other_days.references import References, Sample, sort_by_time
from cloudfree.restoration.other_days.vetoes import Limits, admit, measure_limits, stands_out

BLOCK_PX = 8 * STEP_PX
"""Pixels are made so many at a time, the last block padded."""
MOST_PIXELS = 32_768
"""So many seen pixels of a sample serve for learning, drawn where there are more."""
_SEED = 1
_NO_FIT = (ValueError, TypeError, LookupError, OSError, EOFError, NotImplementedError,
           RuntimeError, zipfile.BadZipFile, zlib.error)  # fmt: skip
"""What NumPy, zipfile and the classes raise of bytes that are no fit."""
_ARRAYS = ("days", "weights", "judged")
"""Of a fit; its other fields hold arrays themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFit:
    """What was learnt of a scene and its references, in the order of time."""

    days: Int64Array
    """(ref,) from the target, ascending."""
    harmonisation: Harmonisation
    """What brings each reference to the target's numbers."""
    limits: Limits
    """What observations are dropped by."""
    learnt: dict[Layout, Learnt]
    """Layout -> what the line misses, each expert's bands, and by rank at last the root of the
    error; empty where too little was seen: the line makes all pixels."""
    weights: Float32Array
    """(expert, band) of EXPERTS; none negative, each band's sum is 1."""
    judged: Float32Array
    """(expert + 1, band): root mean square errors on hidden seen pixels, of the experts and of
    their fusion; NaN where nothing was judged."""

    def to_bytes(self) -> bytes:
        """Return the fit as a file's content; the same fit gives the same bytes."""
        arrays: dict[str, AnyArray] = {name: getattr(self, name) for name in _ARRAYS}
        parts: list[tuple[str, Harmonisation | Limits | Learnt]] = [
            ("harmonisation", self.harmonisation),
            ("limits", self.limits),
            *self.learnt.items(),
        ]
        for name, part in parts:
            for field in fields(part):
                arrays[f"{name}.{field.name}"] = getattr(part, field.name)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> SceneFit:
        """Return the fit that ``to_bytes`` gave; ValueError where this is none."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = dict(file)
            names = {name.split(".")[0] for name in arrays if "." in name}
            return cls(
                harmonisation=Harmonisation(**_part(arrays, "harmonisation")),
                limits=Limits(**_part(arrays, "limits")),
                learnt={n: Learnt(**_part(arrays, n)) for n in LAYOUTS if n in names},
                **{name: arrays[name] for name in _ARRAYS},
            )
        except _NO_FIT as error:
            raise ValueError(f"{len(content)} bytes are no fit of a scene: {error}") from error


def _part(arrays: dict[str, AnyArray], name: str) -> dict[str, AnyArray]:
    start = f"{name}."
    return {key.removeprefix(start): a for key, a in arrays.items() if key.startswith(start)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePixels:
    """Pixels made of other days, what of, and how sure they are."""

    reflectance: Float32Array
    """(band, n) reflectance numbers, not rounded or cut; 0 where no observation serves."""
    count: AnyArray
    """(n,) uint8: observations that served, 0 none."""
    nearest: AnyArray
    """(n,) int16: the nearest of them, an index into the references as given, -1 none."""
    nearest_days: AnyArray
    """(n,) int16: its days from the target, negative before; 0 where there is none too."""
    disagreement: Float32Array
    """(n,) reflectance numbers: how far the experts that learnt lie from their fusion, root mean
    square over experts, mean over bands; of the others where none did."""
    expected_error: Float32Array
    """(n,) reflectance numbers: absolute error, mean over bands, that the fit showed on hidden seen
    pixels like this one; NaN where none could be judged."""


def fit_scene(sample: Sample) -> SceneFit:
    """Return what a sample teaches. Without references, or with too few seen pixels, little."""
    return run_on_one_thread(lambda: _fit(sample))


def make_pixels(fit: SceneFit, references: References) -> MadePixels:
    """Return pixels made with the fit of their scene, of the references that it was fitted to.

    Memory beyond the arguments and the answer is that of BLOCK_PX pixels. ValueError where the
    references' days are not those of the fit.
    """
    order = _order(fit, references)
    return run_on_one_thread(lambda: _make(fit, references, order))


def ask_experts(fit: SceneFit, references: References) -> dict[str, Float32Array]:
    """Return expert -> what it alone would make, (band, n), as ``make_pixels`` the fusion.

    ``closest`` and ``line`` are always there, the others where they learnt something.
    """
    order = _order(fit, references)
    shape = references.reflectance.shape[1:]
    answers = {
        name: np.zeros(shape, np.float32) for name in EXPERTS if fit.learnt or name not in DESIGNS
    }

    def ask() -> None:
        for part, evidence in _walk_blocks(fit, references, order):
            for name, answer in _ask(fit, evidence)[0].items():
                _put(answers[name], part, np.where(evidence.has_any, answer, 0))

    run_on_one_thread(ask)
    return answers


def _order(fit: SceneFit, references: References) -> Int64Array:
    """Return the references' order in time; ValueError where the fit is to others."""
    order, _ = sort_by_time(references.take_pixels(slice(0)))
    if not np.array_equal(references.days[order], fit.days):
        raise ValueError(
            f"references on days {references.days[order].tolist()} from the target were asked "
            f"of a fit to days {fit.days.tolist()}; fit the scene to these references"
        )
    return order


def _fit(sample: Sample) -> SceneFit:
    _, references = sort_by_time(sample.references)
    rows = np.flatnonzero(sample.seen & references.clear.any(axis=0))
    rng = np.random.default_rng(_SEED)
    if len(rows) > MOST_PIXELS:
        rows = np.sort(rng.choice(rows, MOST_PIXELS, replace=False))
    target, seen = sample.reflectance[:, rows], references.take_pixels(rows)
    harmonisation = harmonise(target, np.ones(len(rows), bool), seen.reflectance, seen.clear)
    numbers = harmonisation.apply(seen.reflectance)
    limits = measure_limits(numbers, seen.clear, seen.radar_change_db)
    made = np.flatnonzero(sample.made & references.clear.any(axis=0))
    fit = SceneFit(
        days=references.days,
        harmonisation=harmonisation,
        limits=limits,
        learnt={},
        weights=_only("line", len(target)),
        judged=np.full((len(EXPERTS) + 1, len(target)), np.nan, np.float32),
    )
    cells = sample.cells[rows]
    own = _admit(fit, seen, numbers)
    if len(made) == 0:
        return _learn(fit, target, numbers, own, own, cells)
    partners = rng.choice(made, len(rows))
    asked = references.take_pixels(partners)
    theirs = _admit(fit, asked, harmonisation.apply(asked.reflectance))
    shared = _admit(fit, replace(seen, clear=seen.clear & theirs), numbers)
    return _learn(fit, target, numbers, own, np.where(shared.any(axis=0), shared, own), cells)


def _only(expert: str, bands: int) -> Float32Array:
    weights = np.zeros((len(EXPERTS), bands), np.float32)
    weights[EXPERTS.index(expert)] = 1
    return weights


def _admit(fit: SceneFit, references: References, numbers: Float32Array) -> BoolArray:
    return admit(
        numbers,
        references.clear,
        fit.days,
        snow=references.snow,
        radar_change_db=references.radar_change_db,
        limits=fit.limits,
        most=OBSERVATIONS,
    )


def _learn(
    fit: SceneFit,
    target: AnyArray,
    numbers: Float32Array,
    own: BoolArray,
    practised: BoolArray,
    cells: Int64Array,
) -> SceneFit:
    """Return the fit with experts and their weights.

    Seen pixels serve twice: with all observations that they have, and with those alone that some
    made pixel has too (``practised``), which is what experts are judged on. With too few seen
    pixels the fit comes back as it is.
    """
    truth = target.astype(np.float32)
    teaches = ~stands_out(truth, numbers, own, fit.days, fit.limits)
    rows = np.flatnonzero(own.any(axis=0) & teaches)
    if len(rows) < FEWEST_PIXELS or len(np.unique(cells[rows])) < FEWEST_CELLS:
        return fit
    both = np.tile(rows, 2)
    used = np.concatenate([own[:, rows], practised[:, rows]], axis=1)
    evidence = gather(numbers[:, :, both], used, fit.days)
    truth = truth[:, both]
    folds, count = deal_folds(cells[both])
    judged = slice(len(rows), None)
    missed = truth - evidence.line
    errors = [(evidence.closest - truth)[None], -missed[None]]
    features = {layout: lay_out(layout, evidence) for layout in LAYOUTS}
    learnt = {}
    for layout in LAYOUTS:
        found = learn(layout, features[layout], missed.astype(np.float64), folds, count)
        learnt[layout], held_out = found
        errors.append(held_out.reshape(-1, *missed.shape) - missed)
    shown = np.concatenate(errors)[:, :, judged]
    weights = weigh(shown, cells[both][judged])
    fused = (shown * weights[:, :, None]).sum(axis=0)
    learnt["rank"] = _learn_doubt(
        learnt["rank"], features["rank"][:, judged], np.abs(fused).mean(axis=0)
    )
    return replace(
        fit,
        learnt=learnt,
        weights=weights,
        judged=np.sqrt(np.mean(np.concatenate([shown, fused[None]]) ** 2, axis=2)),
    )


def _learn_doubt(learnt: Learnt, features: Float32Array, error: Float32Array) -> Learnt:
    """Return ``learnt`` with what tells the error (n,): its root, which large ones do not rule."""
    doubting = learn_doubt(learnt, features, np.sqrt(error.astype(np.float64)))
    told = np.mean(_square(estimate(doubting, features)[-1]), dtype=np.float64)
    doubting.weights[-1] *= np.sqrt(error.mean(dtype=np.float64) / max(told, 1e-6))
    return doubting


def _square(root: Float32Array) -> Float32Array:
    """Return (n,) expected absolute errors of their estimated roots."""
    told: Float32Array = np.maximum(root, 0) ** 2
    return told


def _make(fit: SceneFit, references: References, order: Int64Array) -> MadePixels:
    bands, pixels = references.reflectance.shape[1:]
    made = MadePixels(
        reflectance=np.zeros((bands, pixels), np.float32),
        count=np.zeros(pixels, np.uint8),
        nearest=np.full(pixels, -1, np.int16),
        nearest_days=np.zeros(pixels, np.int16),
        disagreement=np.zeros(pixels, np.float32),
        expected_error=np.full(pixels, np.nan, np.float32),
    )
    for part, evidence in _walk_blocks(fit, references, order):
        there = evidence.has_any
        answers, error = _ask(fit, evidence)
        fused, disagreement = _fuse(fit, answers)
        block = MadePixels(
            reflectance=np.where(there, fused, 0),
            count=evidence.used.sum(axis=0),
            nearest=np.where(there, order[evidence.nearest], -1),
            nearest_days=np.where(there, fit.days[evidence.nearest], 0),
            disagreement=np.where(there, disagreement, 0),
            expected_error=np.where(there, error, np.nan),
        )
        for field in fields(MadePixels):
            _put(getattr(made, field.name), part, getattr(block, field.name))
    return made


def _put(whole: AnyArray, part: slice, block: AnyArray) -> None:
    """Write a block (…, BLOCK_PX) without its padding."""
    whole[..., part] = block[..., : part.stop - part.start]


def _walk_blocks(
    fit: SceneFit, references: References, order: Int64Array
) -> Iterator[tuple[slice, Evidence]]:
    """Yield the evidence of the pixels, a block at a time; nothing without references.

    Blocks have one size, filled up with the last pixel.
    """
    pixels = references.pixels if len(order) else 0
    for start in range(0, pixels, BLOCK_PX):
        where = np.minimum(np.arange(start, start + BLOCK_PX), pixels - 1)
        block = references.take_pixels(where).take_references(order)
        numbers = fit.harmonisation.apply(block.reflectance)
        part = slice(start, min(start + BLOCK_PX, pixels))
        yield part, gather(numbers, _admit(fit, block, numbers), fit.days)


def _ask(fit: SceneFit, evidence: Evidence) -> tuple[dict[str, Float32Array], Float32Array]:
    """Return expert -> (band, n), and (n,) the error that is expected, NaN where nobody knows."""
    bands, pixels = evidence.line.shape
    answers = {"closest": evidence.closest, "line": evidence.line}
    error = np.full(pixels, np.nan, np.float32)
    for layout, learnt in fit.learnt.items():
        told = estimate(learnt, lay_out(layout, evidence))
        for index, name in enumerate(find_experts(layout)):
            answers[name] = evidence.line + told[index * bands : (index + 1) * bands]
        if layout == DOUBT.layout:
            error = _square(told[-1])
    return answers, error


def _fuse(fit: SceneFit, answers: dict[str, Float32Array]) -> tuple[Float32Array, Float32Array]:
    """Return (band, n) the experts' weighted mean and (n,) how far they lie from it."""
    fused = np.zeros_like(answers["line"])
    for name, answer in answers.items():
        fused += fit.weights[EXPERTS.index(name)][:, None] * answer
    spread = np.zeros_like(fused)
    asked = [name for name in DESIGNS if name in answers] or list(answers)
    for name in asked:
        spread += (answers[name] - fused) ** 2
    disagreement: Float32Array = np.sqrt(spread / np.float32(len(asked))).mean(axis=0)
    return fused, disagreement
