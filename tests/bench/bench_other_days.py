"""What other days give: clear pixels of real series hidden under real cloud shapes, and made again.

    python tests/bench/bench_other_days.py ../shared/data/series --finland ../shared/stac/scenes

Target dates are those of which at least 55 % is clear. A shape is the mask of another date of the
series, 12 to 70 % cloud, mirrored at random and laid over the target's clear pixels, whole blobs;
a series with fewer than four such masks borrows those of Romania, Sweden and Finland. References
are the other dates within 75 days, four before and four after. Figures are of the pixels under the
shape: PSNR at a peak of 3558, cut there, mean over cases; the others likewise. A made picture goes
through row 12's fit at the rims unless the row says otherwise. Romania, flanders-west and
earthnet-snd-1 were tuned on, the others judge. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from scipy.ndimage import gaussian_filter

from cloudfree.check.figures import score
from cloudfree.core.bands import WHITE
from cloudfree.core.contract import Contract
from cloudfree.core.types import Masks
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.other_days import References, Sample, fit_scene, make_pixels
from cloudfree.restoration.other_days.evidence import gather, keep_nearest
from cloudfree.restoration.other_days.experts import EXPERTS
from cloudfree.restoration.other_days.harmonise import harmonise
from cloudfree.restoration.other_days.scene_fit import ask_experts
from cloudfree.restoration.rims import fit_rims

KINDS = {
    "EarthNet-like, 5 days": ("romania", "earthnet-snd-1", "earthnet-snd-2", "sweden"),
    "Flanders": ("flanders-west",),
    "Flanders, monthly": ("flanders-months",),
    "California, monthly": ("california",),
    "Finland, monthly": ("finland",),
    "Slovenia": ("slovenia",),
}
TUNED_ON = ("romania", "flanders-west", "earthnet-snd-1")
LENDERS = ("romania", "sweden", "finland")
DAYS = 75
MOST = 4
"""References before the target, and as many after: what a run takes unless told otherwise."""
AGES = (5, 10, 20, 40, 75)
CELL_PX = 16
RADAR_REPEAT_DAYS = 6


@dataclass(frozen=True, kw_only=True)
class Series:
    """The same place on many days."""

    name: str
    optical: np.ndarray
    """(time, band, y, x) reflectance numbers."""
    clear: np.ndarray
    """(time, y, x)."""
    days: np.ndarray
    """(time,)"""
    bands: tuple[str, ...]
    radar: np.ndarray
    """(time, polarisation, y, x) decibel; no times where there is none."""
    radar_days: np.ndarray
    """(time,)"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A target date under a shape."""

    series: Series
    time: int
    hidden: np.ndarray
    """(y, x): clear pixels under the shape."""
    seen: np.ndarray
    """(y, x): clear pixels beside it."""

    @property
    def truth(self) -> np.ndarray:
        """(band, y, x)"""
        return self.series.optical[self.time]


def read_series(path: Path) -> Series:
    """Return a series of ../shared/data."""
    with np.load(path) as file:
        return Series(
            name=path.stem,
            optical=file["optical"],
            clear=file["clear"] & (file["optical"] > 0).all(axis=1),
            days=file["optical_days"].astype(np.int64),
            bands=tuple(str(band) for band in file["bands"]),
            radar=file["radar"].astype(np.float32),
            radar_days=file["radar_days"].astype(np.int64),
        )


def read_finland(folder: Path) -> Series:
    """Return the twelve months of ../shared/stac."""
    months = [f"2019-{m:02d}" for m in range(9, 13)] + [f"2020-{m:02d}" for m in range(1, 9)]
    bands = ("B04", "B03", "B02", "B08")

    def read(name: str) -> np.ndarray:
        with rasterio.open(folder / f"finland-{name}.tif") as file:
            return file.read(1)

    power = np.stack([[read(f"{m}_ascending_{p}") for p in ("vv", "vh")] for m in months])
    optical = np.stack([[read(f"{m}_{band}") for band in bands] for m in months])
    classes = np.stack([read(f"{m}_SCL") for m in months])
    days = np.arange(12) * 30
    return Series(
        name="finland",
        optical=optical.astype(np.uint16),
        clear=~np.isin(classes, (0, 3, 8, 9, 10)) & (optical > 0).all(axis=1),
        days=days,
        bands=bands,
        radar=np.where(power > 0, 10 * np.log10(np.maximum(power, 1e-4)), np.nan),
        radar_days=days,
    )


