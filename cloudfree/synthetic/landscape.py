"""A synthetic landscape from above: ground, its colour and backscatter, and clouds over it.

A mid-June landscape of fields, forest, river and town is painted surface by surface. A surface
has a colour and a backscatter, so the radar tells something about the colour, but not all.
Long for one module because it is one picture. Inside, a place is a complex number,
column + 1j * row, in pixels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, int]

_RADAR_LOOKS = 4.4
CLOUD_SHARE = 0.27
_SHADOW_PX = (46, 27)
"""A shadow lies so far up and left of its cloud: sun in the south-east, cloud base near 1 km."""
_DRAWS = 1 << 16
"""Length of a table of random draws; each parcel or house owns one row of all tables."""

_RIVER, _LAKE, _GRAVEL, _ROAD, _TRACK, _GARDEN, _RED_ROOF, _GREY_ROOF, _HALL = range(9)
_MEADOW, _MOWN, _BEET, _WHEAT, _BARLEY, _RAPE, _MAIZE, _SOIL, _BROADLEAF, _CONIFER = range(9, 19)
# Reflectance of B02, B03, B04, B08; gamma0 of VV and VH in decibel; strength of fine texture.
LOOK = np.array(
    [
        (0.040, 0.055, 0.038, 0.022, -19.0, -26.0, 0.03),  # river
        (0.028, 0.036, 0.020, 0.012, -21.0, -28.0, 0.02),  # lake
        (0.120, 0.155, 0.180, 0.250, -12.5, -20.5, 0.12),  # gravel
        (0.080, 0.088, 0.096, 0.150, -13.0, -21.0, 0.06),  # road
        (0.085, 0.112, 0.126, 0.260, -12.0, -19.5, 0.08),  # track
        (0.042, 0.066, 0.048, 0.300, -6.5, -13.0, 0.25),  # garden
        (0.082, 0.100, 0.146, 0.200, 0.0, -8.5, 0.20),  # red roof
        (0.130, 0.138, 0.146, 0.190, 0.5, -8.0, 0.22),  # grey roof
        (0.270, 0.280, 0.290, 0.320, 4.0, -5.5, 0.25),  # hall
        (0.034, 0.073, 0.042, 0.410, -11.0, -18.0, 0.05),  # meadow
        (0.048, 0.088, 0.076, 0.310, -12.5, -20.0, 0.05),  # mown meadow
        (0.030, 0.066, 0.034, 0.470, -8.5, -14.5, 0.06),  # beet
        (0.042, 0.078, 0.058, 0.340, -13.5, -19.0, 0.04),  # wheat
        (0.064, 0.100, 0.118, 0.280, -12.5, -18.0, 0.04),  # barley
        (0.042, 0.080, 0.052, 0.390, -9.5, -14.0, 0.05),  # rape
        (0.064, 0.088, 0.104, 0.240, -9.5, -17.5, 0.06),  # maize
        (0.078, 0.106, 0.138, 0.210, -10.5, -19.5, 0.06),  # bare soil
        (0.021, 0.045, 0.023, 0.400, -8.0, -13.2, 0.16),  # broadleaved forest
        (0.018, 0.030, 0.019, 0.220, -8.8, -14.2, 0.18),  # coniferous forest
    ],
    dtype=np.float32,
)
"""What each surface looks like in mid-June."""
_CHANGED = np.arange(len(LOOK))
"""What a field looks like that is mown, ploughed, sown or ripe while its like are not."""
_CHANGED[_MEADOW:_BROADLEAF] = (_MOWN, _MEADOW, _MAIZE, _BARLEY, _SOIL, _BARLEY, _SOIL, _MAIZE)
_HAZE = np.array((1.0, 0.7, 0.5, 0.2), dtype=np.float32)[:, None, None]
_CROP_SHARES = (0.22, 0.12, 0.08, 0.25, 0.09, 0.05, 0.16, 0.03)  # from meadow to bare soil


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """What two satellites see of one place."""

    clear: Array
    """(4, y, x) reflectance of B02, B03, B04, B08 without clouds."""
    cloudy: Array
    """(4, y, x) the same under clouds and their shadows."""
    classes: Array
    """(y / 2, x / 2) Sentinel-2 scene classification at 20 m."""
    power: Array
    """(2, y, x) gamma0 of VV and VH as linear power, with speckle; (0, y, x) of a day without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What differs from one overpass to the next."""

    look: Array
    """Of each surface, as in LOOK."""
    cloud_share: float
    """Of the picture."""
    front: float = 0.0
    """How far its bank of clouds has moved on, in widths of the picture."""
    changed: float = 0.0
    """Share of the parcels whose crop looks otherwise than by ``look``. A larger share holds those
    of a smaller one; negative shares are of other parcels."""
    haze: float = 0.0
    """Reflectance in blue that the air adds; less in the other bands."""
    radar: bool = True
    """Whether a radar passed over too."""
    speckle: int | None = None
    """Seed of the radar's own chance; None: it is drawn with all else."""


