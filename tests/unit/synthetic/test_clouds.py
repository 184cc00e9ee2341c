"""Synthetic skies: the blend, the cover, the shadow, and their repetition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfree.core.errors import SettingsError
from cloudfree.synthetic.clouds import (
    Cloud,
    CloudSettings,
    Sky,
    clip_cloud,
    draw_cloud,
    fractal_noise,
    lay_sky,
    make_sky,
)

SHAPE = (72, 96)
LOW, HIGH = np.array([300, 600, 900], np.float32), np.array([2300, 3600, 2900], np.float32)


def make_library() -> list[Cloud]:
    rng = np.random.default_rng(1)
    return [draw_cloud((60, 50), 3, rng) for _ in range(3)]


def make_fixed_sky(alpha: float, light: float, texture: float) -> Sky:
    full = np.ones(SHAPE, np.float32)
    return Sky(
        alpha=alpha * full,
        texture_dn=np.full((3, *SHAPE), texture, np.float32),
        light=light * full,
    )


def test_blend_is_alpha_over_in_light() -> None:
    ground_dn = np.array([1000.0, 2000.0, 1500.0])[:, None, None] * np.ones((3, *SHAPE))
    low, high = LOW[:, None, None], HIGH[:, None, None]
    picture = (2 * (ground_dn - low) / (high - low) - 1).astype(np.float32)
    blended = lay_sky(picture, make_fixed_sky(0.3, 0.5, 2500), LOW, HIGH)
    expected_dn = 0.3 * 2500 + 0.7 * ground_dn * 0.5
    np.testing.assert_allclose(low + (blended + 1) / 2 * (high - low), expected_dn, rtol=1e-4)


def test_clear_sky_changes_nothing_and_opaque_cloud_hides_all() -> None:
    picture = np.random.default_rng(0).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(
        lay_sky(picture, make_fixed_sky(0, 1, 5000), LOW, HIGH), picture, atol=1e-5
    )
    hidden = lay_sky(picture, make_fixed_sky(1, 0.4, 1000), LOW, HIGH)
    np.testing.assert_array_equal(hidden, lay_sky(-picture, make_fixed_sky(1, 1, 1000), LOW, HIGH))
    assert (lay_sky(picture, make_fixed_sky(1, 1, 9000), LOW, HIGH) == 1).all()


@pytest.mark.parametrize("library", [[], make_library()], ids=["noise", "clipped"])
def test_cover_follows_the_settings(library: list[Cloud]) -> None:
    settings = CloudSettings(cover=(0.3, 0.4), overcast=0)
    covers = [
        make_sky(SHAPE, 3, settings, library, seed=2, index=index).cloudy.mean()
        for index in range(20)
    ]
    assert 0.27 < min(covers) < max(covers) < 0.43


def test_overcast_leaves_nothing_clear() -> None:
    settings = CloudSettings(overcast=1)
    assert make_sky(SHAPE, 3, settings, [], seed=0, index=4).cloudy.all()


@given(seed=st.integers(0, 2**32), index=st.integers(0, 2**40))
def test_sky_depends_only_on_seed_and_index(seed: int, index: int) -> None:
    library, settings = make_library(), CloudSettings()
    first = make_sky((24, 40), 3, settings, library, seed=seed, index=index)
    again = make_sky((24, 40), 3, settings, library, seed=seed, index=index)
    other = make_sky((24, 40), 3, settings, library, seed=seed, index=index + 1)
    np.testing.assert_array_equal(first.alpha, again.alpha)
    np.testing.assert_array_equal(first.light, again.light)
    np.testing.assert_array_equal(first.texture_dn, again.texture_dn)
    assert not np.array_equal(first.texture_dn, other.texture_dn)


def test_shadow_is_the_cloud_at_a_distance() -> None:
    settings = CloudSettings(shadow_px=(12, 12), shadow_light=(0.5, 0.5), overcast=0)
    sky = make_sky((96, 128), 3, settings, [], seed=7, index=0)
    distances = [
        (dy, dx)
        for dy in range(-13, 14)
        for dx in range(-13, 14)
        if np.allclose(
            sky.light[20:-20, 20:-20],
            1 - 0.5 * np.roll(sky.alpha, (dy, dx), (0, 1))[20:-20, 20:-20],
        )
    ]
    assert len(distances) == 1
    assert np.hypot(*distances[0]) == pytest.approx(12, abs=0.8)
    assert sky.hidden.mean() > sky.cloudy.mean()


def test_clipping_takes_the_ground_out() -> None:
    rng = np.random.default_rng(9)
    clear = rng.uniform(500, 1500, (3, *SHAPE)).astype(np.float32)
    alpha = np.zeros(SHAPE, np.float32)
    alpha[:, 40:] = 1.0
    cloudy = alpha * 6000 + (1 - alpha) * clear
    cloud = clip_cloud(cloudy.astype(np.float32), clear)
    assert cloud is not None
    np.testing.assert_allclose(cloud.texture_dn[:, :, 40:], 6000, rtol=1e-5)
    assert (cloud.thickness[:, 40:].min() > cloud.thickness[:, :40]).all()


def test_pairs_without_thick_cloud_are_refused() -> None:
    clear = np.full((3, *SHAPE), 800, np.float32)
    assert clip_cloud(clear + 90, clear) is None


def test_noise_is_rougher_with_a_smaller_exponent() -> None:
    def roughness(exponent: float) -> float:
        noise = fractal_noise((80, 64), np.random.default_rng(3), exponent)
        assert noise.std() == pytest.approx(1, abs=1e-3)
        return float(np.abs(np.diff(noise)).mean())

    assert roughness(0.8) > 2 * roughness(1.8)


@pytest.mark.parametrize("wrong", [{"cover": (0.5, 0.2)}, {"cover": (0.5, 1.2)}, {"softness": 0}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        CloudSettings(**wrong)  # type: ignore[arg-type]