def read_all(folder: Path, finland: Path | None) -> dict[str, Series]:
    """Return what is there."""
    found = {path.stem: read_series(path) for path in sorted(folder.glob("*.npz"))}
    if finland is not None and (finland / "finland-2019-09_SCL.tif").is_file():
        found["finland"] = read_finland(finland)
    return found


def hide(every: dict[str, Series], name: str, count: int, seed: int) -> Iterator[Case]:
    """Yield targets of a series under shapes."""
    series, rng = every[name], np.random.default_rng(seed)
    shapes = cloud_shapes(series)
    if len(shapes) < 4:
        lent = [lender for lender in LENDERS if lender in every and lender != name]
        shapes += [shape for lender in lent for shape in cloud_shapes(every[lender])]
    targets = [
        time
        for time, clear in enumerate(series.clear)
        if clear.mean() >= 0.55 and len(choose_references(series, time, MOST))
    ]
    given, order = 0, []
    while given < count and shapes and targets:
        order = order or list(rng.permutation(targets))
        time = order.pop(0)
        for _ in range(50):
            owner, when, shape = shapes[rng.integers(len(shapes))]
            mirrored = spread(shape, series.clear.shape[1:])[:: rng.choice([1, -1])]
            laid = mirrored[:, :: rng.choice([1, -1])]
            hidden, seen = series.clear[time] & laid, series.clear[time] & ~laid
            enough = hidden.mean() >= 0.08 and seen.mean() >= 0.1
            if enough and (owner, when) != (name, time):
                given += 1
                yield Case(series=series, time=time, hidden=hidden, seen=seen)
                break


def cloud_shapes(series: Series) -> list[tuple[str, int, np.ndarray]]:
    """Return (series, time, (y, x) cloud) of partly cloudy dates."""
    cloudy = [(series.name, time, ~clear) for time, clear in enumerate(series.clear)]
    return [one for one in cloudy if 0.12 <= one[2].mean() <= 0.7]


