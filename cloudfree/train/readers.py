"""Readers of every layout of pairs that the project knows.

They are told apart by what is in the folder:

* ``ROIs*/s1_N/*.png`` with ``s2_N``: SEN1-2 as published; one ROI and N is one scene.
* ``SCENE/s1/*`` with ``s2/*``: larger pairs (colour: VH amplitude and known DN) or pairs with only
  luminance (grey).
* ``SCENE/*.npz``: what ``cloudfree patches`` cuts.
* ``*_s1.tif`` with ``*_s2_cloudy.tif``, ``*_s2_clear.tif``, ``*_mask.tif``: SEN12MS-CR triplets.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cloudfree.clouds import Cloud, clip_cloud
from cloudfree.errors import RequestError
from cloudfree.train.pairs import Pair, standardise, stretch
from cloudfree.types import AnyArray, Float32Array

log = logging.getLogger(__name__)

PERCENTILES = (0.5, 99.5)
"""Of a scene's clear pixels, shown as -1 and 1."""
DN_PER_COUNT = 13.95
"""DN of one step of the 8-bit pictures of the 1024 px set: 255 is reflectance 0.3558."""
AMPLITUDE_TO_DB = -52.0
"""20 log10 of the set's 8-bit radar plus this is near VH backscatter in dB."""
UNKNOWN_LOW_DN, UNKNOWN_HIGH_DN = 500.0, 3000.0
"""Stands for the DN of -1 and 1 where a scene's stretch is unknown: to lay clouds on a picture, and
to show a patch whose scene was not kept."""
PICTURE = ("B04", "B03", "B02")
"""The picture's channels, in order."""
RGB_BANDS = (4, 3, 2)
"""B04, B03, B02 in a SEN12MS-CR file, counted from 1."""
PATCH_LAYERS = ("optical", "radar", "bands", "low_dn", "high_dn", "scene", "place")
"""What is used of a file that ``cloudfree patches`` wrote."""


class Problem(NamedTuple):
    """A file that cannot be used."""

    path: Path
    reason: str


def read_pairs(folder: Path, *, on_problem: str = "skip") -> tuple[list[Pair], list[Problem]]:
    """Return all pairs below ``folder`` in a fixed order, and the files that cannot be used.

    Missing partners, broken files and unequal sizes are problems; with ``on_problem="refuse"``
    they are a RequestError that names the first of them.
    """
    problems: list[Problem] = []
    reader = _find_reader(folder)
    pairs = reader(folder, problems)
    for problem in problems:
        log.warning("skipped %s: %s", problem.path, problem.reason)
    if problems and on_problem == "refuse":
        raise RequestError(
            f"{len(problems)} of the files in {folder} cannot be used, first {problems[0].path}: "
            f'{problems[0].reason}. Mend them, or set on_problem = "skip".'
        )
    if not pairs:
        raise RequestError(f"no pair in {folder} can be used; {len(problems)} files have problems")
    log.info("%d pairs of %d scenes in %s", len(pairs), len({p.scene for p in pairs}), folder)
    return pairs, problems


def read_clouds(folder: Path) -> list[Cloud]:
    """Return the clouds of all ``*_cloudy.tif`` and ``*_clear.tif`` in ``folder``, as R, G, B.

    Pairs without thick cloud are left out. Files hold B02, B03, B04.
    """
    clouds = []
    for cloudy_path in sorted(folder.glob("*_cloudy.tif")):
        clear_path = cloudy_path.with_name(cloudy_path.name.replace("_cloudy", "_clear"))
        bands = (3, 2, 1)
        cloud = clip_cloud(_read_tif(cloudy_path, bands), _read_tif(clear_path, bands))
        if cloud is not None:
            clouds.append(cloud)
    if not clouds:
        raise RequestError(f"no pair *_cloudy.tif, *_clear.tif in {folder} has thick cloud")
    return clouds


Reader = Callable[[Path, list[Problem]], list[Pair]]


def _find_reader(folder: Path) -> Reader:
    if next(folder.glob("*_s1.tif"), None):
        return _read_triplets
    if next(folder.glob("*/*.npz"), None):
        return _read_patches
    if next(folder.glob("ROIs*/s1_*"), None):
        return _read_sen12
    if next(folder.glob("*/s1"), None):
        return _read_scene_folders
    raise RequestError(
        f"no known layout of pairs in {folder}; found neither ROIs*/s1_N, SCENE/s1, "
        "SCENE/*.npz, nor *_s1.tif. Give the folder that holds them."
    )


