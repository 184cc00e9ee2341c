"""Other days are dropped where they were measured to be worse than what else makes the pixels."""

from dataclasses import dataclass, field

import numpy as np

from cloudfree.engine.fits import Fits
from cloudfree.pixels.radiometry import OpticalStatistics, RadarStatistics
from cloudfree.walk.makers import Choice
from cloudfree.walk.measure import PairStatistics


@dataclass
class Fit:
    judged: np.ndarray


@dataclass
class Fitted:
    fit: Fit
    references: tuple = field(default=())


def fits(*errors: float) -> Fits:
    """Return fits of scenes a, b, …, whose fusions have these errors in both bands."""
    fitted = {
        name: Fitted(Fit(np.array([[1, 1], [error, error]], np.float32)))
        for name, error in zip("abc", errors, strict=False)
    }
    return Fits(fitted=fitted, unusable={name: [] for name in fitted})


def measured(rmse: dict[str, float] | None) -> PairStatistics:
    choice = None
    if rmse is not None:
        choice = Choice(
            maker="baseline", why="", rmse=rmse, windows=3, pixels=900, colour=(1.0, 2.0)
        )
    return PairStatistics(
        optical=OpticalStatistics(low=(1.0, 1.0), high=(9.0, 9.0), seen_pixels=9999),
        radar=RadarStatistics(mean_db=(-12.0,), std_db=(4.0,), pixels=9999),
        learnt=[],
        choice=choice,
    )


def test_only_what_was_found_worse_is_dropped() -> None:
    statistics = {(name, "r"): measured({"baseline": 300.0, "small": 10.0}) for name in "abc"}
    found = fits(200, 400, np.nan).judge(statistics)
    assert set(found.fitted) == {"a", "c"}
    assert set(found.worse) == {"b"}
    assert "other days are wrong by 0.0400" in found.worse["b"]
    assert "baseline by 0.0300" in found.worse["b"]


def test_where_nothing_was_measured_other_days_stay() -> None:
    for statistics in ({("a", "r"): measured({})}, {("a", "r"): measured(None)}, {}):
        found = fits(5000).judge(statistics)
        assert (set(found.fitted), found.worse) == ({"a"}, {})
