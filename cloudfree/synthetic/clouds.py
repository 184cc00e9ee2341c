"""Synthetic clouds and their shadows, as in paper section 2.3: out = a * cloud + (1 - a) * ground.

A cloud is a *thickness* map and a *texture* in digital numbers (DN = reflectance x 10000), clipped
from a real cloudy/clear pair or drawn from noise. Everything here is pure: the same seed and index
give the same sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloudfree.core.errors import SettingsError
from cloudfree.core.types import BoolArray, Float32Array

CLEAR_THICKNESS = 1000.0
"""A real pair is brighter than its clear twin by this many DN where its cloud hides the ground."""
MIN_COVER = 0.2
"""Pairs with less of their area under cloud are not worth clipping from."""
CLOUDY_ALPHA = 0.05
"""A pixel is cloudy when more than this share of its light comes from the cloud."""
HIDDEN_ALPHA = 0.01
"""With more of its light from cloud than this, a pixel is no longer the ground's colour."""
OPAQUE_ALPHA = 0.9
"""Above this share of light from the cloud nothing of the ground shows through."""
SAMPLED = 4
"""Quantiles of thickness are taken on every fourth pixel: sorting them all costs more than the
rest of a sky."""
SHADOW_LIGHT = 0.9
"""A pixel is in shadow when less than this share of its light is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A cloud to lay over pictures."""

    thickness: Float32Array
    """(y, x): any unit; only its order counts."""
    texture_dn: Float32Array
    """(band, y, x): what the cloud looks like where it is opaque."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """Cloud and shadow for one window."""

    alpha: Float32Array
    """(y, x) in [0, 1]: share of the light that comes from the cloud."""
    texture_dn: Float32Array
    """(band, y, x)."""
    light: Float32Array
    """(y, x) in (0, 1]: share of the sunlight that reaches the ground."""

    @property
    def cloudy(self) -> BoolArray:
        """(y, x): True where cloud hides the ground, or some of it."""
        return self.alpha > CLOUDY_ALPHA

    @property
    def opaque(self) -> BoolArray:
        """(y, x): True where nothing of the ground shows through."""
        return self.alpha > OPAQUE_ALPHA

    @property
    def hidden(self) -> BoolArray:
        """(y, x): True where cloud or shadow changes the picture."""
        return self.hidden_above(HIDDEN_ALPHA)

    def hidden_above(self, alpha: float) -> BoolArray:
        """Return (y, x): True in shadow and where more light than ``alpha`` comes from cloud."""
        return (self.alpha > max(alpha, HIDDEN_ALPHA)) | (self.light < SHADOW_LIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """What skies are drawn."""

    cover: tuple[float, float] = (0.2, 0.6)
    """Lowest and highest share of a window under cloud; drawn evenly between."""
    overcast: float = 0.05
    """Share of windows without any clear pixel."""
    softness: float = 0.35
    """Width of a cloud's rim, as a share of its range of thickness."""
    shadow_px: tuple[float, float] = (8.0, 60.0)
    """Distance between cloud and shadow: height x tan(sun zenith) / pixel size.
    500 m under a sun at 9 degrees from the zenith to 1000 m at 31, at 10 m."""
    shadow_light: tuple[float, float] = (0.25, 0.7)
    """Share of light left in a shadow's core."""

    def __post_init__(self) -> None:
        for name in ("cover", "shadow_px", "shadow_light"):
            low_high = getattr(self, name)
            if len(low_high) != 2 or not 0 <= low_high[0] <= low_high[1]:
                raise SettingsError(f"{name} is {low_high}; give [low, high] with 0 <= low <= high")
        if self.cover[1] > 1 or self.shadow_light[1] > 1 or not 0 <= self.overcast <= 1:
            raise SettingsError("cover, overcast and shadow_light are shares; give 0 to 1")
        if self.softness <= 0:
            raise SettingsError(f"softness is {self.softness}; give more than 0")


def clip_cloud(cloudy_dn: Float32Array, clear_dn: Float32Array) -> Cloud | None:
    """Return the cloud of a real pair, both (band, y, x) in DN; None with too little thick cloud.

    The ground is taken out of the texture by inverting the blend, so that only cloud is carried
    to other pictures ("we eliminate background information", section 2.3).
    """
    thickness = (cloudy_dn - clear_dn).mean(axis=0)
    if (thickness > CLEAR_THICKNESS).mean() < MIN_COVER:
        return None
    alpha = np.clip(thickness / (2 * CLEAR_THICKNESS), 0.25, 1.0)
    texture = (cloudy_dn - (1 - alpha) * clear_dn) / alpha
    return Cloud(
        thickness=thickness.astype(np.float32),
        texture_dn=np.maximum(texture, clear_dn).astype(np.float32),
    )


def draw_cloud(shape: tuple[int, int], bands: int, rng: np.random.Generator) -> Cloud:
    """Return a procedural cloud of (y, x) ``shape``: fractal noise for thickness and brightness."""
    thickness = fractal_noise(shape, rng, roughness=rng.uniform(1.3, 1.7))
    light = fractal_noise(shape, rng, roughness=1.5)
    brightness = np.clip(5500 + 1500 * thickness + 700 * light, 2500, 12000)
    tint = 1 + rng.uniform(-0.03, 0.03, size=(bands, 1, 1))
    return Cloud(
        thickness=thickness.astype(np.float32), texture_dn=(brightness * tint).astype(np.float32)
    )


