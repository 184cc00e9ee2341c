"""Packs: what goes in comes out, within the codec's error, and trains."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cloudfree.core.contract import Channels
from cloudfree.core.errors import RequestError
from cloudfree.core.tables import build
from cloudfree.train.pack import read_pack, read_packed_clouds, write_pack
from cloudfree.train.prepare import prepare
from cloudfree.train.readers import read_clouds, read_pairs
from cloudfree.train.settings import ChannelSettings, TrainSettings
from tests.gans import COLOUR
from tests.pairs import write_pairs, write_patch, write_tif

FOUR = Channels(bands=("B02", "B03", "B04", "B08"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)


def drop_manifest(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other", b"x")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs/train", range(1, 4), patches=1)
    write_pairs(tmp_path / "pairs/val", range(7, 8), patches=1)
    return tmp_path / "pairs"


@pytest.fixture
def clouds(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    clear = rng.integers(300, 900, (3, 40, 56)).astype(np.uint16)
    cloudy = clear.copy()
    cloudy[:, :20] += 4000
    write_tif(tmp_path / "clouds/1_clear.tif", clear)
    write_tif(tmp_path / "clouds/1_cloudy.tif", cloudy)
    return tmp_path / "clouds"


def test_pairs_come_out_as_they_went_in(pairs: Path, tmp_path: Path) -> None:
    size = write_pack(tmp_path / "pairs.zip", [pairs], COLOUR, quality=90)
    assert size == (tmp_path / "pairs.zip").stat().st_size
    packed = read_pack(tmp_path / "pairs.zip", COLOUR)
    for split in ("train", "val"):
        expected = read_pairs(pairs / split, COLOUR)[0]
        assert [p.name for p in packed[split]] == [p.name for p in expected]
        for pair, original in zip(packed[split], expected, strict=True):
            assert (pair.scene, pair.kind) == (original.scene, original.kind)
            np.testing.assert_array_equal(pair.low_dn, original.low_dn)
            for layer in ("radar", "optical"):
                ours, theirs = getattr(pair, layer), getattr(original, layer)
                assert ours.dtype == np.float16
                assert np.abs(ours.astype(np.float32) - theirs.astype(np.float32)).mean() < 0.03


def test_more_bands_than_a_picture_file_holds(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    smooth = np.kron(rng.uniform(-1, 1, (4, 3, 5)), np.ones((8, 8))).astype(np.float16)
    write_patch(tmp_path / "patches/here/1.npz", optical=smooth)
    write_pack(tmp_path / "p.zip", [tmp_path / "patches"], FOUR, quality=100)
    (original,) = read_pairs(tmp_path / "patches", FOUR)[0]
    (pair,) = read_pack(tmp_path / "p.zip", FOUR)["train"]
    assert pair.optical.shape == original.optical.shape == (4, 24, 40)
    assert pair.place == original.place
    for ours, theirs in zip(pair.optical, original.optical, strict=True):
        error = np.abs(ours.astype(np.float32) - theirs.astype(np.float32)).mean()
        # one band alone is stored as grey; in colour its edges are stored at half the resolution
        assert error < 0.25
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9


def test_clouds_come_along(pairs: Path, clouds: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "pairs.zip", [pairs], COLOUR, clouds=clouds)
    (original,) = read_clouds(clouds, COLOUR.bands)
    (cloud,) = read_packed_clouds(tmp_path / "pairs.zip")
    np.testing.assert_allclose(cloud.thickness, original.thickness, rtol=1e-3)
    np.testing.assert_allclose(cloud.texture_dn, original.texture_dn, rtol=1e-3)


def test_a_pack_trains_with_readers_and_stops_in_time(
    pairs: Path, clouds: Path, tmp_path: Path
) -> None:
    pack = tmp_path / "pairs.zip"
    write_pack(pack, [pairs], COLOUR, clouds=clouds)
    tables = {
        "task": "cloud_removal",
        "patches": {"size_px": 32},
        "generator": {"width": 4, "inputs": ["cloudy", "radar", "made"], "fill": "regression"},
        "loss": {"discriminator_width": 4},
        "optimiser": {"batch": 2, "steps": 5, "precision": "fp32"},
        "log": {"score_every": 100, "norm_batches": 1},
    }
    settings = build(TrainSettings, tables, "test")

    def trained(name: str, readers: int, minutes: float | None) -> dict[str, torch.Tensor]:
        trainer = prepare(settings, [pack], tmp_path / name, clouds=pack, readers=readers)
        assert len(trainer.windows) == 1
        trainer.run(minutes=minutes)
        assert (tmp_path / name / "best.safetensors").exists()
        return trainer.average.network.state_dict()

    whole = trained("whole", 0, None)
    for _ in range(5):  # each stops after its first step
        parts = trained("parts", 1, 0.0)
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (lambda path: path.write_bytes(b"none"), "is no pack"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "is no pack"),
        (lambda path: path.unlink(), "is no pack"),
        (flip, "is no pack"),
        (drop_manifest, "is no pack"),
    ],
)
def test_a_damaged_pack_is_named(
    pairs: Path, tmp_path: Path, spoil: Callable[[Path], object], hint: str
) -> None:
    pack = tmp_path / "pairs.zip"
    write_pack(pack, [pairs], COLOUR)
    spoil(pack)
    with pytest.raises(RequestError, match=hint):
        read_pack(pack, COLOUR)


def test_a_pack_of_other_channels_is_refused(pairs: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "pairs.zip", [pairs], COLOUR)
    with pytest.raises(RequestError, match="holds B04, B03, B02 with VV or VH; B03 with"):
        read_pack(tmp_path / "pairs.zip", ChannelSettings(bands=("B03",)))
    with pytest.raises(RequestError, match="holds no clouds"):
        read_packed_clouds(tmp_path / "pairs.zip")


def test_the_command_packs(
    pairs: Path, tmp_path: Path, cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    pack = tmp_path / "out/pairs.zip"
    code, out, _ = cloudfree("pack", "--data", pairs, "--out", pack)
    assert code == 0
    assert f"train on it with --data {pack}" in out
    assert len(read_pack(pack, COLOUR)["val"]) == 1
    code, _, err = cloudfree("pack", "--data", tmp_path / "none", "--out", pack)
    assert code == 2
    assert "no known layout" in err
