"""How a synthetic landscape looks through the year: what grows greens up and fades."""

import datetime as dt

import numpy as np

from cloudfree.synthetic.landscape import LOOK, Array

_PACE_DAYS = 9.0
_SNOW = np.array((0.86, 0.85, 0.83, 0.72), dtype=np.float32)
_SNOW_SHARE = 0.8
_BARE = (0.078, 0.106, 0.138, 0.210, -10.5, -19.5)
_STRAW = (0.058, 0.082, 0.084, 0.230, -12.0, -19.5)
_BRANCHES = (0.040, 0.054, 0.064, 0.180, -9.0, -15.0)
# The last rows of LOOK, from meadow to conifer: day of the year on which half of the green has
# come, on which half of it has gone; full green and none, as B02, B03, B04, B08, VV and VH.
_COURSE = (
    (98, 312, (0.032, 0.070, 0.038, 0.430, -11.0, -18.0), _STRAW),  # meadow
    (92, 305, (0.036, 0.076, 0.050, 0.370, -12.0, -19.0), _STRAW),  # mown meadow
    (158, 296, (0.030, 0.066, 0.034, 0.480, -8.5, -14.5), _BARE),  # beet
    (88, 196, (0.030, 0.064, 0.034, 0.450, -14.0, -19.5), _BARE),  # wheat
    (84, 178, (0.034, 0.070, 0.042, 0.420, -13.5, -19.0), _BARE),  # barley
    (76, 188, (0.036, 0.078, 0.040, 0.440, -9.5, -14.0), _BARE),  # rape
    (172, 264, (0.032, 0.066, 0.038, 0.450, -8.5, -14.5), _BARE),  # maize
    (170, 171, _BARE, _BARE),  # bare soil
    (116, 298, (0.021, 0.045, 0.023, 0.410, -8.0, -13.2), _BRANCHES),  # broadleaved forest
    (100, 320, (0.018, 0.031, 0.019, 0.230, -8.8, -14.2),
     (0.019, 0.030, 0.023, 0.190, -9.0, -14.6)),  # coniferous forest
)  # fmt: skip


def look_on(day: dt.date) -> Array:
    """Return LOOK on a day: (surface, 7)."""
    number = day.timetuple().tm_yday
    look = LOOK.copy()
    for row, (comes, goes, green, faded) in enumerate(_COURSE, len(LOOK) - len(_COURSE)):
        share = _rise(number - comes) * (1 - _rise(number - goes))
        look[row, :6] = share * np.array(green) + (1 - share) * np.array(faded)
    return look


def look_near(day: dt.date, june: dt.date) -> Array:
    """Return LOOK on a day, coming from LOOK itself on a day in mid-June: (surface, 7)."""
    nearness = np.exp(-abs((day - june).days) / _PACE_DAYS)
    return np.asarray(look_on(day) + nearness * (LOOK - look_on(june)))


def lay_snow(look: Array) -> Array:
    """Return a look, (surface, 7), with snow on all but river and lake, its first rows."""
    snowy = look.copy()
    snowy[2:, :4] += _SNOW_SHARE * (_SNOW - look[2:, :4])
    return snowy


def _rise(days: float) -> float:
    """Return a share that goes from 0 to 1 around day 0."""
    return float(1 / (1 + np.exp(-days / _PACE_DAYS)))