def fractal_noise(
    shape: tuple[int, int], rng: np.random.Generator, roughness: float
) -> Float32Array:
    """Return noise with mean 0 and deviation 1 whose amplitude falls as frequency^-roughness."""
    height, width = shape
    rows = np.fft.fftfreq(2 * height)[:, None]
    columns = np.fft.rfftfreq(2 * width)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((2 * height, 2 * width))) * frequency**-roughness
    noise = np.fft.irfft2(spectrum, s=(2 * height, 2 * width))[:height, :width]
    normal: Float32Array = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return normal


def make_sky(
    shape: tuple[int, int],
    bands: int,
    settings: CloudSettings,
    library: Sequence[Cloud],
    *,
    seed: int,
    index: int,
) -> Sky:
    """Return the sky number ``index`` of ``seed`` over a (y, x) window.

    Clouds come from ``library``, turned, mirrored and enlarged, or from noise where it is empty.
    """
    rng = np.random.default_rng([seed, index])
    if library:
        chosen = library[int(rng.integers(len(library)))]
        cloud = _place(chosen, shape, rng)
    else:
        cloud = draw_cloud(shape, bands, rng)
    cover = 1.0 if rng.random() < settings.overcast else rng.uniform(*settings.cover)
    alpha = _alpha_for_cover(cloud.thickness, cover, settings.softness)
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*settings.shadow_px)
    offset = round(distance * np.sin(angle)), round(distance * np.cos(angle))
    core = rng.uniform(*settings.shadow_light)
    light = 1 - (1 - core) * _shift(alpha, offset)
    return Sky(alpha=alpha, texture_dn=cloud.texture_dn, light=light.astype(np.float32))


def lay_sky(
    picture: Float32Array, sky: Sky, low_dn: Float32Array, high_dn: Float32Array
) -> Float32Array:
    """Return the picture (band, y, x) in [-1, 1] under the sky, clipped to [-1, 1].

    ``low_dn`` and ``high_dn`` (band,) are the DN that the picture shows as -1 and 1: the ground
    is darkened and the cloud blended in light, not in the stretched picture.
    """
    low, span = low_dn[:, None, None], (high_dn - low_dn)[:, None, None]
    ground = low + (picture + 1) / 2 * span
    blended = sky.alpha * sky.texture_dn + (1 - sky.alpha) * ground * sky.light
    clouded: Float32Array = np.clip(2 * (blended - low) / span - 1, -1, 1).astype(np.float32)
    return clouded


def _alpha_for_cover(thickness: Float32Array, cover: float, softness: float) -> Float32Array:
    """Return alpha such that about ``cover`` of the pixels are cloudy."""
    sample = thickness[::SAMPLED, ::SAMPLED]
    low, at_cover, high = np.quantile(sample, [0.02, max(1 - cover, 0), 0.98])
    ramp = max(softness * (high - low), 1e-6)
    start = float(thickness.min()) - ramp if cover >= 1 else at_cover - CLOUDY_ALPHA * ramp
    alpha: Float32Array = np.clip((thickness - start) / ramp, 0, 1).astype(np.float32)
    return alpha


def _place(cloud: Cloud, shape: tuple[int, int], rng: np.random.Generator) -> Cloud:
    """Return a random cut of the cloud, turned and enlarged to ``shape``."""
    layers = np.concatenate([cloud.thickness[None], cloud.texture_dn])
    layers = np.rot90(layers, int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        layers = layers[:, ::-1]
    height, width = layers.shape[1:]
    share = rng.uniform(0.5, 1.0)
    cut = max(2, int(share * height)), max(2, int(share * width))
    top = int(rng.integers(height - cut[0] + 1))
    left = int(rng.integers(width - cut[1] + 1))
    layers = _resize(layers[:, top : top + cut[0], left : left + cut[1]], shape)
    return Cloud(thickness=layers[0], texture_dn=layers[1:])


def _resize(layers: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """Return (n, y, x) layers at another size, linear between pixels."""
    for axis, size in ((1, shape[0]), (2, shape[1])):
        at = np.linspace(0, layers.shape[axis] - 1, size)
        before = np.minimum(at.astype(int), max(layers.shape[axis] - 2, 0))
        weight = (at - before).astype(np.float32)
        weight = weight[:, None] if axis == 1 else weight
        after = np.minimum(before + 1, layers.shape[axis] - 1)
        layers = (1 - weight) * layers.take(before, axis) + weight * layers.take(after, axis)
    return layers.astype(np.float32)


def _shift(alpha: Float32Array, offset: tuple[int, int]) -> Float32Array:
    """Return alpha moved by (y, x) pixels, its edge repeated into the gap."""
    rows = np.clip(np.arange(alpha.shape[0]) - offset[0], 0, alpha.shape[0] - 1)
    columns = np.clip(np.arange(alpha.shape[1]) - offset[1], 0, alpha.shape[1] - 1)
    return alpha[np.ix_(rows, columns)]
