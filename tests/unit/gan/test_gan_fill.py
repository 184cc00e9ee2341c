"""What stands under cloud for GAN2, and how its answer is read."""

import pytest
import torch
from torch import Tensor, nn

from cloudfree.gan.fill import fill_hidden, regress, spread
from cloudfree.gan.removal import CloudRemoval, OtherDaysTensors


@pytest.fixture
def seen() -> Tensor:
    seen = torch.ones(2, 1, 48, 64, dtype=torch.bool)
    seen[0, :, 10:30, 20:50] = False
    seen[1] = False
    return seen


def ramp() -> Tensor:
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 64), indexing="ij"
    )
    return torch.stack([rows, columns, rows * columns])


@pytest.mark.parametrize("fill", ["cloud", "mean", "inpaint", "regression"])
def test_seen_pixels_are_unchanged(seen: Tensor, fill: str) -> None:
    cloudy = torch.rand(2, 3, 48, 64) * 2 - 1
    filled = fill_hidden(cloudy, seen, torch.randn(2, 2, 48, 64), fill)  # type: ignore[arg-type]
    assert torch.equal(filled[0][:, seen[0, 0]], cloudy[0][:, seen[0, 0]])


def test_cloud_is_left_as_in_the_paper(seen: Tensor) -> None:
    cloudy = torch.rand(2, 3, 48, 64)
    assert torch.equal(fill_hidden(cloudy, seen, cloudy, "cloud"), cloudy)


@pytest.mark.parametrize("fill", ["mean", "inpaint", "regression"])
def test_what_is_under_the_cloud_does_not_matter(seen: Tensor, fill: str) -> None:
    ground, guides = torch.rand(2, 3, 48, 64), torch.randn(2, 2, 48, 64)
    white = torch.where(seen, ground, torch.ones(()))
    black = torch.where(seen, ground, -torch.ones(()))
    of_white = fill_hidden(white, seen, guides, fill)  # type: ignore[arg-type]
    assert torch.equal(of_white, fill_hidden(black, seen, guides, fill))  # type: ignore[arg-type]


def test_nothing_seen_gives_the_prior(seen: Tensor) -> None:
    prior = torch.rand(2, 3, 48, 64) - 0.5
    filled = fill_hidden(torch.ones(2, 3, 48, 64), seen, prior, "regression", prior)
    torch.testing.assert_close(filled[1], prior[1])


def test_regression_finds_colour_that_follows_the_guides(seen: Tensor) -> None:
    guides = torch.randn(2, 2, 48, 64)
    truth = 0.2 * guides[:, :1] - 0.1 * guides[:, 1:] + torch.tensor([0.1, 0, -0.1])[:, None, None]
    filled = fill_hidden(truth, seen, guides, "regression")
    assert float((filled - truth)[0].abs().max()) < 0.05
    assert float(regress(truth, torch.zeros_like(truth[:, :1]), guides).abs().max()) == 0


def test_spread_goes_on_smoothly(seen: Tensor) -> None:
    truth = ramp()[None].repeat(2, 1, 1, 1)
    inside = ~seen[0, 0]
    filled = spread(truth, seen.float())
    assert float((filled - truth)[0][:, inside].abs().mean()) < 0.12
    assert float(filled[1].abs().max()) == 0
    constant = spread(torch.full_like(truth, 0.7), seen.float())
    assert float((constant[0] - 0.7).abs().max()) < 0.03


class Fixed(nn.Module):
    """Answers 0.25 everywhere and remembers what it was given."""

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return torch.full((x.shape[0], 3, *x.shape[2:]), 0.25)


def test_removal_gives_the_generator_what_the_settings_name(seen: Tensor) -> None:
    cloudy, radar = torch.rand(2, 3, 48, 64), torch.rand(2, 1, 48, 64)
    translated = torch.rand(2, 3, 48, 64)
    network = CloudRemoval(Fixed(), ("cloudy", "translated"), "cloud", residual=False)
    picture = network(cloudy, seen, radar, translated)
    assert torch.equal(network.generator.given, torch.cat([cloudy, translated], 1))
    assert torch.equal(picture, torch.full_like(cloudy, 0.25))
    without = CloudRemoval(Fixed(), ("made", "radar", "cloudy"), "mean", residual=False)
    without(cloudy, seen, radar, torch.zeros(2, 0, 48, 64))
    given = without.generator.given
    assert torch.equal(given[:, :1], 1 - 2 * seen.float())
    assert torch.equal(given[:, 1:2], radar)


