"""What the self-check states against what is true, on the real scenes, and how sure it was of it.

python tests/bench/score_selfcheck.py OUT [MODEL] [SCENES]: runs of Los Angeles (truth: the clear
scene), Jiangsu (truth: another, clear day) and eight clear months of Finland, under the clouds of
three others of the same place, go to OUT; SCENES is their folder (default
../shared/stac/scenes). Prints a line a run and, over all made pixels, a calibration curve of the
uncertainty; draws it to OUT/calibration.png. Nothing here is used to choose anything.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy.stats import spearmanr

import cloudfree
from cloudfree.core.bands import WHITE
from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build
from cloudfree.geometry.sampling import locate, take_nearest

BANDS = ("B04", "B03", "B02")
CLEAR = ("2019-09", "2020-01", "2020-02", "2020-03", "2020-04", "2020-05", "2020-06", "2020-07")
CLOUDY = ("2019-10", "2019-11", "2020-08")
DILATION_M = 20
"""In Finland the truth lies beside the pasted clouds: nothing has leaked out of the masks."""
DN_PER_VALUE = 13.95


def paste_clouds(scenes: Path, out: Path, month: str, cloudy: str) -> Path:
    """Write the scene of a month under another's clouds; return its items."""
    out.mkdir(parents=True, exist_ok=True)
    items = json.loads((scenes / "items.json").read_text())
    kept = [item for item in items["features"] if item["id"].startswith(f"finland-{month}")]
    for item in kept:
        for name, asset in item["assets"].items():
            path = scenes / asset["href"]
            asset["href"] = str(path.resolve())
            if item["collection"] == "sentinel-2-l2a":
                asset["href"] = str(paste(path, scenes, out / path.name, name, cloudy))
        item["links"] = []
    (out / "items.json").write_text(json.dumps({**items, "features": kept}))
    return out / "items.json"


def paste(path: Path, scenes: Path, to: Path, name: str, cloudy: str) -> Path:
    """Write a band with another month's pixels where that has cloud."""
    with rasterio.open(scenes / f"finland-{cloudy}_SCL.tif") as file:
        hidden = np.isin(file.read(1), (8, 9))
    with rasterio.open(scenes / f"finland-{cloudy}_{name}.tif") as file:
        other = file.read(1)
    with rasterio.open(path) as file:
        profile, pixels = file.profile, file.read(1)
    with rasterio.open(to, "w", **profile) as file:
        file.write(np.where(hidden, other, pixels), 1)
    return to


def read_truth(files: list[Path], grid: GeoBox, scale: float, offset: float) -> np.ndarray:
    """Return (band, y, x) reflectance numbers at the product's grid."""
    layers = []
    for path in files:
        with rasterio.open(path) as file:
            positions = locate(grid, file.crs.to_wkt(), file.transform)
            layers += [take_nearest(band, positions, (0, 0), 0) for band in file.read()]
    return np.maximum(np.stack(layers).astype(np.float64) * scale + offset, 1)


def judge(out: Path, truth: list[Path], scale: float = 1.0, offset: float = 0.0) -> tuple:
    """Print what was stated and what is true; return expected and true errors of made pixels."""
    summary = json.loads((out / "run.json").read_text())
    cube = xr.open_zarr(out / "cube.zarr", mask_and_scale=False)
    with rasterio.open(next(out.glob("*_reflectance.tif"))) as file:
        grid = GeoBox(file.shape, file.transform, file.crs.to_wkt())
    actual = read_truth(truth, grid, scale, offset)
    made = cube.reflectance.to_numpy()[0].astype(np.float64)
    where = (cube.source.to_numpy()[0] == 2) & (actual > 1).any(axis=0)
    shown = np.minimum(made, WHITE) - np.minimum(actual, WHITE)
    psnr = 10 * np.log10(WHITE**2 / np.mean(shown[:, where] ** 2))
    error = np.abs(made - actual).mean(axis=0)[where] * 1e-4
    expected = cube.uncertainty.to_numpy()[0][where] * 1e-4
    check, model = summary["check"], summary["model"].split()[0]
    stated = check["models"].get(model)
    rank = spearmanr(expected, error).statistic if np.ptp(expected) else 0.0
    said = "nothing" if stated is None else (
        f"{stated['psnr_db']} dB [{stated['psnr_db_low']}, {stated['psnr_db_high']}], "
        f"MAE {stated['mae']}"
    )  # fmt: skip
    print(
        f"{out.name}: stated {said} in {check['places']} places; true {psnr:.2f} dB, "
        f"MAE {error.mean():.4f}; uncertainty {expected.mean():.4f} on average, rank {rank:.2f}",
        flush=True,
    )
    return expected, error


def main(out: Path, model: str, scenes: Path) -> None:
    """Run, print and draw."""
    judged = {}

    def one(name: str, date: str, stac: Path, *truth: Path, scale: float = 1.0) -> None:
        place = name.split(" ", maxsplit=1)[0]
        tables = {"restoration": {"model": model}, "uncertainty": {"write": True}}
        if place == "finland":
            tables["masks"] = {"dilation_m": DILATION_M}
        settings = build(RunSettings, tables, "bench")
        cloudfree.run(scenes / f"{place}.geojson", date, out / name, stac=stac, settings=settings)
        judged[name] = judge(out / name, list(truth), scale)

    items, clear = scenes / "items.json", scenes / "truth"
    angeles = clear / "los-angeles_clear.tif"
    one("los-angeles", "2020-11-04", items, angeles, scale=DN_PER_VALUE)
    one("jiangsu", "2018-09-20", items, *(clear / f"jiangsu_clear_{band}.tif" for band in BANDS))
    for index, month in enumerate(CLEAR):
        name = f"finland {month}"
        pasted = paste_clouds(scenes, out / "scenes" / month, month, CLOUDY[index % len(CLOUDY)])
        one(name, f"{month}-15", pasted, *(scenes / f"finland-{month}_{b}.tif" for b in BANDS))
    draw(out / "calibration.png", judged)


def draw(path: Path, judged: dict[str, tuple]) -> None:
    """Draw mean true error by expected error, a curve a place."""
    groups = {"Los Angeles": ["los-angeles"], "Jiangsu": ["jiangsu"]}
    groups["Finland, 8 months"] = [name for name in judged if name.startswith("finland")]
    figure, axes = plt.subplots(figsize=(5.5, 5), layout="constrained")
    most = 0.0
    for title, names in groups.items():
        expected, error = (np.concatenate([judged[name][k] for name in names]) for k in (0, 1))
        parts = np.array_split(np.argsort(expected, kind="stable"), 10)
        curve = np.array([[expected[part].mean(), error[part].mean()] for part in parts])
        axes.plot(*curve.T, "o-", label=title)
        most = max(most, curve.max())
    axes.plot([0, most], [0, most], color="grey", linestyle="--", label="expected = true")
    axes.set(xlabel="expected error (uncertainty), reflectance", ylabel="true error, reflectance")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[3] / "shared" / "stac" / "scenes"
    arguments = sys.argv[1:]
    main(
        Path(arguments[0]),
        arguments[1] if len(arguments) > 1 else "small",
        Path(arguments[2]) if len(arguments) > 2 else default,
    )
