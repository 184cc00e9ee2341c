"""The loop: it learns, it resumes after kill -9 to the same weights, it keeps the best."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from cloudfree.core.errors import RequestError, SettingsError
from cloudfree.core.tables import build, read_toml
from cloudfree.train.averaging import AveragedGenerator
from cloudfree.train.loop import Trainer
from cloudfree.train.prepare import load_translator, prepare, translate_unseen, write_baselines
from cloudfree.train.readers import read_pairs
from cloudfree.train.settings import ChannelSettings, TrainSettings
from tests.pairs import write_pairs

ROOT = Path(__file__).parents[3]

TINY = {
    "patches": {"size_px": 32},
    "generator": {"width": 4},
    "loss": {"discriminator_width": 4},
    "optimiser": {"batch": 2, "steps": 6, "precision": "fp32", "seed": 5},
    "log": {"curve_every": 1, "save_every": 2, "score_every": 3, "norm_batches": 2},
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs/train", range(1, 4))
    write_pairs(tmp_path / "pairs/val", range(7, 8), patches=1)
    return tmp_path / "pairs"


def make_settings(**changes: object) -> TrainSettings:
    tables = {name: dict(table) for name, table in TINY.items()}
    for name, value in changes.items():
        if isinstance(value, dict):
            tables[name] = {**tables.get(name, {}), **value}
    chosen = {**tables, **{k: v for k, v in changes.items() if not isinstance(v, dict)}}
    return build(TrainSettings, chosen, "test")


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": tensor.clone()
        for part in ("generator", "discriminator")
        for name, tensor in getattr(trainer, part).state_dict().items()
    } | {f"average.{n}": t.clone() for n, t in trainer.average.network.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def test_stopped_and_resumed_equals_uninterrupted(pairs: Path, tmp_path: Path) -> None:
    settings = make_settings()
    whole = prepare(settings, [pairs], tmp_path / "whole")
    whole.run()
    prepare(settings, [pairs], tmp_path / "parts").run(until=4)
    torch.manual_seed(99)
    resumed = prepare(settings, [pairs], tmp_path / "parts")
    assert resumed.step == 4
    resumed.run()
    assert_equal(weights_of(whole), weights_of(resumed))
    for name in ("curve.csv", "scores.csv"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "parts" / name).read_text()


@pytest.mark.parametrize(
    ("generator", "asked"),
    [
        ({"inputs": ["cloudy", "reference_error", "reference"]}, "reference, reference_error;"),
        ({"inputs": ["cloudy", "radar"], "fill": "reference"}, "reference;"),
    ],
)
def test_pairs_hold_nothing_of_other_days(
    pairs: Path, tmp_path: Path, generator: dict[str, object], asked: str
) -> None:
    settings = make_settings(task="cloud_removal", generator=generator)
    with pytest.raises(RequestError, match=f"asks for {asked} pairs hold nothing") as caught:
        prepare(settings, [pairs], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_and_resumed_equals_uninterrupted(pairs: Path, tmp_path: Path) -> None:
    settings = tmp_path / "tiny.toml"
    tables = {name: dict(table) for name, table in TINY.items()}
    tables["optimiser"]["steps"] = 12
    settings.write_text(
        "\n".join(
            "\n".join([f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in table.items())])
            for name, table in tables.items()
        )
    )

    def start(out: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cloudfree.train", str(settings), "--data", str(pairs)]
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / out), "--threads", "1"],
            cwd=ROOT, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    assert start("whole").wait() == 0
    killed = start("killed")
    while not (tmp_path / "killed/last.pt").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert torch.load(tmp_path / "killed/last.pt", weights_only=True)["step"] < 12
    assert start("killed").wait() == 0
    whole = torch.load(tmp_path / "whole/last.pt", weights_only=True)
    again = torch.load(tmp_path / "killed/last.pt", weights_only=True)
    for part in ("generator", "discriminator", "average"):
        assert_equal(whole[part], again[part])
    assert_equal(load_file(tmp_path / "whole/best.safetensors"),
                 load_file(tmp_path / "killed/best.safetensors"))  # fmt: skip
    curve = (tmp_path / "killed/curve.csv").read_text()
    assert curve == (tmp_path / "whole/curve.csv").read_text()


def test_generator_learns(pairs: Path, tmp_path: Path) -> None:
    settings = make_settings(
        optimiser={"steps": 40, "learning_rate": 2e-3, "batch": 4},
        patches={"size_px": 32},
        log={"score_every": 40, "save_every": 40},
    )
    trainer = prepare(settings, [pairs], tmp_path / "out")
    trainer.run()
    write_baselines(trainer)
    with (tmp_path / "out/curve.csv").open() as file:
        l1 = [float(row["l1"]) for row in csv.DictReader(file)]
    assert np.mean(l1[-5:]) < 0.6 * np.mean(l1[:5])
    assert (tmp_path / "out/sheet_0000040.png").exists()
    with Image.open(tmp_path / "out/batch.png") as sheet:
        assert sheet.size == (2 * 192, 4 * 192)  # radar and truth of four patches
    assert {"mean_colour", "regression"} <= json.loads(
        (tmp_path / "out/baselines.json").read_text()
    ).keys()


@pytest.mark.slow
def test_devices_share_a_batch_and_stay_equal(pairs: Path, tmp_path: Path) -> None:
    """Two processes: each draws other patches, and both end with the same weights."""
    (tmp_path / "settings.toml").write_text(
        'task = "sar2opt"\n[patches]\nsize_px = 32\n[generator]\nwidth = 4\ndropout = 0.0\n'
        '[loss]\ndiscriminator_width = 4\n[optimiser]\nbatch = 4\nsteps = 4\nprecision = "fp32"\n'
        "[log]\nscore_every = 4\nnorm_batches = 2\n"
    )
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from lightning.fabric import Fabric\n"
        "from safetensors.torch import save_file\n"
        "from cloudfree.core.tables import build, read_toml\n"
        "from cloudfree.train.prepare import prepare\n"
        "from cloudfree.train.settings import TrainSettings\n"
        "folder = Path(sys.argv[1])\n"
        "fabric = Fabric(accelerator='cpu', devices=2)\n"
        "fabric.launch()\n"
        "settings = build(TrainSettings, read_toml(folder / 'settings.toml'), 'test')\n"
        "trainer = prepare(settings, [folder / 'pairs'], folder / 'out', fabric=fabric)\n"
        "drawn = trainer.draw(0).truth\n"
        "assert len(drawn) == 2\n"
        "trainer.run()\n"
        "weights = dict(trainer.generator.named_parameters())\n"
        "weights |= {f'd.{k}': v for k, v in trainer.discriminator.named_parameters()}\n"
        "weights |= {'drawn': drawn}\n"
        "weights = {k: v.detach().contiguous() for k, v in weights.items()}\n"
        "save_file(weights, folder / f'rank{fabric.global_rank}.safetensors')\n"
    )
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=240, cwd=ROOT)
    one, other = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert not torch.equal(one.pop("drawn"), other.pop("drawn"))
    assert_equal(one, other)
    settings = build(TrainSettings, read_toml(tmp_path / "settings.toml"), "test")
    torch.manual_seed(settings.optimiser.seed)
    fresh = prepare(settings, [tmp_path / "pairs"], tmp_path / "fresh").generator.state_dict()
    assert any(not torch.equal(fresh[name], one[name]) for name in fresh if name in one)
    assert (tmp_path / "out/best.safetensors").exists()


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path: Path) -> None:
    class ThreeDevices:
        world_size = 3

    with pytest.raises(RequestError, match="a batch of 2 cannot be shared evenly by 3 devices"):
        Trainer(make_settings(), None, [], tmp_path / "out", fabric=ThreeDevices())  # type: ignore[arg-type]


def test_curves_go_to_tensorboard(pairs: Path, tmp_path: Path) -> None:
    settings = make_settings(log={"tensorboard": True})
    prepare(settings, [pairs], tmp_path / "out").run(until=4)
    prepare(settings, [pairs], tmp_path / "out").run()
    board = EventAccumulator(str(tmp_path / "out"))
    board.Reload()
    with (tmp_path / "out/curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("l1", "ssim", "gradient", "adversarial"):
        events = {event.step: event.value for event in board.Scalars(f"curve/{name}")}
        assert events == pytest.approx({int(r["step"]): float(r[name]) for r in rows}, rel=1e-5)
    assert "scores/sen12_psnr" in board.Tags()["scalars"]


def test_a_folder_of_another_training_is_refused_in_one_line(pairs: Path, tmp_path: Path) -> None:
    prepare(make_settings(), [pairs], tmp_path / "out").run(until=2)
    wider = make_settings(generator={"width": 6})
    with pytest.raises(RequestError, match="out holds a training of other networks") as caught:
        prepare(wider, [pairs], tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_two_seeds_differ(pairs: Path, tmp_path: Path) -> None:
    ends = []
    for seed in (0, 1):
        trainer = prepare(make_settings(optimiser={"seed": seed}), [pairs], tmp_path / str(seed))
        trainer.run(until=1)
        ends.append(trainer.generator.state_dict()["last.weight"])
    assert not torch.equal(*ends)


def test_validation_leaves_the_training_alone(pairs: Path, tmp_path: Path) -> None:
    often = prepare(make_settings(log={"score_every": 1}), [pairs], tmp_path / "often")
    never = prepare(make_settings(log={"score_every": 1000}), [pairs], tmp_path / "never")
    often.run(until=3)
    never.run(until=3)
    one, other = weights_of(often), weights_of(never)
    learnt = [name for name in one if not name.startswith("average") or "running" not in name]
    learnt = [name for name in learnt if "num_batches" not in name or "average" not in name]
    assert_equal({n: one[n] for n in learnt}, {n: other[n] for n in learnt})


@pytest.mark.parametrize(
    ("generator", "adversarial"),
    [
        ({"inputs": ["cloudy", "translated"]}, 1.0),
        ({"inputs": ["cloudy", "radar"]}, 1.0),
        ({"inputs": ["cloudy", "translated", "radar", "made"], "fill": "regression",
          "residual": True}, 0.0),
    ],
)  # fmt: skip
def test_cloud_removal_learns_on_pictures_of_a_gan1_that_did_not_see_them(
    pairs: Path, tmp_path: Path, generator: dict[str, object], adversarial: float
) -> None:
    translators = []
    for fold in (0, 1):
        settings = make_settings(folds={"count": 2, "without": fold}, optimiser={"steps": 1})
        prepare(settings, [pairs], tmp_path / f"fold{fold}").run()
        translators.append(tmp_path / f"fold{fold}/best.safetensors")
    settings = make_settings(
        task="cloud_removal", generator=generator, loss={"adversarial_weight": adversarial},
        optimiser={"steps": 3},
    )  # fmt: skip
    trainer = prepare(settings, [pairs], tmp_path / "gan2", translators=translators)
    trainer.run()
    with (tmp_path / "gan2/scores.csv").open() as file:
        (row,) = list(csv.DictReader(file))
    assert {"sen12_psnr_cloudy", "sen12_psnr_clear", "sen12_ssim"} <= row.keys()
    if "translated" in generator["inputs"]:  # type: ignore[operator]
        with pytest.raises(RequestError, match="new to scene"):
            prepare(settings, [pairs], tmp_path / "leaky", translators=translators[:1])


def test_each_scene_is_translated_by_the_widest_gan1_that_is_new_to_it(
    pairs: Path, tmp_path: Path
) -> None:
    known = []
    for name, folds in (("all", {}), ("fold", {"count": 3, "without": 0})):
        settings = make_settings(folds=folds, optimiser={"steps": 1})
        trainer = prepare(settings, [pairs], tmp_path / name)
        trainer.run()
        known.append(load_translator(tmp_path / name / "best.safetensors", ChannelSettings()))
        validation = trainer.windows
    assert len(known[0].scenes) == 3
    assert len(known[1].scenes) == 2
    assert len(validation) == 1
    (pair,), _ = read_pairs(pairs / "val", ChannelSettings())
    by_all = translate_unseen([pair], known[:1])[pair.name]
    by_fold = translate_unseen([pair], known[1:])[pair.name]
    np.testing.assert_array_equal(translate_unseen([pair], known[::-1])[pair.name], by_all)
    assert not np.array_equal(by_all, by_fold)


def test_average_has_statistics_of_its_own() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    average = AveragedGenerator(network, decay=0.9)
    inputs = [torch.randn(3, 1, 8, 9) + 2 for _ in range(4)]
    average.measure_norms([lambda net, x=x: net(x) for x in inputs])  # type: ignore[misc]
    features = torch.stack([network[0](x) for x in inputs])
    norm = average.network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, features.mean((0, 1, 3, 4)))
    assert not norm.training
    assert norm.momentum == 0.1
    assert network[1].running_mean.abs().max() == 0  # type: ignore[union-attr,operator]


def test_average_follows_the_weights() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = AveragedGenerator(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(4.0)
        average.network.weight.fill_(0.0)  # type: ignore[operator,union-attr]
    average.update(network, step=10_000)
    assert float(average.network.weight) == pytest.approx(2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("train_*.toml")))
def test_shipped_settings_are_valid(path: Path) -> None:
    settings = build(TrainSettings, read_toml(path), str(path))
    assert settings.task == path.stem.removeprefix("train_")


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="'width'"):
        make_settings(generator={"widht": 4})
    with pytest.raises(SettingsError, match="drib, unet"):
        make_settings(generator={"network": "resnet"})
    with pytest.raises(SettingsError, match="no fold 2 of 2"):
        make_settings(folds={"count": 2, "without": 2})
    with pytest.raises(SettingsError, match="no fold 1 of 0"):
        make_settings(folds={"without": 1})


def test_folders_without_train_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder train"):
        prepare(make_settings(), [tmp_path], tmp_path / "out")


def test_imports_are_light() -> None:
    """GPU machines have torch and no geospatial library."""
    code = (
        "import sys;"
        "missing = 'rasterio xarray dask odc pystac stackstac zarr pyproj shapely rioxarray';"
        "sys.modules.update(dict.fromkeys(missing.split()));"
        "import cloudfree.gan, cloudfree.train.prepare, cloudfree.train.__main__"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_training_begins_with_other_weights_once(pairs: Path, tmp_path: Path) -> None:
    first = prepare(make_settings(), [pairs], tmp_path / "first")
    first.run()
    start = tmp_path / "first/best.safetensors"
    second = prepare(make_settings(), [pairs], tmp_path / "second", start=start)
    kept = load_file(start)
    begun = second.average.network.state_dict()
    assert all(torch.equal(begun[name], value) for name, value in kept.items())
    second.run()
    resumed = prepare(make_settings(), [pairs], tmp_path / "second", start=start)
    assert resumed.step == second.step
    wider = make_settings(generator={"width": 8})
    with pytest.raises(RequestError, match="does not fit these settings"):
        prepare(wider, [pairs], tmp_path / "third", start=start)


def test_training_scores_stand_beside_validation(pairs: Path, tmp_path: Path) -> None:
    prepare(make_settings(), [pairs], tmp_path / "run").run()
    with (tmp_path / "run/scores.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["train_sen12_n"]) == 6
    assert float(row["sen12_n"]) == 1
    assert row["train_sen12_psnr"] != row["sen12_psnr"]