def spread(shape: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a shape enlarged by a whole number, or cut, to a place's size."""
    times = max(1, round(size[0] / shape.shape[0]))
    large = np.kron(shape, np.ones((times, times), bool))
    return np.tile(large, (2, 2))[: size[0], : size[1]]


def choose_references(series: Series, time: int, most: int) -> np.ndarray:
    """Return the times within reach, at most so many before and after."""
    days = series.days - series.days[time]
    near = np.abs(days) <= DAYS
    near &= series.clear.mean(axis=(1, 2)) > 0.02
    near[time] = False
    before, after = np.flatnonzero(near & (days < 0)), np.flatnonzero(near & (days >= 0))
    return np.concatenate([before[-most:], after[:most]])


def make_sample(case: Case, most: int, *, radar: bool = False) -> Sample:
    """Return a case as other days want it; cells of 16 px."""
    series, chosen = case.series, choose_references(case.series, case.time, most)
    rows, columns = np.indices(case.seen.shape) // CELL_PX
    return Sample(
        reflectance=case.truth.reshape(len(series.bands), -1),
        seen=case.seen.ravel(),
        made=case.hidden.ravel(),
        cells=(rows * 1000 + columns).ravel(),
        references=References(
            reflectance=series.optical[chosen].reshape(len(chosen), len(series.bands), -1),
            clear=series.clear[chosen].reshape(len(chosen), -1),
            days=series.days[chosen] - series.days[case.time],
            radar_change_db=radar_change(series, case.time, chosen) if radar else None,
        ),
    )


def radar_change(series: Series, time: int, chosen: np.ndarray) -> np.ndarray:
    """Return (ref, polarisation, n): smoothed change in decibel between passes of one orbit."""
    own = series.radar_days[np.argmin(np.abs(series.radar_days - series.days[time]))]
    passes = np.flatnonzero((series.radar_days - own) % RADAR_REPEAT_DAYS == 0)

    def smooth(day: int) -> np.ndarray:
        nearest = passes[np.argmin(np.abs(series.radar_days[passes] - day))]
        return gaussian_filter(series.radar[nearest], (0, 2, 2))

    change = [smooth(series.days[time]) - smooth(series.days[ref]) for ref in chosen]
    return np.stack(change).reshape(len(chosen), series.radar.shape[1], -1)


def fit_at_rims(case: Case, candidate: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Return (band, y, x): a candidate through row 12."""
    limits = tuple(np.full(case.truth.shape, v, np.float32) for v in (1, 20_000))
    fitted = fit_rims(
        case.truth,
        Masks(seen=case.seen, made=case.hidden),
        candidate=candidate.reshape(case.truth.shape).astype(np.float32),
        covered=covered,
        limits=limits,
        origin=(0, 0),
    )
    return fitted.reflectance


def regress_on_radar(case: Case) -> np.ndarray:
    """Return (band, y, x) of the built-in model without a network; rims are its own."""
    series = case.series
    nearest = np.argmin(np.abs(series.radar_days - series.days[case.time]))
    radar = np.nan_to_num(
        series.radar[nearest, :1], nan=float(np.nanmean(series.radar[nearest, 0]))
    )
    radar = ((radar - radar.mean()) / radar.std())[None].astype(np.float32)
    seen = case.truth[:, case.seen]
    middle, spread = seen.mean(axis=1)[:, None, None], 4 * seen.std(axis=1)[:, None, None]
    picture = np.clip((case.truth - middle) / spread, -1, 1)[None].astype(np.float32)
    masks = Masks(seen=case.seen[None], made=case.hidden[None])
    contract = Contract(name="bench", version="1", network="baseline", bands=series.bands)
    model = Baseline(contract=contract)
    fitted = model.fitted(model.fit(picture, radar, masks))
    return fitted(picture * masks.seen, radar, masks)[0] * spread + middle


def train_network(case: Case, sample: Sample, steps: int = 600, seeds: int = 3) -> np.ndarray:
    """Return (band, n): the network of DESIGN.md, trained on the scene: 2 + 2 and the line."""
    refs = sample.references
    numbers = harmonise(sample.reflectance, sample.seen, refs.reflectance, refs.clear).apply(
        refs.reflectance
    )
    evidence = gather(numbers, keep_nearest(refs.clear, refs.days, 2), refs.days)
    inputs = np.concatenate([*evidence.by_rank(2)[0], evidence.line]).T
    learns = sample.seen & evidence.has_any
    middle, scale = inputs[learns].mean(axis=0), inputs[learns].std(axis=0) + 1e-6
    x = torch.from_numpy(np.clip((inputs - middle) / scale, -6, 6).astype(np.float32))
    truth = sample.reflectance[:, learns].T.astype(np.float32)
    centre, spread_dn = truth.mean(axis=0), truth.std(axis=0)
    rows, y = (
        torch.from_numpy(np.flatnonzero(learns)),
        torch.from_numpy((truth - centre) / spread_dn),
    )
    total = np.zeros((len(inputs), truth.shape[1]), np.float32)
    for seed in range(seeds):
        torch.manual_seed(seed)
        wide = (torch.nn.Linear(x.shape[1], 64), torch.nn.GELU(), torch.nn.Linear(64, 64))
        deep = torch.nn.Sequential(*wide, torch.nn.GELU(), torch.nn.Linear(64, y.shape[1]))
        straight = torch.nn.Linear(x.shape[1], y.shape[1])
        weights = [*deep.parameters(), *straight.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=3e-3)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(steps):
            drawn = torch.randint(len(rows), (2048,))
            batch = x[rows[drawn]]
            loss = torch.nn.functional.huber_loss(deep(batch) + straight(batch), y[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
        with torch.no_grad():
            total += (deep(x) + straight(x)).numpy() / seeds
    return (total * spread_dn + centre).T


def restore(case: Case, *, trained: bool) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return row -> (band, y, x), where there is a reference (y, x), and days to it (y, x)."""
    sample = make_sample(case, MOST)
    refs, shape = sample.references, case.truth.shape
    fit = fit_scene(sample)
    made = make_pixels(fit, refs)
    covered = (made.count > 0).reshape(shape[1:])
    seen = case.truth[:, case.seen].mean(axis=1, dtype=np.float32)
    flat = np.broadcast_to(seen[:, None, None], shape)
    rows = {"local mean of what is seen": fit_at_rims(case, flat, np.ones_like(covered))}
    if len(case.series.radar_days):
        rows["regression on radar (`baseline`)"] = regress_on_radar(case)
    every = np.arange(refs.pixels)
    raw = refs.reflectance[np.maximum(made.nearest, 0), :, every].T
    rows["closest clear, no rim fit"] = raw.reshape(shape)
    rows["closest clear"] = fit_at_rims(case, raw, covered)
    titles = {"closest": "closest, harmonised", "line": "line in time"}
    for expert, alone in ask_experts(fit, refs).items():
        rows[titles.get(expert, expert)] = fit_at_rims(case, alone, covered)
    if trained:
        rows["trained network (DESIGN)"] = fit_at_rims(case, train_network(case, sample), covered)
    rows["fusion, no rim fit"] = np.maximum(made.reflectance, 1).reshape(shape)
    rows["**fusion**"] = fit_at_rims(case, made.reflectance, covered)
    if len(case.series.radar_days):
        watched = make_sample(case, MOST, radar=True)
        again = make_pixels(fit_scene(watched), watched.references)
        held = (again.count > 0).reshape(shape[1:])
        rows["fusion, radar watches"] = np.where(
            held, fit_at_rims(case, again.reflectance, held), rows["local mean of what is seen"]
        )
    return rows, covered & case.hidden, np.abs(made.nearest_days).reshape(shape[1:])


def psnr(squared: float) -> float:
    """Return decibel at a peak of white."""
    return 10 * np.log10(WHITE**2 / max(squared, 1e-9))


def judge(case: Case, made: np.ndarray, where: np.ndarray) -> dict[str, float]:
    """Return the figures of pixels."""
    bands = tuple("B08" if band == "B8A" else band for band in case.series.bands)
    renamed = bands if len(set(bands)) == len(bands) else case.series.bands
    sums = score(np.maximum(made, 1), case.truth, where, renamed)
    pixels = np.count_nonzero(where)
    return {"psnr": psnr(sums["squared"] / pixels)} | {
        name: sums[name] / pixels for name in ("ssim", "absolute", "ndvi") if name in sums
    }


Table = dict[str, dict[str, list[float]]]


def collect(cases: list[Case], *, trained: bool) -> tuple[Table, Table, Table]:
    """Return figures a row, PSNR a row by age of the nearest reference, and by change."""
    figures: Table = defaultdict(lambda: defaultdict(list))
    ages: Table = defaultdict(lambda: defaultdict(list))
    changes: Table = defaultdict(lambda: defaultdict(list))
    for case in cases:
        rows, where, days = restore(case, trained=trained)
        if not where.any():
            continue
        change = np.abs(rows["closest, harmonised"] - case.truth.astype(np.float64)).mean(axis=0)
        most = np.quantile(change[where], 0.8)
        groups = {f"{low + 1} to {high} d" if low else f"to {high} d": (days > low) & (days <= high)
                  for low, high in zip((0, *AGES[:-1]), AGES, strict=True)}  # fmt: skip
        for row, made in rows.items():
            for name, value in judge(case, made, where).items():
                figures[row][name].append(value)
            shown = np.clip(made.astype(np.float64), 1, WHITE) - np.minimum(case.truth, WHITE)
            error = (shown**2).mean(axis=0)
            for name, group in groups.items():
                if (where & group).sum() >= 50:
                    ages[row][name].append(psnr(error[where & group].mean()))
            changes[row]["changed fifth"].append(psnr(error[where & (change >= most)].mean()))
            changes[row]["the rest"].append(psnr(error[where & (change < most)].mean()))
    return figures, ages, changes


def print_table(title: str, table: Table, form: Callable[[str, float], str]) -> None:
    """Print means over cases."""
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row, values in table.items():
        told = [form(c, float(np.mean(values[c]))) if c in values else "" for c in columns]
        print(f"| {row} | {' | '.join(told)} |", flush=True)


def two_places(name: str, value: float) -> str:
    """Return a figure as it is printed."""
    return f"{value:.{ {'ssim': 3, 'ndvi': 3, 'absolute': 0}.get(name, 2) }f}"


def worst_loss(figures: Table) -> float:
    """Return by how much the fusion is behind the best single expert, on the worst case."""
    titles = {"closest, harmonised", "line in time", *EXPERTS}
    best = np.max([figures[row]["psnr"] for row in figures if row in titles], axis=0)
    return float(np.max(best - figures["**fusion**"]["psnr"]))


def score_lists(cases: list[Case]) -> dict[int, list[float]]:
    """Return the fusion's PSNR with lists of 1, 2, 4 and 8 references before and after."""
    found: dict[int, list[float]] = {}
    for most in (1, 2, 4, 8):
        found[most] = []
        for case in cases:
            sample = make_sample(case, most)
            made = make_pixels(fit_scene(sample), sample.references)
            covered = (made.count > 0).reshape(case.seen.shape)
            fitted = fit_at_rims(case, made.reflectance, covered)
            flat = np.broadcast_to(
                case.truth[:, case.seen].mean(axis=1)[:, None, None], fitted.shape
            )
            bare = fit_at_rims(case, flat, np.ones_like(covered))
            whole = np.where(covered, fitted, bare)
            found[most].append(judge(case, whole, case.hidden)["psnr"])
    return found


def main(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    every = read_all(arguments.folder, arguments.finland)
    lists: Table = defaultdict(dict)
    for kind, names in KINDS.items():
        asked = [n for n in names if n in every and n in (arguments.only or every)]
        cases = [c for n in asked for c in hide(every, n, arguments.cases, arguments.seed)]
        if not cases:
            continue
        start = time.perf_counter()
        figures, ages, changes = collect(cases, trained=arguments.trained)
        told = ", ".join(f"{n} (tuned on)" if n in TUNED_ON else n for n in asked)
        print(f"\n## {kind}: {told}; {len(cases)} cases, seed {arguments.seed}")
        print_table("all", figures, two_places)
        print_table("PSNR by days to the nearest reference", ages, two_places)
        print_table("PSNR by change since then", changes, two_places)
        print(f"\nOn no case is the fusion more than {worst_loss(figures):.2f} dB behind the best "
              f"single expert. {time.perf_counter() - start:.0f} s.")  # fmt: skip
        if arguments.lists:
            for most, values in score_lists(cases).items():
                lists[kind][f"{most} + {most}"] = values
    if lists:
        print_table("fusion, references before + after", lists, two_places)


def parse() -> argparse.Namespace:
    """Return the arguments."""
    about, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of series, NAME.npz")
    parser.add_argument("--finland", type=Path, help="folder of the scenes of Finland")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these series alone")
    parser.add_argument("--cases", type=int, default=8, help="of each series (8)")
    parser.add_argument("--seed", type=int, default=0, help="of dates and shapes (0)")
    parser.add_argument("--lists", action="store_true", help="also lists of 1, 2, 4 and 8")
    parser.add_argument(
        "--trained", action="store_true", help="also a network trained on each scene, 6 s a case"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main(parse())
