"""Readers of every layout of pairs that the project knows.

Each gives the channels that are asked for, or says what it has. They are told apart by what is in
the folder:

* ``ROIs*/s1_N/*.png`` with ``s2_N``: SEN1-2 as published, VV and RGB; one ROI and N is one scene.
* ``SCENE/s1/*`` with ``s2/*``: larger pairs (VH amplitude and RGB of known DN) or pairs of SEN1-2
  with only luminance (grey).
* ``SCENE/*.npz``: what ``cloudfree patches`` cuts, of whatever bands and polarisations.
* ``*_s1.tif`` with ``*_s2_cloudy.tif``, ``*_s2_clear.tif``, ``*_mask.tif``: SEN12MS-CR triplets, of
  all 13 bands, VV and VH.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cloudfree.core.bands import BANDS, RGB
from cloudfree.core.contract import POLARIZATIONS, Channels
from cloudfree.core.errors import RequestError
from cloudfree.core.types import AnyArray, Float32Array
from cloudfree.synthetic.clouds import Cloud, clip_cloud
from cloudfree.train.pairs import Pair, Picked, pick_channels, standardise, stretch
from cloudfree.train.patch_files import read_patch

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
CLOUD_BANDS = ("B02", "B03", "B04")
"""In the files of clouds, in order."""


class Problem(NamedTuple):
    """A file that cannot be used."""

    path: Path
    reason: str


def read_pairs(
    folder: Path, channels: Channels, *, on_problem: str = "skip"
) -> tuple[list[Pair], list[Problem]]:
    """Return all pairs below ``folder`` in a fixed order, and the files that cannot be used.

    Pictures and radar are of ``channels``, which name their bands; RequestError where the set has
    not all of them. Missing partners, broken files and unequal sizes are problems; with
    ``on_problem="refuse"`` they are a RequestError that names the first of them.
    """
    problems: list[Problem] = []
    reader = _find_reader(folder)
    pairs = reader(folder, channels, problems)
    for problem in problems:
        log.warning("skipped %s: %s", problem.path, problem.reason)
    if problems and on_problem == "refuse":
        raise RequestError(
            f"{len(problems)} of the files in {folder} cannot be used, first {problems[0].path}: "
            f'{problems[0].reason}. Mend them, or set on_problem = "skip".'
        )
    if not pairs:
        first = f", first {problems[0].path}: {problems[0].reason}" if problems else ""
        raise RequestError(
            f"no pair in {folder} can be used; {len(problems)} files have problems{first}"
        )
    log.info("%d pairs of %d scenes in %s", len(pairs), len({p.scene for p in pairs}), folder)
    return pairs, problems


def read_clouds(folder: Path, bands: tuple[str, ...]) -> list[Cloud]:
    """Return the clouds of all ``*_cloudy.tif`` and ``*_clear.tif`` in ``folder``, in these bands.

    Pairs without thick cloud are left out. Files hold B02, B03, B04; RequestError for others.
    """
    if not set(bands) <= set(CLOUD_BANDS):
        raise RequestError(
            f"the clouds in {folder} have {', '.join(CLOUD_BANDS)}; {', '.join(bands)} are wanted. "
            "Leave out --clouds: clouds are then drawn"
        )
    numbers = [CLOUD_BANDS.index(band) + 1 for band in bands]
    clouds = []
    for cloudy_path in sorted(folder.glob("*_cloudy.tif")):
        clear_path = cloudy_path.with_name(cloudy_path.name.replace("_cloudy", "_clear"))
        cloud = clip_cloud(_read_tif(cloudy_path, numbers), _read_tif(clear_path, numbers))
        if cloud is not None:
            clouds.append(cloud)
    if not clouds:
        raise RequestError(f"no pair *_cloudy.tif, *_clear.tif in {folder} has thick cloud")
    return clouds


Reader = Callable[[Path, Channels, list[Problem]], list[Pair]]


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


def _pick_of_set(name: str, channels: Channels, polarization: str) -> Picked:
    """Return where the asked channels are in a set of RGB and one polarisation."""
    try:
        return pick_channels(channels, RGB, (polarization,))
    except ValueError as error:
        raise RequestError(
            f"{name} cannot give {channels}: it {error}. Use other pairs, such as those of "
            "cloudfree patches, or fewer channels"
        ) from None


def _read_sen12(folder: Path, channels: Channels, problems: list[Problem]) -> list[Pair]:
    picked = _pick_of_set(f"SEN1-2 in {folder}", channels, "vv")
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
                optical=(optical[picked.bands] / 127.5 - 1).astype(np.float16),
                low_dn=np.full(len(channels.bands), UNKNOWN_LOW_DN, np.float32),
                high_dn=np.full(len(channels.bands), UNKNOWN_HIGH_DN, np.float32),
            )
        )
    return pairs


def _read_scene_folders(folder: Path, channels: Channels, problems: list[Problem]) -> list[Pair]:
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
        if grey:
            _pick_of_set(f"SEN1-2 in {folder}", channels, "vv")
            if channels.bands != RGB:
                raise RequestError(
                    f"the grey pairs in {folder} show the luminance of {', '.join(RGB)}; "
                    f"{', '.join(channels.bands)} are wanted. Use other pairs"
                )
            pairs.extend(_make_grey(scene, *item) for item in grey)
        if colour:
            picked = _pick_of_set(f"the set of larger pairs in {folder}", channels, "vh")
            pairs.extend(_make_scene(scene, picked.bands, colour))
    return pairs


def _make_grey(scene: str, name: str, radar: AnyArray, optical: AnyArray) -> Pair:
    return Pair(
        name=name,
        scene=f"grey_{scene}",
        kind="sen12-grey",
        radar=(radar / 127.5 - 1).astype(np.float16),
        optical=(optical / 127.5 - 1).astype(np.float16),
        low_dn=np.full(len(optical), UNKNOWN_LOW_DN, np.float32),
        high_dn=np.full(len(optical), UNKNOWN_HIGH_DN, np.float32),
    )


def _make_scene(
    scene: str, bands: list[int], items: list[tuple[str, AnyArray, AnyArray]]
) -> list[Pair]:
    """Return one scene's pairs under one stretch and one standardisation, in these bands."""
    items = [(name, radar, optical[bands]) for name, radar, optical in items]
    counts = np.concatenate([optical.reshape(len(bands), -1) for *_, optical in items], axis=1)
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


