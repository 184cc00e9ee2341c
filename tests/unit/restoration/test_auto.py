"""The bundle that chooses: what it may choose from, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from cloudfree.core.errors import BundleError
from cloudfree.core.types import Masks
from cloudfree.restoration.auto import BASELINE, INPAINTING, Auto
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.restore import restore_alone

RNG = np.random.default_rng(8)


def write(folder: Path, **changed: object) -> str:
    """Write a bundle that chooses, with other words than the built-in one."""
    words: dict[str, object] = {
        "name": "mine",
        "version": "1",
        "network": "auto",
        "candidates": ["small"],
    }
    words |= {"stride_px": 128, **changed}
    lines = [f"{key} = {json.dumps(value)}" for key, value in words.items()]
    (folder / "model.toml").write_text("\n".join(lines))
    return str(folder)


def test_the_built_in_one_knows_small_and_restores_any_band() -> None:
    model = open_bundle("auto").load()
    assert isinstance(model, Auto)
    assert model.contract.bands == ()
    assert not model.contract.needs_radar
    rgb = model.makers(("B02", "B03", "B04"), with_radar=True)
    assert list(rgb) == ["small", BASELINE, INPAINTING]
    assert list(model.makers(("B08",), with_radar=True)) == [BASELINE, INPAINTING]


def test_of_windows_alone_it_is_the_baseline() -> None:
    optical = RNG.uniform(-1, 1, (2, 3, 48, 64)).astype(np.float32)
    radar = RNG.uniform(-1, 1, (2, 1, 48, 64)).astype(np.float32)
    seen = RNG.random((2, 48, 64)) < 0.5
    masks = Masks(seen=seen, made=~seen)
    made = [
        restore_alone(open_bundle(name).load(), optical, radar, masks)
        for name in ("auto", "baseline")
    ]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"candidates": ["auto"]}, "names auto, which chooses too"),
        ({"candidates": ["nobody"]}, "no model bundle 'nobody'"),
        ({"window_px": 128, "stride_px": 64}, "windows of 128 px; small takes 256"),
        ({"all_polarizations": True}, "takes"),
    ],
)
def test_candidates_must_take_what_it_gives(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        open_bundle(write(tmp_path, **changed)).load()
