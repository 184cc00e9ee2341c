"""Figures of quality against independent references."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    spectral_angle_mapper,
    structural_similarity_index_measure,
)

from cloudfree.restoration.metrics import mae, psnr, sam, ssim


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    truth = rng.random((3, 40, 57), np.float32)
    candidate = np.clip(truth + 0.2 * rng.standard_normal(truth.shape), 0, 1).astype(np.float32)
    return candidate, truth


def test_figures_agree_with_torchmetrics(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    candidate, truth = pictures
    x, y = torch.from_numpy(candidate)[None].double(), torch.from_numpy(truth)[None].double()
    reference = float(structural_similarity_index_measure(x, y, data_range=1.0))
    assert ssim(candidate, truth, 1.0) == pytest.approx(reference, abs=1e-9)
    assert psnr(candidate, truth, 1.0) == pytest.approx(
        float(peak_signal_noise_ratio(x, y, data_range=1.0)), abs=1e-5
    )
    assert sam(candidate, truth) == pytest.approx(
        np.degrees(float(spectral_angle_mapper(x, y))), abs=1e-6
    )
    assert mae(candidate, truth) == pytest.approx(float((x - y).abs().mean()), abs=1e-12)


def test_psnr_depends_on_range_not_on_offset(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    candidate, truth = pictures
    as_picture = psnr(2 * candidate - 1, 2 * truth - 1, 2.0)
    assert as_picture == pytest.approx(psnr(candidate, truth, 1.0), abs=1e-5)
    assert psnr(truth, truth, 1.0) == float("inf")


def test_figures_are_limited_to_the_asked_pixels(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    candidate, truth = pictures
    where = np.zeros(truth.shape[1:], bool)
    where[5:9, 30:44] = True
    part = candidate[:, 5:9, 30:44], truth[:, 5:9, 30:44]
    assert psnr(candidate, truth, 1.0, where) == pytest.approx(psnr(*part, 1.0))
    assert mae(candidate, truth, where) == pytest.approx(mae(*part))
    assert sam(candidate, truth, where) == pytest.approx(sam(*part))
    nowhere = np.zeros_like(where)
    assert np.isnan(psnr(candidate, truth, 1.0, nowhere))
    assert np.isnan(mae(candidate, truth, nowhere))


def test_known_angle() -> None:
    red = np.zeros((3, 2, 4))
    red[0] = 0.3
    both = red.copy()
    both[1] = 0.3
    assert sam(red, both) == pytest.approx(45)
    assert sam(np.zeros_like(red), red) == 0
