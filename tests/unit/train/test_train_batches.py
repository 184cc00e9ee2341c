"""Batches: repeatable, valid, and judged only where there is a truth."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from cloudfree.core.errors import RequestError
from cloudfree.restoration.smoothing import gaussian
from cloudfree.synthetic.clouds import CloudSettings, Sky
from cloudfree.train.batches import NODATA, PatchSource, draw_wedge, grow, hide_untaught, restretch
from cloudfree.train.pairs import Pair
from cloudfree.train.settings import PatchSettings


def make_pair(index: int, kind: str = "sen12", side: int = 48) -> Pair:
    rng = np.random.default_rng(index)
    optical = rng.uniform(-0.9, 0.9, (3, side, side + 16)).astype(np.float16)
    return Pair(
        name=f"pair{index}",
        scene=f"scene{index}",
        kind=kind,
        radar=optical[:1].copy(),
        optical=optical if kind != "sen12-grey" else optical[:1].repeat(3, axis=0),
        low_dn=np.full(3, 500, np.float32),
        high_dn=np.full(3, 3000, np.float32),
    )


PLAIN = PatchSettings(size_px=32, radar_gain=0, radar_offset=0, wedge_share=0)


def test_batches_depend_only_on_seed_and_step() -> None:
    pairs = [make_pair(index) for index in range(4)]
    clouds = CloudSettings()
    first = PatchSource(pairs, PLAIN, clouds=clouds)
    second = PatchSource(pairs, PLAIN, clouds=clouds)
    first.draw(3, seed=1, step=8)
    for name in first.draw(3, seed=1, step=9).__slots__:
        one = getattr(first.draw(3, seed=1, step=9), name)
        assert torch.equal(one, getattr(second.draw(3, seed=1, step=9), name))
    assert not torch.equal(
        first.draw(3, seed=1, step=9).truth, first.draw(3, seed=1, step=10).truth
    )
    assert not torch.equal(first.draw(3, seed=1, step=9).truth, first.draw(3, seed=2, step=9).truth)


def test_radar_truth_and_translation_turn_together() -> None:
    pair = make_pair(0)
    translated = {pair.name: pair.optical}
    source = PatchSource([pair], PLAIN, translated=translated, clouds=CloudSettings())
    batch = source.draw(16, seed=0, step=0)
    assert torch.equal(batch.radar, batch.truth[:, :1])
    assert torch.equal(batch.translated, batch.truth)
    assert len({patch.numpy().tobytes() for patch in batch.truth}) > 10


def test_every_channel_is_varied_masked_and_clouded() -> None:
    """Four bands and two polarisations: each of the radar has a gain and an offset of its own."""
    pair = make_pair(0)
    four = np.concatenate([pair.optical, pair.optical[:1]])
    pair = replace(
        pair,
        optical=four,
        radar=np.full((2, *four.shape[1:]), 0.25, np.float16),
        low_dn=np.full(4, 500, np.float32),
        high_dn=np.full(4, 3000, np.float32),
    )
    settings = replace(PLAIN, radar_gain=0.2, radar_offset=0.2, wedge_share=1.0)
    batch = PatchSource([pair], settings, clouds=CloudSettings(overcast=0)).draw(6, seed=0, step=0)
    assert batch.radar.shape == (6, 2, 32, 32)
    assert batch.cloudy.shape == batch.truth.shape == (6, 4, 32, 32)
    assert batch.valid.shape == batch.made.shape == (6, 1, 32, 32)
    for vv_vh, valid in zip(batch.radar, batch.valid[:, 0], strict=True):
        assert bool((vv_vh[:, ~valid] == NODATA).all())
        first, second = (layer[valid].unique() for layer in vv_vh)
        assert len(first) == len(second) == 1
        assert 0.01 < abs(float(first - 0.25)) < 0.26
        assert first != second
    assert bool(((batch.cloudy - batch.truth).abs() > 0.1).flatten(2).any(2).all())


def test_another_stretch_shows_the_same_ground() -> None:
    low, high = np.array([300, 500, 700], np.float32), np.array([2300, 3000, 4100], np.float32)
    picture = np.random.default_rng(0).uniform(-1, 1, (3, 9, 7)).astype(np.float32)
    shown, new_low, new_high = restretch(picture, low, high, 0.3, np.random.default_rng(5))

    def to_dn(seen: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        span = (high - low)[:, None, None]
        return low[:, None, None] + (seen + 1) / 2 * span

    inside = np.abs(shown) < 1
    assert 0.3 < inside.mean() < 1
    assert np.abs(shown - picture).mean() > 0.05
    np.testing.assert_allclose(
        to_dn(shown, new_low, new_high)[inside], to_dn(picture, low, high)[inside], rtol=1e-4
    )
    same, *limits = restretch(picture, low, high, 0.0, np.random.default_rng(5))
    np.testing.assert_array_equal(same, picture)
    np.testing.assert_allclose(limits, [low, high], rtol=1e-6)


def test_cloudy_pictures_differ_only_where_made() -> None:
    source = PatchSource([make_pair(0)], PLAIN, clouds=CloudSettings(overcast=0))
    batch = source.draw(6, seed=0, step=0)
    outside = ~batch.made.expand_as(batch.truth)
    difference = (batch.cloudy - batch.truth)[outside]
    assert outside.float().mean() > 0.1
    assert float(difference.abs().max()) < 0.15  # the little light that counts as clear
    inside = (batch.cloudy - batch.truth)[~outside]
    assert float(inside.abs().mean()) > 0.4


def test_wedges_are_nodata_and_teach_nothing() -> None:
    settings = dataclasses.replace(PLAIN, wedge_share=1.0)
    batch = PatchSource([make_pair(0)], settings, clouds=CloudSettings()).draw(4, seed=0, step=0)
    outside = ~batch.valid
    assert 0.02 < float(outside.float().mean()) < 0.55
    for picture in (batch.radar, batch.truth, batch.cloudy):
        assert bool((picture[outside.expand_as(picture)] == NODATA).all())
    assert not (batch.made & outside).any()
    candidate = torch.zeros_like(batch.truth).requires_grad_()
    (hide_untaught(candidate, batch) - batch.truth).abs().sum().backward()
    assert candidate.grad is not None
    assert not candidate.grad[outside.expand_as(candidate)].any()
    assert candidate.grad[batch.valid.expand_as(candidate)].any()


def test_grey_pairs_teach_luminance_only() -> None:
    settings = dataclasses.replace(PLAIN, grey_share=1.0)
    batch = PatchSource([make_pair(0, "sen12-grey")], settings).draw(2, seed=0, step=0)
    red_for_green = torch.tensor([0.587, -0.299, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(
        hide_untaught(batch.truth + red_for_green, batch), batch.truth, atol=1e-5, rtol=0
    )


def test_grey_pairs_teach_gan2_the_colour_it_is_shown() -> None:
    settings = dataclasses.replace(PLAIN, grey_share=1.0, stretch=0.3)
    source = PatchSource([make_pair(0, "sen12-grey")], settings, clouds=CloudSettings(overcast=0))
    batch = source.draw(6, seed=0, step=0)
    assert bool(batch.has_colour.all())
    assert float((batch.truth[:, 0] - batch.truth[:, 1]).abs().mean()) > 0.05
    clear = ~batch.made.expand_as(batch.truth)
    assert float((batch.cloudy - batch.truth)[clear].abs().mean()) < 0.05


def test_masks_reach_as_far_as_the_settings_say() -> None:
    shares = []
    for growth in ((0, 0), (12, 12), (0, 12)):
        settings = dataclasses.replace(PLAIN, growth_px=growth)
        clouds = CloudSettings(cover=(0.1, 0.1), overcast=0, shadow_light=(1, 1))
        batch = PatchSource([make_pair(0)], settings, clouds=clouds).draw(8, seed=0, step=0)
        shares.append(float(batch.made.float().mean()))
    assert shares[0] < shares[2] < shares[1]


def test_shares_set_the_frequency() -> None:
    settings = dataclasses.replace(PLAIN, colour_share=0.2, grey_share=0.8, large_share=0.0)
    kinds = ["sen12", "sen12-grey", "sen12-grey", "s1s2-1024"]
    pairs = [make_pair(index, kind) for index, kind in enumerate(kinds)]
    batch = PatchSource(pairs, settings).draw(400, seed=0, step=0)
    assert float(batch.has_colour.float().mean()) == pytest.approx(0.2, abs=0.06)


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="leave no pair"):
        PatchSource([make_pair(0, "sen12-grey")], PLAIN)


def test_wedge_is_cut_by_a_line() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        wedge = draw_wedge(40, rng)
        assert 0.45 <= wedge.mean() <= 0.97


def test_mask_grows_without_wrapping() -> None:
    mask = np.zeros((12, 17), bool)
    mask[0, 4] = mask[11, 16] = True
    grown = grow(mask, 2)
    expected = np.zeros_like(mask)
    expected[:3, 2:7] = expected[9:, 14:] = True
    np.testing.assert_array_equal(grown, expected)


def test_masks_miss_thin_cloud_where_asked() -> None:
    rng = np.random.default_rng(2)
    alpha = gaussian(rng.standard_normal((40, 60)), 4.0)
    alpha = ((alpha - alpha.min()) / (alpha.max() - alpha.min())).astype(np.float32)
    sky = Sky(alpha=alpha, texture_dn=np.ones((3, 40, 60), np.float32), light=np.ones_like(alpha))
    np.testing.assert_array_equal(sky.hidden_above(0.0), sky.hidden)
    np.testing.assert_array_equal(sky.hidden_above(0.4), alpha > 0.4)
    dark = replace(sky, light=np.full_like(alpha, 0.5))
    assert dark.hidden_above(0.9).all()
