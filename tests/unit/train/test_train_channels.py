"""Training and judging in other channels than red, green, blue and one polarisation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cloudfree.core.bands import BANDS
from cloudfree.core.contract import Channels
from cloudfree.core.errors import BundleError, RequestError, SettingsError
from cloudfree.core.progress import Silent
from cloudfree.core.tables import build
from cloudfree.restoration.bundle import GOLDEN_TOLERANCE, check_golden, open_bundle, write_golden
from cloudfree.train.evaluate import EvaluationSettings, Figures, evaluate
from cloudfree.train.networks import build_network
from cloudfree.train.prepare import load_translator, prepare, write_baselines
from cloudfree.train.settings import ChannelSettings, TrainSettings
from cloudfree.train.sheets import write_sheet
from cloudfree.train.ship import ship
from tests import needs
from tests.gans import write_tiny_gans
from tests.pairs import write_pairs, write_patch, write_tif

SIDE = 256
FOUR = ("B08", "B04", "B03", "B02")
CHANNELS = {"bands": list(FOUR), "all_polarizations": True}
EVERYTHING = Channels(bands=tuple(BANDS), all_polarizations=True)


def make_settings(**tables: object) -> TrainSettings:
    common = {
        "channels": CHANNELS,
        "patches": {"size_px": 32},
        "generator": {"width": 4},
        "loss": {"discriminator_width": 4},
        "optimiser": {"batch": 2, "steps": 3, "precision": "fp32", "seed": 5},
        "log": {"curve_every": 1, "save_every": 3, "score_every": 3, "norm_batches": 1},
    }
    return build(TrainSettings, {**common, **tables}, "test")


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patches of four bands and both polarisations; near infrared follows VH, the others VV."""
    folder = tmp_path_factory.mktemp("patches")
    for index, scene in enumerate(("train/a", "train/b", "train/c", "val/d")):
        rng = np.random.default_rng(index)
        coarse = rng.uniform(-0.9, 0.9, (2, SIDE // 32, SIDE // 32))
        radar = np.kron(coarse, np.ones((1, 32, 32))).astype(np.float16)
        optical = np.stack([-radar[0], radar[1], radar[0], 0.5 * radar[0]])
        write_patch(
            folder / scene / "p.npz", (SIDE, SIDE), radar=radar, optical=optical,
            polarizations=np.array(["vv", "vh"]), place=np.array(f"place_{index}"),
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def trained(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three GAN1, two of folds, and a GAN2 that sees all kinds of input."""
    out = tmp_path_factory.mktemp("runs")
    for fold in (0, 1):
        settings = make_settings(folds={"count": 2, "without": fold})
        prepare(settings, [patches], out / f"fold{fold}").run()
    trainer = prepare(make_settings(), [patches], out / "sar2opt")
    write_baselines(trainer)
    trainer.run()
    inputs = ["cloudy", "observed", "translated", "radar", "made"]
    generator = {"width": 4, "inputs": inputs, "fill": "regression", "residual": True}
    settings = make_settings(task="cloud_removal", generator=generator)
    translators = [out / f"fold{fold}/best.safetensors" for fold in (0, 1)]
    prepare(settings, [patches], out / "cloud_removal", translators=translators).run()
    return {name: out / name / "best.safetensors" for name in ("fold0", "sar2opt", "cloud_removal")}


def test_networks_have_the_asked_channels(trained: dict[str, Path]) -> None:
    gan1, gan2 = (load_file(trained[name]) for name in ("sar2opt", "cloud_removal"))
    assert gan1["encoder.0.0.weight"].shape[1] == 2
    assert gan2["generator.encoder.0.0.weight"].shape[1] == 4 + 4 + 4 + 2 + 1
    assert gan1["last.weight"].shape[1] == gan2["generator.last.weight"].shape[1] == 4


def test_the_references_are_of_every_band_and_hear_both_polarisations(
    trained: dict[str, Path], patches: Path
) -> None:
    """Near infrared follows VH alone: a regression without it could not find that."""
    reference = json.loads(trained["sar2opt"].with_name("bars.json").read_text())
    assert len(reference["mean_colour"]) == 4
    assert np.array(reference["regression"]).shape == (1 + 2 * 6, 4)
    scores = json.loads(trained["sar2opt"].with_name("baselines.json").read_text())
    assert scores["regression"]["patches"]["mae"] < 0.5 * scores["mean_colour"]["patches"]["mae"]


def test_a_bundle_of_them_says_so_runs_and_is_judged(
    trained: dict[str, Path], patches: Path, tmp_path: Path
) -> None:
    gan1, gan2 = trained["sar2opt"], trained["cloud_removal"]
    ship(tmp_path / "b", name="b", version="1", cloud_removal=gan2, sar2opt=gan1)
    write_golden(tmp_path / "b")
    bundle = open_bundle(str(tmp_path / "b"))
    assert bundle.contract.bands == FOUR
    assert bundle.contract.polarizations == ("vv", "vh")
    assert bundle.contract.all_polarizations
    assert check_golden(bundle) < GOLDEN_TOLERANCE
    figures = evaluate(patches, str(tmp_path / "b"), EvaluationSettings(), Silent())
    assert figures["data"]["bands"] == list(FOUR)
    assert figures["data"]["radar"] == "VV and VH"
    regression = figures["baselines"]["sar2opt"]["regression"]
    assert regression["psnr"] > figures["baselines"]["sar2opt"]["mean_colour"]["psnr"] + 5


def test_sheets_show_red_green_blue_wherever_they_are(tmp_path: Path) -> None:
    pictures = torch.tensor([-1, -0.4, 0.2, 1]).view(1, 4, 1, 1).expand(2, 4, 8, 8)
    radar = torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1).expand(2, 2, 8, 8)
    write_sheet(tmp_path / "a.png", [radar, radar[:, :1], pictures], FOUR, side_px=8)
    write_sheet(tmp_path / "b.png", [pictures], ("B12", "B11", "B8A", "B04"), side_px=8)
    sheet, other = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert sheet.shape == (16, 24, 3)
    assert sheet[3, 3].tolist() == [0, 255, 255]
    assert sheet[3, 11].tolist() == [0, 0, 0]
    assert sheet[3, 19].tolist() == [76, 153, 255]
    assert other[3, 3].tolist() == [0, 76, 153]


def keep_untrained(folder: Path, task: str, channels: ChannelSettings) -> Path:
    """Write what a training of no steps leaves."""
    settings = dataclasses.replace(make_settings(task=task), channels=channels)
    file = folder / f"{task}_{len(channels.bands)}_{channels.radar_channels}.safetensors"
    facts = {"settings": json.dumps(dataclasses.asdict(settings)), "scenes": "[]"}
    state = build_network(settings).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, file, metadata=facts)
    return file


def test_trainings_of_other_channels_do_not_go_together(tmp_path: Path) -> None:
    rgb, both = ChannelSettings(), ChannelSettings(all_polarizations=True)
    gan1, gan2 = (
        keep_untrained(tmp_path, "sar2opt", rgb), keep_untrained(tmp_path, "cloud_removal", both),
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"sar2opt_3_1.* is of B04, B03, B02 with VV or VH"):
        ship(tmp_path / "b", name="b", version="1", cloud_removal=gan2, sar2opt=gan1)
    assert not (tmp_path / "b").exists()
    with pytest.raises(RequestError, match=r"training is of B04, B03, B02 with VV and VH"):
        load_translator(gan1, both)
    assert load_translator(gan1, rgb).scenes == frozenset()


def test_a_training_from_before_channels_were_settings_is_of_colour(tmp_path: Path) -> None:
    file = keep_untrained(tmp_path, "cloud_removal", ChannelSettings())
    settings = dataclasses.asdict(make_settings(task="cloud_removal"))
    del settings["channels"]
    save_file(load_file(file), file, metadata={"settings": json.dumps(settings), "scenes": "[]"})
    ship(tmp_path / "b", name="b", version="1", cloud_removal=file, sar2opt=None)
    assert open_bundle(str(tmp_path / "b")).contract.bands == ("B04", "B03", "B02")


@pytest.mark.parametrize(
    "channels",
    [
        {"bands": []},
        {"bands": ["red"]},
        {"bands": ["B04", "B04"]},
        {"polarizations": ["hh"]},
        {"polarisations": ["vv"]},
    ],
)
def test_channels_that_do_not_exist_are_refused(channels: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="channels"):
        make_settings(channels=channels)


def test_wrong_requests_are_one_line(
    patches: Path, tmp_path: Path, cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    rgb = write_pairs(tmp_path / "rgb/train", range(1, 2), patches=1).parent
    write_pairs(rgb / "val", range(2, 3), patches=1)
    clouds = tmp_path / "clouds"
    toml = tmp_path / "t.toml"
    toml.write_text('task = "cloud_removal"\n[channels]\nbands = ["B08", "B04"]\n')
    tiny = write_tiny_gans(tmp_path / "tiny", channels=EVERYTHING, inputs=("cloudy", "radar"))
    for arguments, hint in (
        (["train", toml, "--data", rgb, "--out", tmp_path / "o"], "SEN1-2 in"),
        (
            ["train", toml, "--data", patches, "--clouds", clouds, "--out", tmp_path / "o"],
            "have B02, B03, B04; B08, B04 are wanted. Leave out --clouds",
        ),
        (["evaluate", "--data", rgb, "--model", tiny], "lacks B01, B05"),
        (["evaluate", "--data", patches, "--model", tiny], "no pair in"),
    ):
        code, _, complaint = cloudfree(*arguments)
        assert code == 2, complaint
        line = complaint.strip().splitlines()[-1]
        assert line.startswith("cloudfree: ")
        assert hint in line
        assert "Traceback" not in complaint


def test_the_baseline_beside_a_model_of_both_hears_the_first(tmp_path: Path) -> None:
    """What the second channel holds does not matter to it, what the first holds does."""
    tiny = str(write_tiny_gans(tmp_path / "tiny", channels=EVERYTHING, inputs=("cloudy", "radar")))
    level = np.random.default_rng(6).normal(0, 3, (2, SIDE // 16, SIDE // 16))
    vv, vh = np.kron(level, np.ones((1, 16, 16))).astype(np.float32)
    clear = np.broadcast_to(1700 + 200 * vv, (13, SIDE, SIDE)).astype(np.uint16)
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    mask[:, 60:150, 80:200] = 1
    write_tif(tmp_path / "t/5_s2_clear.tif", clear)
    write_tif(tmp_path / "t/5_s2_cloudy.tif", clear + np.uint16(4000) * mask)
    write_tif(tmp_path / "t/5_mask.tif", mask)

    def judge(*radar: np.ndarray) -> dict[str, Figures]:
        write_tif(tmp_path / "t/5_s1.tif", np.stack(radar) - 12)
        return evaluate(tmp_path / "t", tiny, EvaluationSettings(), Silent())

    figures, other, swapped = judge(vv, vh), judge(vv, vh[::-1]), judge(vh, vv)
    assert figures["sar2opt"] != other["sar2opt"]
    of, of_other, of_swapped = (
        each["baselines"]["cloud_removal"]["baseline"] for each in (figures, other, swapped)
    )
    assert of == of_other
    assert of["psnr_cloudy"] > of_swapped["psnr_cloudy"] + 3


@pytest.mark.slow
def test_thirteen_bands_and_both_polarisations_of_real_triplets(
    tmp_path: Path, cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    data = needs.shared("data", "sen12mscr")
    inputs = ("cloudy", "translated", "radar", "made")
    tiny = write_tiny_gans(tmp_path / "tiny", channels=EVERYTHING, inputs=inputs)
    sheet = tmp_path / "sheet.png"
    code, printed, _ = cloudfree(
        "evaluate", "--data", data, "--model", tiny, "--json", "--sheet", sheet
    )
    assert code == 0
    figures = json.loads(printed)
    assert figures["data"]["bands"] == list(BANDS)
    assert figures["data"]["windows"] == len(list(data.glob("*_s1.tif")))
    assert figures["data"]["clouds"] == "real, of the pairs"
    assert np.isfinite([figures["sar2opt"]["psnr"], figures["cloud_removal"]["sam"]]).all()
    fills = figures["baselines"]["cloud_removal"]
    assert fills["regression"]["psnr_cloudy"] > fills["cloudy"]["psnr_cloudy"] + 3
    assert Image.open(sheet).size == (6 * 192, 8 * 192)
