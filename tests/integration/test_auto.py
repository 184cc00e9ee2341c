"""The default model on whole runs: what it takes, what it does without radar, what it keeps."""

import json
from pathlib import Path

import numpy as np
import pytest

from cloudfree.core.errors import NoSceneError
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import make, open_raw


@pytest.fixture(scope="module")
def without_radar(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that holds no radar at all."""
    items = json.loads(scenes.items.read_text())
    items["features"] = [one for one in items["features"] if "sentinel-2" in one["collection"]]
    # beside the scenes, which it names by relative links
    file = scenes.items.with_name("without-radar.json")
    file.write_text(json.dumps(items))
    return file


def test_what_is_measured_is_told_and_kept(scenes: SyntheticScenes, tmp_path: Path) -> None:
    outs = [tmp_path / name for name in ("one", "two")]
    for out, chunk_px in zip(outs, (2048, 256), strict=True):
        outcome = make(
            out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, model="auto",
            chunk_px=chunk_px,
        )  # fmt: skip
    runs = [json.loads((out / "run.json").read_text()) for out in outs]
    assert runs[0]["key"] == runs[1]["key"]
    (choice,) = runs[0]["choice"]
    assert choice["maker"] in ("small", "baseline", "inpainting")
    assert f"{choice['maker']}; {choice['why']}" in repr(outcome)
    assert choice["why"] in (outs[0] / "report.html").read_text()
    (item,) = outs[0].glob("*_item.json")
    assert json.loads(item.read_text())["properties"]["cloudfree:choice"] == [choice]
    one, two = (open_raw(out) for out in outs)
    np.testing.assert_array_equal(one.reflectance, two.reflectance)
    np.testing.assert_array_equal(one.source, two.source)


def test_a_scene_without_radar_is_inpainted(
    scenes: SyntheticScenes, without_radar: Path, tmp_path: Path
) -> None:
    for out, chunk_px in ((tmp_path / "one", 2048), (tmp_path / "two", 256)):
        make(
            out, aoi=scenes.aoi, date=scenes.date, stac=without_radar, model="auto",
            chunk_px=chunk_px,
        )  # fmt: skip
    run = json.loads((tmp_path / "one" / "run.json").read_text())
    assert [(one["radar"], one["maker"]) for one in run["choice"]] == [("", "inpainting")]
    assert any("no radar within" in one for one in run["warnings"])
    assert run["pixels"]["not_restored"] == 0
    assert run["pixels"]["reconstructed"] > 1000
    one, two = (open_raw(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_array_equal(one.reflectance, two.reflectance)
    made = one.reflectance.to_numpy()[0][:, one.source.to_numpy()[0] == 2]
    seen = one.reflectance.to_numpy()[0][:, one.source.to_numpy()[0] == 1]
    np.testing.assert_allclose(made.mean(axis=1), seen.mean(axis=1), rtol=0.3)
    assert (one.radar_scene == 0).all()


def test_other_models_still_refuse_that(
    scenes: SyntheticScenes, without_radar: Path, tmp_path: Path
) -> None:
    with pytest.raises(NoSceneError, match="no radar scene"):
        make(
            tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=without_radar,
            model="baseline",
        )  # fmt: skip
