"""A place of fields that grow and are cut, seen on many days; what hides and spoils is laid on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cloudfree.restoration.other_days import References, Sample

HEIGHT, WIDTH, FIELD, BANDS = 64, 80, 8, 4
DAYS = np.array([-35, -20, -15, -5, 5, 10, 25, 40])
NOISE_DN = 15.0
MOWN_DAY = -3
"""Of a quarter of the fields: what lies between the days around the target misleads."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Pictures of the place, flat."""

    target: np.ndarray
    """(band, n) float, what is there on the target's day."""
    sample: Sample
    """The target with a hole in it."""

    @property
    def hidden(self) -> np.ndarray:
        """(n,)"""
        return self.sample.made

    def given(self, **changes: object) -> Sample:
        """Return the sample with other references."""
        return replace(self.sample, references=replace(self.sample.references, **changes))

    def error(self, made: np.ndarray, where: np.ndarray | None = None) -> float:
        """Return the RMSE in reflectance numbers under the hole."""
        pixels = self.hidden if where is None else where
        return float(np.sqrt(np.mean((made - self.target)[:, pixels] ** 2)))


def paint(days: np.ndarray, seed: int = 4) -> Place:
    """Return the place on day 0 and on others."""
    rng = np.random.default_rng(seed)
    fields = (HEIGHT // FIELD, WIDTH // FIELD)
    bare = rng.uniform(700, 1500, fields)
    speed = rng.uniform(-12, 12, fields)
    peak = rng.uniform(-60, 60, fields)
    mown = rng.random(fields) < 0.25
    roofs = rng.random((HEIGHT, WIDTH)) < 0.006

    def on(day: float) -> np.ndarray:
        green = 1 / (1 + np.exp(-(day - peak) / 25))
        green = np.where(mown & (day > MOWN_DAY), 0.1 * green, green)
        visible = bare + speed * day * 0.3 - 300 * green
        picture = np.stack([visible, 0.9 * visible, 0.7 * visible, 1500 + 2000 * green])
        whole = np.kron(picture, np.ones((1, FIELD, FIELD)))
        whole = np.where(roofs, 7000.0, whole) + rng.normal(0, NOISE_DN, whole.shape)
        return np.maximum(whole, 30).reshape(BANDS, -1)

    target = on(0)
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[16:48, 24:64] = True
    rows, columns = np.indices((HEIGHT, WIDTH)) // 16
    seen = np.where(hole.ravel(), 9000, np.rint(target)).astype(np.uint16)
    return Place(
        target=target,
        sample=Sample(
            reflectance=seen,
            seen=~hole.ravel(),
            made=hole.ravel(),
            cells=(rows * 100 + columns).ravel(),
            references=References(
                reflectance=np.rint([on(day) for day in days]).astype(np.uint16),
                clear=np.ones((len(days), HEIGHT * WIDTH), bool),
                days=np.asarray(days, np.int64),
            ),
        ),
    )