def _read_sen12(folder: Path, problems: list[Problem]) -> list[Pair]:
    pairs = []
    for radar_path in sorted(folder.glob("ROIs*/s1_*/*.png")):
        season, number = radar_path.parts[-3], radar_path.parent.name.removeprefix("s1_")
        optical_path = (
            radar_path.parents[1] / f"s2_{number}" / radar_path.name.replace("_s1_", "_s2_")
        )
        pictures = _read_pictures(radar_path, optical_path, problems)
        if pictures is None:
            continue
        radar, optical = pictures
        pairs.append(
            Pair(
                name=radar_path.stem,
                scene=f"{season}_{number}",
                kind="sen12",
                radar=(radar / 127.5 - 1).astype(np.float16),
                optical=(optical / 127.5 - 1).astype(np.float16),
                low_dn=np.full(3, UNKNOWN_LOW_DN, np.float32),
                high_dn=np.full(3, UNKNOWN_HIGH_DN, np.float32),
            )
        )
    return pairs


def _read_scene_folders(folder: Path, problems: list[Problem]) -> list[Pair]:
    pairs: list[Pair] = []
    for radar_folder in sorted(folder.glob("*/s1")):
        scene = radar_folder.parent.name
        colour: list[tuple[str, AnyArray, AnyArray]] = []
        grey: list[tuple[str, AnyArray, AnyArray]] = []
        for radar_path in sorted(radar_folder.iterdir()):
            optical_path = radar_folder.parent / "s2" / radar_path.name
            pictures = _read_pictures(radar_path, optical_path, problems)
            if pictures is None:
                continue
            radar, optical = pictures
            is_grey = bool((optical[0] == optical[1]).all() and (optical[1] == optical[2]).all())
            item = (f"{scene}_{radar_path.stem}", radar, optical)
            (grey if is_grey else colour).append(item)
        pairs.extend(_make_grey(scene, *item) for item in grey)
        if colour:
            pairs.extend(_make_scene(scene, colour))
    return pairs


def _make_grey(scene: str, name: str, radar: AnyArray, optical: AnyArray) -> Pair:
    return Pair(
        name=name,
        scene=f"grey_{scene}",
        kind="sen12-grey",
        radar=(radar / 127.5 - 1).astype(np.float16),
        optical=(optical / 127.5 - 1).astype(np.float16),
        low_dn=np.full(3, UNKNOWN_LOW_DN, np.float32),
        high_dn=np.full(3, UNKNOWN_HIGH_DN, np.float32),
    )


def _make_scene(scene: str, items: list[tuple[str, AnyArray, AnyArray]]) -> list[Pair]:
    """Return one scene's pairs under one stretch and one standardisation."""
    counts = np.concatenate([optical.reshape(3, -1) for _, _, optical in items], axis=1)
    low, high = (DN_PER_COUNT * np.percentile(counts, PERCENTILES, axis=1)).astype(np.float32)
    to_db = 20 * np.log10(np.maximum(np.arange(256), 1)) + AMPLITUDE_TO_DB
    seen = np.bincount(
        np.concatenate([radar.ravel() for _, radar, _ in items]), minlength=256
    ).astype(float)
    seen[0] = 0
    mean = float((seen * to_db).sum() / seen.sum())
    std = float(np.sqrt((seen * (to_db - mean) ** 2).sum() / seen.sum()))
    lookup = standardise(to_db, mean, std).astype(np.float16)
    return [
        Pair(
            name=name,
            scene=scene,
            kind="s1s2-1024",
            radar=lookup[radar],
            optical=stretch(DN_PER_COUNT * optical.astype(np.float32), low, high).astype(
                np.float16
            ),
            low_dn=low,
            high_dn=high,
        )
        for name, radar, optical in items
    ]