def test_observed_is_the_picture_before_it_was_filled(seen: Tensor) -> None:
    cloudy, radar = torch.rand(2, 3, 48, 64), torch.rand(2, 1, 48, 64)
    network = CloudRemoval(Fixed(), ("observed", "cloudy"), "mean", residual=False)
    network(cloudy, seen, radar, torch.zeros(2, 0, 48, 64))
    filled = fill_hidden(cloudy, seen, radar, "mean")
    assert torch.equal(network.generator.given, torch.cat([cloudy, filled], 1))
    assert not torch.equal(cloudy, filled)


def test_residual_corrects_the_filled_picture(seen: Tensor) -> None:
    cloudy = torch.rand(2, 3, 48, 64) - 0.5
    network = CloudRemoval(Fixed(), ("cloudy",), "mean", residual=True)
    picture = network(cloudy, seen, cloudy[:, :1], cloudy[:, :0])
    expected = fill_hidden(cloudy, seen, cloudy, "mean") + 0.25
    torch.testing.assert_close(picture, expected)


def other_days(seen: Tensor) -> OtherDaysTensors:
    """Know the left of the picture, and so a part of what is hidden."""
    known = torch.zeros_like(seen)
    known[..., :35] = True
    picture = torch.where(known, torch.rand(2, 3, 48, 64) - 0.5, -torch.ones(()))
    return OtherDaysTensors(picture, known, torch.where(known, torch.rand(2, 1, 48, 64), 1))


def test_the_generator_is_given_what_other_days_say(seen: Tensor) -> None:
    cloudy, told = torch.rand(2, 3, 48, 64), other_days(seen)
    inputs = ("reference_error", "cloudy", "reference", "reference_seen")
    network = CloudRemoval(Fixed(), inputs, "cloud", residual=False)
    network(cloudy, seen, cloudy[:, :1], cloudy[:, :0], told)
    mask = torch.where(told.known, 1.0, -1.0)
    expected = torch.cat([told.error, cloudy, told.picture, mask], 1)
    assert torch.equal(network.generator.given, expected)


def test_what_other_days_know_stands_for_what_is_hidden(seen: Tensor) -> None:
    cloudy, radar, told = torch.rand(2, 3, 48, 64), torch.rand(2, 1, 48, 64), other_days(seen)
    network = CloudRemoval(Fixed(), ("cloudy",), "reference", residual=True)
    filled = network.fill_in(cloudy, seen, radar, cloudy[:, :0], told)
    both = (seen | told.known).expand_as(cloudy)
    assert torch.equal(filled[both], torch.where(seen, cloudy, told.picture)[both])
    picture = network(cloudy, seen, radar, cloudy[:, :0], told)
    torch.testing.assert_close(picture, (filled + 0.25).clamp(-1, 1))


def test_what_they_do_not_know_goes_on_from_what_they_do(seen: Tensor) -> None:
    """Nothing was seen of the second picture: its right takes the colour of the estimate."""
    cloudy, radar, told = torch.rand(2, 3, 48, 64), torch.rand(2, 1, 48, 64), other_days(seen)
    red = torch.tensor([0.6, -0.4, -0.2])[:, None, None]
    told = told._replace(picture=torch.where(told.known, red, told.picture))
    network = CloudRemoval(Fixed(), ("cloudy",), "reference", residual=True)
    right = network.fill_in(cloudy, seen, radar, cloudy[:, :0], told)[1, :, :, 35:]
    assert float((right - red).abs().max()) < 0.15


@pytest.mark.parametrize("inputs", [("cloudy",), ("cloudy", "translated")])
def test_without_any_estimate_the_fill_is_the_regression(
    seen: Tensor, inputs: tuple[str, ...]
) -> None:
    cloudy, radar = torch.rand(2, 3, 48, 64), torch.rand(2, 1, 48, 64)
    nothing = OtherDaysTensors(-torch.ones_like(cloudy), seen & False, torch.ones_like(radar))
    filled = [
        CloudRemoval(Fixed(), inputs, fill, residual=True).fill_in(
            cloudy, seen, radar, cloudy / 2, nothing
        )
        for fill in ("reference", "regression")
    ]
    assert torch.equal(*filled)
