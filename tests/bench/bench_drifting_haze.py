"""Is one fit a scene enough where haze differs over it? A painted tile of other days under haze.

python tests/bench/bench_drifting_haze.py [--haze 0,0.01,0.03,0.06]: a tile of 1536 px, seen on six
other days, that stands for one of 110 km: only how haze lies over the whole of it counts. Haze of
each day lies over it in a wave one tile long that moves from day to day; --haze is its most, in
reflectance of blue. As in a run a fit learns on 16 windows of 128 px; beside that four fits, each
of a quarter of the tile with 16 windows of its own. PSNR (peak 3558) of hidden pixels, before and
after the fit at the rims.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools

import numpy as np
from scipy.ndimage import binary_dilation

from cloudfree.core.bands import WHITE
from cloudfree.core.types import Masks
from cloudfree.restoration.other_days import (
    References,
    Window,
    fit_scene,
    join_windows,
    make_pixels,
)
from cloudfree.restoration.rims import fit_rims
from cloudfree.synthetic.landscape import LOOK, Day, paint_days
from cloudfree.synthetic.seasons import look_near

HEIGHT, WIDTH, WINDOW, SIDE = 1152, 1536, 128, 4
DAYS = np.array([-20, -10, -5, 5, 10, 20])
JUNE = dt.date(2024, 6, 15)
HAZE = np.array([1.0, 0.6, 0.45, 0.1])[:, None, None]
CLEAR_CLASSES = (4, 5, 6)


def paint() -> tuple[np.ndarray, np.ndarray]:
    """Return (day, band, y, x) reflectance without clouds or haze and (day, y, x) clear ground."""
    days = [Day(look=LOOK, cloud_share=0.2, radar=False)]
    for away in DAYS.tolist():
        look = look_near(JUNE + dt.timedelta(days=away), JUNE)
        days.append(
            Day(look=look, cloud_share=0.2, front=away / 7, changed=0.006 * away, radar=False)
        )
    lands = list(paint_days(np.random.default_rng(0), (HEIGHT, WIDTH), days))
    classes = np.stack([one.classes.repeat(2, 0).repeat(2, 1) for one in lands])
    hidden = [binary_dilation(~np.isin(one, CLEAR_CLASSES), iterations=3) for one in classes]
    return np.stack([one.clear for one in lands]), ~np.array(hidden)


def veil(day: int, most: float) -> np.ndarray:
    """Return (band, y, x): what the air adds on a day."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    phase = np.random.default_rng([1, day + 100]).uniform(0, 1)
    return most * HAZE * (1 + np.sin(2 * np.pi * (x + 0.5 * y + phase))) / 2


def windows(area: tuple[slice, slice]) -> list[tuple[slice, slice]]:
    """Return the windows of an area that a fit learns from."""
    starts = (np.linspace(one.start, one.stop - WINDOW, SIDE).astype(int).tolist() for one in area)
    return [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y, x in itertools.product(*starts)]


def restore(numbers: np.ndarray, clear: np.ndarray, areas: list[tuple[slice, slice]]) -> np.ndarray:
    """Return (band, y, x), each area made by a fit of its own; seen pixels too, for the rims."""
    made = np.zeros(numbers.shape[1:], np.float32)
    for area in areas:

        def look(day: int, part: tuple[slice, slice]) -> Window:
            seen = clear[day][part]
            return Window(reflectance=numbers[day][:, *part], seen=seen, made=~seen)

        parts = windows(area)
        sample = join_windows(
            [look(0, part) for part in parts],
            [[look(day, part) for part in parts] for day in range(1, len(numbers))],
            DAYS,
        )
        asked = References(
            reflectance=numbers[1:, :, *area].reshape(len(DAYS), len(made), -1),
            clear=clear[1:, *area].reshape(len(DAYS), -1),
            days=DAYS,
        )
        pixels = make_pixels(fit_scene(sample), asked).reflectance
        made[:, *area] = pixels.reshape(made[:, *area].shape)
    return made


def psnr(made: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    one, other = (np.clip(picture.astype(np.float64), 1, WHITE) for picture in (made, truth))
    return float(20 * np.log10(WHITE) - 10 * np.log10(np.mean((one - other)[:, where] ** 2)))


def main() -> None:
    """Print a row for each haze."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--haze", default="0,0.01,0.03,0.06")
    options = parser.parse_args()
    ground, clear = paint()
    whole = [(slice(0, HEIGHT), slice(0, WIDTH))]
    quarters = [
        (slice(y, y + HEIGHT // 2), slice(x, x + WIDTH // 2))
        for y, x in itertools.product((0, HEIGHT // 2), (0, WIDTH // 2))
    ]
    able = clear[1:].any(axis=0)
    known = ~clear[0] & able
    masks = Masks(seen=clear[0], made=~clear[0])
    low, high = np.array([1, 20_000], np.float32).reshape(2, 1, 1, 1)
    print("| haze, at most | one fit | at the rims | four fits | at the rims |\n|---|" + "---|" * 4)
    for most in map(float, options.haze.split(",")):
        air = [veil(day, most) for day in (0, *DAYS.tolist())]
        numbers = np.rint((ground + np.stack(air)) * 1e4).clip(1, 65535).astype(np.uint16)
        row = []
        for areas in (whole, quarters):
            made = restore(numbers, clear, areas)
            fitted = fit_rims(
                numbers[0], masks, candidate=made, covered=able, limits=(low, high), origin=(0, 0)
            ).reflectance
            row += [psnr(made, numbers[0], known), psnr(fitted, numbers[0], known)]
        print(f"| {most} | " + " | ".join(f"{one:.2f}" for one in row) + " |", flush=True)


if __name__ == "__main__":
    main()
