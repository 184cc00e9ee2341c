"""A pack: training pairs and clouds in one file that is small enough to be carried to a GPU.

A ZIP archive: ``pack.json`` says what it holds; pictures and radar are WebP of 8 bits, three bands
to a file; clouds are half precision. ``cloudfree train --data PACK --clouds PACK`` reads it, with
no geospatial library.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cloudfree.core.contract import Channels
from cloudfree.core.errors import RequestError
from cloudfree.core.tables import build
from cloudfree.synthetic.clouds import Cloud
from cloudfree.train.pairs import Half, Pair
from cloudfree.train.readers import read_clouds, read_pairs

log = logging.getLogger(__name__)

MANIFEST, CLOUDS = "pack.json", "clouds.npz"
SPLITS = ("train", "val")
_FACTS = ("name", "scene", "kind", "place")


def write_pack(
    out: Path,
    folders: Sequence[Path],
    channels: Channels,
    *,
    clouds: Path | None = None,
    quality: int = 80,
) -> int:
    """Write the pairs of ``folders`` to ``out`` and return its size in bytes.

    A folder with ``train`` (and ``val``) keeps that split; any other is for training. ``quality``
    is WebP's, 1 to 100. Real cloud over pairs is not packed: such pairs are for judging.
    Raises RequestError where a folder or ``clouds`` cannot be used.
    """
    if not 1 <= quality <= 100:
        raise RequestError(f"quality is {quality}; give 1 to 100")
    part = out.with_name(f"{out.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for split, folder in _splits(folders):
            for pair in read_pairs(folder, channels)[0]:
                files = f"{len(entries):05d}"
                for layer in ("radar", "optical"):
                    for number, picture in enumerate(_encode(getattr(pair, layer), quality)):
                        archive.writestr(f"{files}_{layer}_{number}.webp", picture)
                entries.append(
                    {
                        "split": split,
                        **{fact: getattr(pair, fact) for fact in _FACTS},
                        "low_dn": pair.low_dn.tolist(),
                        "high_dn": pair.high_dn.tolist(),
                    }
                )
        if clouds is not None:
            archive.writestr(CLOUDS, _encode_clouds(read_clouds(clouds, channels.bands)))
        manifest = {
            "channels": dataclasses.asdict(channels),
            "codec": f"webp, quality {quality}",
            "pairs": entries,
        }
        archive.writestr(MANIFEST, json.dumps(manifest))
    part.replace(out)
    size = out.stat().st_size
    log.info("%d pairs in %s, %.1f MiB", len(entries), out, size / 2**20)
    return size


def read_pack(path: Path, channels: Channels) -> dict[str, list[Pair]]:
    """Return the pairs of each split of a pack of these channels.

    Raises RequestError where it is no pack, damaged, or of other channels.
    """
    with _open(path) as archive:
        manifest = _read_manifest(path, archive)
        packed = build(Channels, manifest["channels"], str(path))
        if dataclasses.asdict(packed) != dataclasses.asdict(channels):
            raise RequestError(f"{path} holds {packed}; {channels} are wanted. Pack those")
        pairs: dict[str, list[Pair]] = {split: [] for split in SPLITS}
        for index, entry in enumerate(manifest["pairs"]):
            radar = _decode(archive, f"{index:05d}_radar", packed.radar_channels)
            optical = _decode(archive, f"{index:05d}_optical", len(packed.bands))
            pairs[entry["split"]].append(
                Pair(
                    **{fact: entry[fact] for fact in _FACTS},
                    radar=radar,
                    optical=optical,
                    low_dn=np.array(entry["low_dn"], np.float32),
                    high_dn=np.array(entry["high_dn"], np.float32),
                )
            )
    log.info("%s in %s", ", ".join(f"{len(some)} for {s}" for s, some in pairs.items()), path)
    return pairs


def read_packed_clouds(path: Path) -> list[Cloud]:
    """Return the clouds of a pack; RequestError where it has none."""
    with _open(path) as archive:
        if CLOUDS not in archive.namelist():
            raise RequestError(f"{path} holds no clouds. Pack it with --clouds, or leave them out")
        with np.load(io.BytesIO(archive.read(CLOUDS)), allow_pickle=False) as layers:
            return [
                Cloud(
                    thickness=layers[f"thickness_{index}"].astype(np.float32),
                    texture_dn=layers[f"texture_{index}"].astype(np.float32),
                )
                for index in range(len(layers.files) // 2)
            ]


def _splits(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return which split each folder of pairs belongs to."""
    found = []
    for folder in folders:
        halves = [(split, folder / split) for split in SPLITS if (folder / split).is_dir()]
        found += halves or [("train", folder)]
    return found


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is no pack: {error}. Make one with cloudfree pack") from None


def _read_manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is no pack: {error}. Make one with cloudfree pack") from None
    return manifest


def _encode(layer: Half, quality: int) -> list[bytes]:
    """Return a picture (band, y, x) in [-1, 1] as WebP files of three bands, the rest 0."""
    counts = np.round((layer.astype(np.float32) + 1) * 127.5).astype(np.uint8)
    files = []
    for first in range(0, len(counts), 3):
        three = counts[first : first + 3]
        # one band alone is grey, so that no colour has to be stored
        few = np.repeat(three, 3, axis=0) if len(three) == 1 else three
        padded = np.concatenate([few, np.zeros((3 - len(few), *few.shape[1:]), np.uint8)])
        target = io.BytesIO()
        Image.fromarray(padded.transpose(1, 2, 0)).save(target, "WEBP", quality=quality)
        files.append(target.getvalue())
    return files


def _decode(archive: zipfile.ZipFile, name: str, bands: int) -> Half:
    """Return a picture (band, y, x) in [-1, 1]."""
    counts = []
    for number in range(-(-bands // 3)):
        with Image.open(io.BytesIO(archive.read(f"{name}_{number}.webp"))) as picture:
            counts.append(np.asarray(picture.convert("RGB")).transpose(2, 0, 1))
    layer = np.concatenate(counts)[:bands] / np.float32(127.5) - 1
    half: Half = layer.astype(np.float16)
    return half


def _encode_clouds(clouds: Sequence[Cloud]) -> bytes:
    target = io.BytesIO()
    layers = {}
    for index, cloud in enumerate(clouds):
        layers[f"thickness_{index}"] = cloud.thickness.astype(np.float16)
        layers[f"texture_{index}"] = cloud.texture_dn.astype(np.float16)
    np.savez_compressed(target, allow_pickle=False, **layers)
    return target.getvalue()