def paint_landscape(
    rng: np.random.Generator, shape: Shape, cloud_share: float = CLOUD_SHARE
) -> Landscape:
    """Return a landscape in mid-June, of 10 m pixels, all chance drawn from `rng`; even sides."""
    return next(paint_days(rng, shape, [Day(look=LOOK, cloud_share=cloud_share)]))


def paint_days(rng: np.random.Generator, shape: Shape, days: Iterable[Day]) -> Iterator[Landscape]:
    """Yield one place on several days: the same parcels, other colours, speckle and clouds."""
    canvas = _Canvas(rng=rng, shape=shape)
    surface, parcel, slope = _paint_ground(canvas)
    texture = _draw_texture(canvas)
    for day in days:
        shown = np.where(_is_changed(parcel, day.changed), _CHANGED[surface], surface)
        clear = _render_colour(texture, day.look[shown], surface, parcel, slope)
        clear += day.haze * _HAZE
        power = np.empty((0, *shape), dtype=np.float32)
        if day.radar:
            own = canvas
            if day.speckle is not None:
                own = replace(canvas, rng=np.random.default_rng(day.speckle))
            power = _render_backscatter(own, day.look, shown, parcel, slope)
        alpha, brightness, shade = _draw_clouds(canvas, day.cloud_share, day.front)
        yield Landscape(
            clear=clear,
            cloudy=_cover(clear, alpha, brightness, shade),
            classes=_classify(surface, clear, alpha, shade),
            power=power,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """A grid of pixels and the one source of chance."""

    rng: np.random.Generator
    shape: Shape

    def noise(self, coarsest_px: float, slope: float) -> Array:
        """Fractal noise of mean 0 and deviation 1; its power falls as frequency**-slope."""
        white = fft.rfft2(self.rng.standard_normal(self.shape, dtype=np.float32), workers=-1)
        down, across = fft.fftfreq(self.shape[0]), fft.rfftfreq(self.shape[1])
        squared = down[:, None] ** 2 + across**2 + coarsest_px**-2
        white *= squared.astype(np.float32) ** (-slope / 4)
        field = fft.irfft2(white, s=self.shape, workers=-1)
        return np.asarray((field - field.mean()) / field.std())

    def normal_of(self, row: Array) -> Array:
        """Draw a standard normal value for each row of the tables."""
        return self.rng.standard_normal(_DRAWS, dtype=np.float32)[row]

    def uniform_of(self, *labels: Array) -> Array:
        """Draw a uniform value for each combination of labels."""
        return self.rng.random(_DRAWS, dtype=np.float32)[_hash(*labels)]

    def wander(self, count: int, period: float) -> Array:
        """Draw a smooth random course of `count` values, of deviation 1."""
        values = ndimage.gaussian_filter1d(self.rng.standard_normal(count), period / 4)
        return np.asarray(values / values.std())

    def trace(self, path: Array) -> Array:
        """Pixels that a densely sampled path goes through."""
        column, row = np.rint(path.real).astype(int), np.rint(path.imag).astype(int)
        height, width = self.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        traced = np.zeros(self.shape, dtype=bool)
        traced[row[inside], column[inside]] = True
        return traced


def _hash(*labels: Array) -> Array:
    """Row of the tables of random draws that belongs to a combination of labels."""
    mixed = np.zeros(labels[0].shape, dtype=np.int64)
    for label in labels:
        mixed = (mixed ^ np.floor(label).astype(np.int64)) * 73856093
        mixed ^= mixed >> 15
    return mixed & (_DRAWS - 1)


def _borders(labels: Array) -> Array:
    """Pixels whose right or lower neighbour carries another label."""
    border = np.zeros(labels.shape, dtype=bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    return border


def _paint_ground(canvas: _Canvas) -> tuple[Array, Array, Array]:
    """Surface of each pixel, the random row of its parcel, its lean towards the sun."""
    height, width = canvas.shape
    place = (np.arange(width) + 1j * np.arange(height)[:, None]).astype(np.complex64)
    relief = canvas.noise(width / 3, 3.8)
    river = _meander(canvas)
    bank = np.asarray(ndimage.distance_transform_edt(~canvas.trace(river)), dtype=np.float32)
    bank += 0.7 * canvas.noise(20, 3)
    town = river[int(len(river) * canvas.rng.uniform(0.38, 0.48))] - 0.1j * height
    turns = np.exp(1j * (2 * np.pi / 5 * np.arange(5) + canvas.rng.uniform(0, 1, 5)))
    villages = town + width * canvas.rng.uniform(0.22, 0.36, 5) * turns
    parcel, block = _lay_parcels(canvas, place)
    surface = _grow_crops(canvas, parcel, block, bank)
    _plant_forest(canvas, surface, parcel, relief, bank)
    _build_houses(canvas, surface, place, town, villages)
    _fill_lake(canvas, surface, place)
    surface[bank < 4] = _RIVER
    _build_roads(canvas, surface, town, villages)
    fall = np.gradient(relief)
    return surface, parcel, -(fall[0] + 0.6 * fall[1]) / np.std(fall)


def _meander(canvas: _Canvas) -> Array:
    """Course of a river from the left to the right: a sine-generated curve, disturbed."""
    height, width = canvas.shape
    count, bends = 10 * width, width / 150
    phase = 2 * np.pi * np.linspace(0, bends, count) + 1.5 * canvas.wander(count, count / bends)
    turn = 1.15 * np.sin(phase) + 0.45 * canvas.wander(count, 3 * count / bends)
    turn -= ndimage.gaussian_filter1d(turn, count / 6)
    path = np.cumsum(np.exp(1j * turn))
    start = -30 + 1j * height * canvas.rng.uniform(0.55, 0.75)
    end = width + 30 + 1j * height * canvas.rng.uniform(0.4, 0.7)
    return np.asarray(start + (path - path[0]) * (end - start) / (path[-1] - path[0]))


def _lay_parcels(canvas: _Canvas, place: Array) -> tuple[Array, Array]:
    """Blocks of one direction each, cut into strips and those across: (parcel, block)."""
    rng, pitch_px = canvas.rng, 58
    corner = np.mgrid[0 : canvas.shape[0] : pitch_px, 0 : canvas.shape[1] : pitch_px]
    scattered = corner.reshape(2, -1) + rng.integers(0, pitch_px, (2, corner[0].size))
    seed = tuple(np.minimum(scattered, np.array(canvas.shape)[:, None] - 1))
    count = len(seed[0])
    block = np.full(canvas.shape, -1)
    block[seed] = np.arange(count)
    nearest = ndimage.distance_transform_edt(block < 0, return_distances=False, return_indices=True)
    block = block[tuple(nearest)]
    turn = 0.7 * canvas.noise(canvas.shape[1] / 3, 4)[seed] + rng.choice((0, np.pi / 2), count)
    width_px = rng.uniform(7, 24, count).astype(np.float32)[block]
    length_px = rng.uniform(25, 80, count).astype(np.float32)[block]
    turned = place * np.exp(-1j * turn).astype(np.complex64)[block]
    across = turned.real / width_px
    strip = np.floor(across + 0.35 * np.sin(1.7 * across + block))
    return _hash(block, strip, turned.imag / length_px + canvas.uniform_of(strip, block)), block


def _grow_crops(canvas: _Canvas, parcel: Array, block: Array, bank: Array) -> Array:
    crop = _MEADOW + canvas.rng.choice(len(_CROP_SHARES), _DRAWS, p=_CROP_SHARES)
    surface = crop.astype(np.uint8)[parcel]
    damp_px = canvas.rng.exponential(25, _DRAWS).astype(np.float32)
    surface[bank < damp_px[parcel]] = _MEADOW
    surface[_borders(parcel) & (canvas.noise(30, 2) > 0.6)] = _MEADOW
    lane, hedge = _borders(block), canvas.noise(40, 2.5)
    surface[lane & (hedge < 0.2)] = _TRACK
    surface[ndimage.binary_dilation(lane) & (hedge > 1.1)] = _BROADLEAF
    return surface


def _plant_forest(
    canvas: _Canvas, surface: Array, parcel: Array, relief: Array, bank: Array
) -> None:
    draw = canvas.normal_of(parcel)
    wooded = canvas.noise(canvas.shape[1] / 5, 3.6) + 0.8 * relief + 0.4 * draw
    forest = wooded > np.quantile(wooded[::4, ::4], 0.72)
    stand = canvas.noise(80, 2.8) + 0.7 * canvas.normal_of(parcel)
    surface[forest] = np.where(stand > 0.1, _CONIFER, _BROADLEAF)[forest]
    surface[forest & (draw > 2.2)] = _MOWN
    surface[bank < 9 + 7 * canvas.noise(60, 3)] = _BROADLEAF
    surface[(bank < 6.5) & (canvas.noise(40, 3) > 1)] = _GRAVEL


def _build_houses(
    canvas: _Canvas, surface: Array, place: Array, town: complex, villages: Array
) -> None:
    width = canvas.shape[1]
    sprawl = 1 - np.abs(place - town) / (0.105 * width)
    for village in villages:
        sprawl = np.maximum(sprawl, 0.7 - np.abs(place - village) / (0.03 * width))
    sprawl += 0.32 * canvas.noise(width / 14, 2.8)
    bend = canvas.noise(200, 4) + 1j * canvas.noise(200, 4)
    street = place * np.exp(-1j * np.float32(canvas.rng.uniform(0.2, 1.2))) + 5 * bend
    house = canvas.uniform_of(street.real / 2, street.imag / 2.5)
    dense = (0.30 + 0.5 * sprawl).clip(0.3, 0.85)
    built = np.where(house < 0.6 * dense, _RED_ROOF, np.where(house < dense, _GREY_ROOF, _GARDEN))
    built[(street.real % 10 < 1.1) | (street.imag % 14 < 1.1)] = _ROAD
    estate = canvas.noise(width / 24, 4)
    works = (estate > 1.1) & (sprawl < 0.6)
    hall = canvas.uniform_of(street.real / 9, street.imag / 6) < 0.4
    built[works] = np.where(hall, _HALL, _ROAD)[works]
    built[estate < -1.5] = _BROADLEAF
    surface[sprawl > 0] = built[sprawl > 0]


def _fill_lake(canvas: _Canvas, surface: Array, place: Array) -> None:
    rng, (height, width) = canvas.rng, canvas.shape
    centre = width * rng.uniform(0.68, 0.74) + 1j * height * rng.uniform(0.2, 0.3)
    turned = (place - centre) * np.exp(-1j * np.float32(rng.uniform(-0.7, 0.7)))
    reach = np.hypot(turned.real / (0.095 * width), turned.imag / (0.05 * width))
    reach += 0.22 * canvas.noise(width / 12, 3.8)
    surface[reach < 1.06] = _BROADLEAF
    surface[reach < 1] = _LAKE


def _build_roads(canvas: _Canvas, surface: Array, town: complex, villages: Array) -> None:
    height, width = canvas.shape
    ends = (-40 + 0.2j * height, width + 40 + 0.8j * height, 0.35 * width - 40j)
    paved = np.zeros(canvas.shape, dtype=bool)
    for end in (*villages, *ends):
        paved |= canvas.trace(_curve(canvas, town, end))
    motorway = _curve(canvas, 0.1 * width + 1j * (height + 40), width + 40 + 0.35j * height)
    paved |= ndimage.binary_dilation(canvas.trace(motorway))
    surface[paved & (surface != _LAKE)] = _ROAD


def _curve(canvas: _Canvas, start: complex, end: complex) -> Array:
    along = np.linspace(0, 1, int(3 * abs(end - start)))
    aside = 0.05 * np.sin(np.pi * along) * canvas.wander(along.size, along.size / 2)
    return np.asarray(start + (end - start) * (along + 1j * aside))


class _Texture(NamedTuple):
    """What no day changes in the light of the ground."""

    fine: Array
    """(y, x), of deviation 1."""
    patches: Array
    """(y, x) of fields, of deviation 1."""
    vigour: Array
    """(row, 4) gain of each band, by the random row of a parcel."""
    noise: Array
    """(4, y, x) reflectance."""


def _draw_texture(canvas: _Canvas) -> _Texture:
    rng = canvas.rng
    fine, patches = canvas.noise(4, 1), canvas.noise(40, 2.8)
    vigour = 0.14 * rng.standard_normal((_DRAWS, 1)) + 0.05 * rng.standard_normal((_DRAWS, 4))
    gain = np.exp(vigour * (1, 1, 1.2, -0.7)).astype(np.float32)
    noise = 0.0008 * rng.standard_normal((4, *canvas.shape), dtype=np.float32)
    return _Texture(fine, patches, gain, noise)


def _is_changed(parcel: Array, share: float) -> Array:
    """Pixels of the parcels that changed, see `Day`; a parcel's row is as good as a draw."""
    order = parcel / _DRAWS
    return np.asarray(order < share if share > 0 else order >= 1 + share)


def _render_colour(
    texture: _Texture, look: Array, surface: Array, parcel: Array, slope: Array
) -> Array:
    """Reflectance (4, height, width) of the ground; `look` is that of each pixel."""
    forest, crop = surface >= _BROADLEAF, (surface >= _MEADOW) & (surface < _BROADLEAF)
    light = 1 + look[..., 6] * texture.fine + np.where(crop, 0.05 * texture.patches, 0)
    light *= 1 + np.where(forest, 0.10, 0.03) * slope
    light *= np.where(np.roll(forest, (-1, -1), (0, 1)) & ~forest, 0.75, 1)
    reflectance = texture.noise.copy()
    for band in range(4):
        sharp = look[..., band] * light.clip(0.3, 2)
        sharp *= np.where(crop, texture.vigour[:, band][parcel], 1)
        reflectance[band] += ndimage.gaussian_filter(sharp, 0.55)
    return reflectance


def _render_backscatter(
    canvas: _Canvas, look: Array, surface: Array, parcel: Array, slope: Array
) -> Array:
    """Gamma0 of VV and VH (2, height, width) as linear power, with speckle.

    Speckle is gamma distributed by the formula of Wilson and Hilferty, so that it can be drawn
    correlated between neighbours as in ground range products.
    """
    forest, crop = surface >= _BROADLEAF, (surface >= _MEADOW) & (surface < _BROADLEAF)
    built = (surface >= _GARDEN) & (surface <= _HALL)
    change_db = 0.5 * canvas.noise(25, 2.5) + 0.5 * slope
    change_db += 2.2 * (forest.astype(np.float32) - np.roll(forest, 2, 1))
    change_db += np.where(crop, 1.1, np.where(forest, 0.3, 0)) * canvas.normal_of(parcel)
    change_db += np.where(built, 3.0, 0) * canvas.noise(4, 0)
    backscatter = np.empty((2, *canvas.shape), dtype=np.float32)
    for channel in range(2):
        power = 10 ** ((look[:, 4 + channel][surface] + change_db) / 10)
        swing = ndimage.gaussian_filter(canvas.noise(4, 0), 0.5)
        root = 1 - 1 / (9 * _RADAR_LOOKS) + swing / swing.std() / (3 * _RADAR_LOOKS**0.5)
        backscatter[channel] = ndimage.gaussian_filter(power, 0.8) * root.clip(0.05) ** 3
    return backscatter


def _draw_clouds(scene: _Canvas, share: float, moved: float) -> tuple[Array, Array, Array]:
    """Opacity (0 to 1) and reflectance of clouds, depth of their shadow (0 to 1).

    They are drawn on a larger canvas, for the shadows of clouds outside of the scene.
    """
    height, width = scene.shape
    down_px, right_px = _SHADOW_PX
    canvas = _Canvas(rng=scene.rng, shape=(height + down_px, width + right_px))
    cumulus = canvas.noise(max(width / 14, 60), 3.7) + 0.7 * canvas.noise(width / 2, 4)
    front = np.linspace(-0.25, 1.75, width + right_px) - moved
    front = front + np.linspace(-0.8, 0.8, height + down_px)[:, None]
    bank = 0.7 * canvas.noise(width / 5, 3.5) - 3.0 * np.abs(front)
    density = np.maximum(cumulus - np.quantile(cumulus, 0.8), bank - np.quantile(bank, 0.82))
    density = (density - np.quantile(density[:height, :width], 1 - share)).astype(np.float32)
    softness = 0.35 + 0.35 * (1 + canvas.noise(width / 5, 3)).clip(0, 2)
    alpha = 1 - np.exp(-3 * density.clip(0) / softness)
    billow = canvas.noise(width / 40, 3.0)
    fall = np.gradient(ndimage.gaussian_filter(density + 0.12 * billow, 1.5))
    light = -(fall[0] + 0.6 * fall[1]) / np.std(fall)
    brightness = 0.30 + 0.35 * np.sqrt((density / 1.5).clip(0, 1)) + 0.04 * billow
    brightness = (brightness + 0.05 * light.clip(-2, 2)).clip(0.2, 1)
    shade = ndimage.gaussian_filter(alpha, 1.5, truncate=2)
    lasting = ndimage.maximum_filter(shade, 9) > 0.1  # a lone wisp would escape classification
    alpha, shade = (alpha * lasting)[:height, :width], (shade * lasting)[down_px:, right_px:]
    return alpha, brightness[:height, :width], shade


def _cover(clear: Array, alpha: Array, brightness: Array, shade: Array) -> Array:
    """Reflectance under shadow and cloud; exactly the clear one where there is neither."""
    dark = np.array((0.45, 0.52, 0.56, 0.62), dtype=np.float32)[:, None, None]
    tint = np.array((1.03, 1.00, 0.99, 1.02), dtype=np.float32)[:, None, None]
    return np.asarray(clear * (1 - dark * shade) * (1 - alpha) + tint * brightness * alpha)


def _classify(surface: Array, clear: Array, alpha: Array, shade: Array) -> Array:
    """Sentinel-2 scene classification, at 20 m."""
    red, infrared = _halve(clear[2]), _halve(clear[3])
    scl = np.where(infrared - red > 0.45 * (infrared + red), 4, 5)
    scl[_halve(surface <= _LAKE) > 0.5] = 6
    scl[_halve(shade) > 0.06] = 3
    for least_alpha, cloud in ((0.05, 10), (0.40, 8), (0.75, 9)):
        scl[_halve(alpha) > least_alpha] = cloud
    return scl


def _halve(pixels: Array) -> Array:
    height, width = pixels.shape
    return np.asarray(pixels.reshape(height // 2, 2, width // 2, 2).mean((1, 3)))