def _read_triplets(folder: Path, channels: Channels, problems: list[Problem]) -> list[Pair]:
    picked = pick_channels(
        channels, list(BANDS), POLARIZATIONS
    )  # its files have all, in this order
    optical_numbers = [band + 1 for band in picked.bands]
    radar_numbers = [channel + 1 for channel in picked.radar]
    pairs = []
    for radar_path in sorted(folder.glob("*_s1.tif")):
        number = radar_path.name.removesuffix("_s1.tif")
        try:
            radar = _read_tif(radar_path, radar_numbers)
            cloudy = _read_tif(folder / f"{number}_s2_cloudy.tif", optical_numbers)
            clear = _read_tif(folder / f"{number}_s2_clear.tif", optical_numbers)
            made = _read_tif(folder / f"{number}_mask.tif", [1])[0] > 0
        except OSError as error:
            problems.append(Problem(radar_path, str(error)))
            continue
        if len({radar.shape[1:], cloudy.shape[1:], clear.shape[1:], made.shape}) > 1:
            problems.append(Problem(radar_path, "its files differ in size"))
            continue
        # One patch does not tell how its scene is stretched, and the truth must not.
        low = np.full(len(clear), UNKNOWN_LOW_DN, np.float32)
        high = np.full(len(clear), UNKNOWN_HIGH_DN, np.float32)
        pairs.append(
            Pair(
                name=number,
                scene=f"sen12mscr_{number}",
                kind="sen12mscr",
                radar=np.stack([standardise(channel) for channel in radar]).astype(np.float16),
                optical=stretch(clear, low, high).astype(np.float16),
                low_dn=low,
                high_dn=high,
                cloudy=stretch(cloudy, low, high).astype(np.float16),
                made=made,
            )
        )
    return pairs


def _read_patches(folder: Path, channels: Channels, problems: list[Problem]) -> list[Pair]:
    pairs = []
    for path in sorted(folder.glob("*/*.npz")):
        try:
            pairs.append(read_patch(path, channels))
        except (TypeError, ValueError) as error:
            problems.append(Problem(path, f"is no patch of {channels}: {error}"))
    return pairs


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


def _read_tif(path: Path, bands: list[int]) -> Float32Array:
    """Return (band, y, x) of bands counted from 1; OSError for a file that is missing or broken."""
    import rasterio  # noqa: PLC0415  only some training data need it; GPU machines lack it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as source:
                pixels: Float32Array = source.read(bands).astype(np.float32)
        except (rasterio.errors.RasterioError, IndexError) as error:
            raise OSError(f"{path.name} cannot be read: {error}") from None
    return pixels
