"""Rows 10 and 11 of the walk: windows through a model, blended into one candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.types import (
    LARGEST_ERROR,
    BoolArray,
    Float32Array,
    Masks,
    Model,
    OtherDaysPicture,
    SceneFitted,
    UInt16Array,
    ask_model,
)
from cloudfree.geometry.windows import Lattice, WindowChoice
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.radiometry import (
    OpticalStatistics,
    RadarStatistics,
    from_picture,
    standardise,
    to_picture,
)
from cloudfree.restoration.signs_of_doubt import MODEL_SIGNS, read_signs


@dataclass(frozen=True, slots=True, kw_only=True)
class PairModel:
    """A model made ready for windows of one optical and one radar scene."""

    model: Model
    """Fitted to the scenes where it is one that learns from them."""
    optical: OpticalStatistics
    """How the optical scene is stretched."""
    radar: RadarStatistics
    """How the radar scene is standardised."""
    bands: tuple[int, ...]
    """For each channel of the picture, the index of its band in the product."""


def restore_windows(
    observation: Observation,
    choice: WindowChoice,
    pairs: dict[tuple[int, int], PairModel],
    *,
    lattice: Lattice,
    batch_windows: int,
    with_signs: bool = False,
) -> tuple[Float32Array, BoolArray]:
    """Return the candidate (band, y, x) in reflectance numbers, and (y, x) where there is one.

    ``with_signs`` appends to the bands the model's signs of doubt, blended alike, in the same
    numbers (see signs); the bands stay what they are without.

    A window belongs to the pair of an optical and a radar scene (indices as in the observation)
    that share most of its pixels: their statistics stretch it and ``pairs`` names its model. A
    window without such a pair has no candidate, nor has a pixel without radar. Windows are added
    in the order of ``choice``, so that sums have the same bits however an area is cut.
    """
    n_bands, height, width = observation.reflectance.shape
    layers = n_bands + MODEL_SIGNS * with_signs
    total = np.zeros((layers, height, width), np.float32)
    weight = np.zeros(observation.decibel.shape[1:], np.float32)
    taper = lattice.taper()
    batch: list[tuple[slice, slice]] = []
    owners: tuple[int, int] | None = None

    def flush() -> None:
        if batch and owners is not None:
            for part, numbers in zip(
                batch, run_batch(observation, batch, pairs[owners], with_signs), strict=True
            ):
                total[:, *part] += taper * numbers
                weight[part] += taper
        batch.clear()

    for row, col in zip(choice.rows.tolist(), choice.cols.tolist(), strict=True):
        size = lattice.window_px
        part = (slice(row, row + size), slice(col, col + size))
        mine = _owners(observation.optical_scene[part], observation.radar_scene[part], pairs)
        if mine is None:
            continue
        if mine != owners or len(batch) == batch_windows:
            flush()
            owners = mine
        batch.append(part)
    flush()
    covered = (weight > 0) & observation.has_radar
    total /= np.where(weight > 0, weight, np.float32(1))
    return total, covered


def _owners(
    optical: UInt16Array, radar: UInt16Array, pairs: dict[tuple[int, int], PairModel]
) -> tuple[int, int] | None:
    """Return the pair of scenes that share most pixels of a window; None where none share any."""
    sides = int(radar.max()) + 1
    counts = np.bincount((optical.astype(np.int64) * sides + radar).ravel())
    shared = {
        (i, j): int(counts[i * sides + j])
        for i, j in sorted(pairs)
        if j < sides and i * sides + j < len(counts)
    }
    best = max(shared, key=lambda pair: shared[pair], default=None)
    return best if best is not None and shared[best] > 0 else None


def cut_windows(
    observation: Observation, slices: list[tuple[slice, slice]], pair: PairModel
) -> tuple[Float32Array, Float32Array, Masks]:
    """Return what a model sees of some windows: pictures, standardised radar, masks."""
    contract = pair.model.contract
    bands = list(pair.bands)
    seen = np.stack([observation.masks.seen[part] for part in slices])
    made = np.stack([observation.masks.made[part] for part in slices])
    reflectance = np.stack([observation.reflectance[bands, *part] for part in slices])
    decibel = np.stack([observation.decibel[:, *part] for part in slices])
    shown = seen | made if contract.shows_cloud else seen
    return (
        to_picture(reflectance, shown, pair.optical.of_bands(bands), contract.fill),
        standardise(decibel, pair.radar, contract.fill),
        Masks(seen=seen, made=made),
    )


def cut_other_days(
    observation: Observation, slices: list[tuple[slice, slice]], pair: PairModel
) -> OtherDaysPicture | None:
    """Return what other days say of some windows; None where the model does not want to know, or
    nobody asked them.
    """
    other_days, contract = observation.other_days, pair.model.contract
    if other_days is None or not contract.wants_other_days:
        return None
    bands = list(pair.bands)
    statistics = pair.optical.of_bands(bands)
    known = np.stack([other_days.known[part] for part in slices])
    reflectance = np.stack([other_days.reflectance[bands, *part] for part in slices])
    error = np.stack([other_days.error[part] for part in slices]) / np.float32(statistics.unit)
    return OtherDaysPicture(
        picture=to_picture(reflectance, known, statistics, contract.fill),
        known=known,
        # fmin takes the other one where the error is not known, NaN
        error=np.where(known, np.fmin(error, LARGEST_ERROR), np.float32(LARGEST_ERROR)),
    )


def restore_alone(
    model: Model,
    optical: Float32Array,
    radar: Float32Array,
    masks: Masks,
    other_days: OtherDaysPicture | None = None,
) -> Float32Array:
    """Return candidates for windows that stand for their scene: a SceneFitted model is fitted to
    them first. Arrays as in types.Model.
    """
    if isinstance(model, SceneFitted):
        model = model.fitted(model.fit(optical, radar, masks))
    return ask_model(model, optical, radar, masks, other_days)


def run_batch(
    observation: Observation,
    slices: list[tuple[slice, slice]],
    pair: PairModel,
    with_signs: bool,
) -> Float32Array:
    """Return candidates (window, band, y, x) in reflectance numbers, bands as in the product.

    Behind the bands come the model's signs, where they are asked for.
    """
    windows = cut_windows(observation, slices, pair)
    other_days = cut_other_days(observation, slices, pair)
    picture = ask_model(pair.model, *windows, other_days)
    bands = list(pair.bands)
    statistics = pair.optical.of_bands(bands)
    numbers = np.empty_like(picture)
    numbers[:, bands] = from_picture(picture, statistics)
    if not with_signs:
        return numbers
    signs = read_signs(pair.model, *windows, picture, other_days) * np.float32(statistics.unit)
    return np.concatenate([numbers, signs], axis=1)