def _read_triplets(folder: Path, problems: list[Problem]) -> list[Pair]:
    pairs = []
    for radar_path in sorted(folder.glob("*_s1.tif")):
        number = radar_path.name.removesuffix("_s1.tif")
        try:
            radar = _read_tif(radar_path, (1,))
            cloudy = _read_tif(folder / f"{number}_s2_cloudy.tif", RGB_BANDS)
            clear = _read_tif(folder / f"{number}_s2_clear.tif", RGB_BANDS)
            made = _read_tif(folder / f"{number}_mask.tif", (1,))[0] > 0
        except OSError as error:
            problems.append(Problem(radar_path, str(error)))
            continue
        if len({radar.shape[1:], cloudy.shape[1:], clear.shape[1:], made.shape}) > 1:
            problems.append(Problem(radar_path, "its files differ in size"))
            continue
        # One patch does not tell how its scene is stretched, and the truth must not.
        low = np.full(3, UNKNOWN_LOW_DN, np.float32)
        high = np.full(3, UNKNOWN_HIGH_DN, np.float32)
        pairs.append(
            Pair(
                name=number,
                scene=f"sen12mscr_{number}",
                kind="sen12mscr",
                radar=standardise(radar).astype(np.float16),
                optical=stretch(clear, low, high).astype(np.float16),
                low_dn=low,
                high_dn=high,
                cloudy=stretch(cloudy, low, high).astype(np.float16),
                made=made,
            )
        )
    return pairs


def _read_patches(folder: Path, problems: list[Problem]) -> list[Pair]:
    pairs = []
    for path in sorted(folder.glob("*/*.npz")):
        try:
            pairs.append(_read_patch(path))
        except (TypeError, ValueError) as error:
            problems.append(Problem(path, f"is no patch of {', '.join(PICTURE)}: {error}"))
    return pairs


def _read_patch(path: Path) -> Pair:
    """Return what ``cloudfree patches`` wrote; ValueError or TypeError for anything else."""
    patch = _load_layers(path)
    bands = [str(band) for band in patch["bands"].ravel()]
    optical, radar = patch["optical"], patch["radar"]
    missing = [band for band in PICTURE if band not in bands]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}, has {', '.join(bands)}")
    for name, shape in (
        ("optical", optical.shape[:1]),
        ("low_dn", patch["low_dn"].shape),
        ("high_dn", patch["high_dn"].shape),
    ):
        if shape != (len(bands),):
            raise ValueError(f"{name} is of {shape} bands, {len(bands)} are named")
    if optical.ndim != 3 or radar.shape != (1, *optical.shape[1:]):
        raise ValueError(f"radar is {radar.shape}, optical {optical.shape}; one channel is used")
    if not np.isfinite(optical).all() or not np.isfinite(radar).all():
        raise ValueError("some pixels are not finite")
    channels = [bands.index(band) for band in PICTURE]
    return Pair(
        name=f"{patch['scene']}_{path.stem}",
        scene=str(patch["scene"]),
        kind="patches",
        radar=radar.astype(np.float16),
        optical=optical[channels].astype(np.float16),
        low_dn=patch["low_dn"][channels].astype(np.float32),
        high_dn=patch["high_dn"][channels].astype(np.float32),
        place=str(patch["place"]),
    )


def _load_layers(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of a patch; ValueError where one is missing or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            layers = dict(file)
    except Exception as error:  # of a damaged file: from zlib.error to SyntaxError
        raise ValueError(f"it cannot be read: {' '.join(str(error).split())}") from error
    missing = [name for name in PATCH_LAYERS if name not in layers]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return layers


def _read_pictures(
    radar_path: Path, optical_path: Path, problems: list[Problem]
) -> tuple[AnyArray, AnyArray] | None:
    """Return 8-bit (1, y, x) and (3, y, x), or note the problem."""
    try:
        with Image.open(radar_path) as picture:
            radar = np.asarray(picture.convert("L"))[None]
    except OSError as error:
        problems.append(Problem(radar_path, f"cannot be read: {error}"))
        return None
    try:
        with Image.open(optical_path) as picture:
            optical = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    except FileNotFoundError:
        problems.append(Problem(radar_path, f"has no optical partner {optical_path.name}"))
        return None
    except OSError as error:
        problems.append(Problem(optical_path, f"cannot be read: {error}"))
        return None
    if radar.shape[1:] != optical.shape[1:]:
        problems.append(
            Problem(radar_path, f"is {radar.shape[1:]} px, its partner {optical.shape[1:]}")
        )
        return None
    return radar, optical


def _read_tif(path: Path, bands: tuple[int, ...]) -> Float32Array:
    """Return (band, y, x); OSError for a file that is missing or broken."""
    import rasterio  # noqa: PLC0415  only some training data need it; GPU machines lack it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as source:
                pixels: Float32Array = source.read(list(bands)).astype(np.float32)
        except rasterio.errors.RasterioError as error:
            raise OSError(f"{path.name} cannot be read: {error}") from None
    return pixels
