"""The objectives of section 2.2 against their formulas and against torchmetrics."""

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from cloudfree.train.losses import (
    adversarial_loss,
    blur,
    compute_ssim,
    generator_loss,
    l1_loss,
    ssim_loss,
)


def make_pictures(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    truth = torch.rand(2, 3, 37, 52, generator=generator, dtype=dtype)
    noise = torch.randn(truth.shape, generator=generator, dtype=dtype)
    return (truth + 0.2 * noise).clamp(0, 1), truth


def test_ssim_agrees_with_torchmetrics() -> None:
    x, y = make_pictures()
    reference = structural_similarity_index_measure(x, y, data_range=1.0)
    assert isinstance(reference, torch.Tensor)
    assert float(compute_ssim(x, y)) == pytest.approx(float(reference), abs=1e-5)
    assert float(compute_ssim(y, y)) == pytest.approx(1, abs=1e-6)


def test_ssim_gradient_agrees_with_torchmetrics() -> None:
    x, y = make_pictures(torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    compute_ssim(ours, y).backward()
    reference = structural_similarity_index_measure(theirs, y, data_range=1.0)
    assert isinstance(reference, torch.Tensor)
    reference.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-12)


def test_blur_is_linear_and_its_adjoint_is_one() -> None:
    x, y = make_pictures(torch.float64)
    torch.testing.assert_close((blur(x) * y).sum(), (x * blur(y, adjoint=True)).sum())
    torch.testing.assert_close(blur(torch.ones_like(x)), torch.ones_like(x))


def test_ssim_loss_maps_pictures_to_0_1() -> None:
    x, y = make_pictures()
    expected = 1 - float(compute_ssim(x, y))
    assert float(ssim_loss(2 * x - 1, 2 * y - 1)) == pytest.approx(expected, abs=1e-5)


def test_adversarial_loss_is_binary_cross_entropy() -> None:
    logits = torch.tensor([[-2.0, 0.5, 3.0]])
    chance = torch.sigmoid(logits)
    assert float(adversarial_loss(logits, real=True)) == pytest.approx(float(-chance.log().mean()))
    assert float(adversarial_loss(logits, real=False)) == pytest.approx(
        float(-(1 - chance).log().mean())
    )


@pytest.mark.parametrize(
    ("objective", "terms"), [("l1", {"l1"}), ("ssim", {"ssim"}), ("l1+ssim", {"l1", "ssim"})]
)
def test_objective_is_the_sum_of_its_terms(objective: str, terms: set[str]) -> None:
    x, y = make_pictures()
    weights = {"l1_weight": 70.0, "ssim_weight": 30.0}
    total, parts = generator_loss(x, y, objective, **weights)  # type: ignore[arg-type]
    assert set(parts) == terms
    expected = 70 * l1_loss(x, y) * ("l1" in terms) + 30 * ssim_loss(x, y) * ("ssim" in terms)
    torch.testing.assert_close(total, expected)


def test_default_weights_are_the_papers() -> None:
    x, y = make_pictures()
    total, parts = generator_loss(x, y)
    torch.testing.assert_close(total, 100 * parts["l1"] + 100 * parts["ssim"])
