"""Scenes whose metadata leave their offset open: the pixels decide, and the product is the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudfree.synthetic.items import BANDS
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import assert_same_pixels, make, open_raw, summary


def remake(scenes: SyntheticScenes, folder: Path, *, taken_out: int) -> Path:
    """Copy the scenes, their flag saying "not applied", with ``taken_out`` of their numbers."""
    shutil.copytree(scenes.items.parent, folder)
    collection = json.loads((folder / "items.json").read_text())
    for item in collection["features"]:
        if item["collection"] == "sentinel-2-l2a":
            item["properties"]["earthsearch:boa_offset_applied"] = False
    (folder / "items.json").write_text(json.dumps(collection))
    for band in BANDS:
        with rasterio.open(folder / f"{band}.tif") as file:
            numbers, profile = file.read(1).astype(int), file.profile
        shifted = np.where(numbers > 0, np.maximum(numbers - taken_out, 1), 0)
        with rasterio.open(folder / f"{band}.tif", "w", **profile) as file:
            file.write(shifted.astype(np.uint16), 1)
    return folder / "items.json"


@pytest.mark.slow
def test_the_pixels_decide_and_either_way_the_product_is_the_same(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    asked = {"aoi": scenes.aoi, "date": scenes.date}
    make(tmp_path / "told", stac=scenes.items, **asked)
    for name, taken_out, offset in (("in", 0, -1000), ("out", 1000, 0)):
        items = remake(scenes, tmp_path / f"scenes-{name}", taken_out=taken_out)
        make(tmp_path / name, stac=items, **asked)
        scene = next(s for s in summary(tmp_path / name)["scenes"] if s["kind"] == "L2A")
        assert scene["offset_dn"] == offset
        assert scene["offset_why"].startswith("said not to be applied, at processing baseline")
        assert_same_pixels(open_raw(tmp_path / "told"), open_raw(tmp_path / name))
    before = (tmp_path / "out" / "run.json").read_text()
    resumed = make(tmp_path / "out", stac=tmp_path / "scenes-out" / "items.json", **asked)
    assert resumed.chunks_resumed == resumed.chunks_done
    key = json.loads(before)["key"]
    assert summary(tmp_path / "out")["key"] == key
