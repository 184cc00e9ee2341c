"""The bands of Sentinel-2: names, wavelengths, and how asset keys spell them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloudfree.core.errors import SettingsError

REFLECTANCE_SCALE = 1e-4
"""Reflectance of one digital number, the same for every band (Sentinel-2 product guide)."""

WHITE = 3558
"""Reflectance number that the Sentinel-2 true-colour product shows as white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One optical band."""

    name: str
    """As in the product specification: ``B04``."""
    common_name: str
    """As in the STAC eo extension: ``red``."""
    wavelength_um: float
    """Centre of the band."""
    resolution_m: int
    """Ground sampling distance of the product."""


BANDS: dict[str, Band] = {
    name: Band(name=name, common_name=common, wavelength_um=wavelength, resolution_m=resolution)
    for name, common, wavelength, resolution in [
        ("B01", "coastal", 0.443, 60),
        ("B02", "blue", 0.490, 10),
        ("B03", "green", 0.560, 10),
        ("B04", "red", 0.665, 10),
        ("B05", "rededge1", 0.704, 20),
        ("B06", "rededge2", 0.741, 20),
        ("B07", "rededge3", 0.783, 20),
        ("B08", "nir", 0.842, 10),
        ("B8A", "nir08", 0.865, 20),
        ("B09", "nir09", 0.945, 60),
        ("B10", "cirrus", 1.375, 60),
        ("B11", "swir16", 1.610, 20),
        ("B12", "swir22", 2.190, 20),
    ]
}

RGB = ("B04", "B03", "B02")
"""True colour, in the order of a picture's channels."""

SCENE_CLASSIFICATION = "SCL"
"""The scene classification layer of Level-2A."""


def check_bands(bands: tuple[str, ...]) -> None:
    """Raise SettingsError unless these are bands, at least one, each named once."""
    unknown = [band for band in bands if band not in BANDS]
    if unknown or not bands or len(set(bands)) < len(bands):
        raise SettingsError(
            f"bands are {', '.join(bands) or 'none'}; give different ones of {', '.join(BANDS)}"
        )


def choose_shown(bands: tuple[str, ...]) -> list[int]:
    """Return which channels of a picture of these bands to show as red, green and blue.

    True colour where the picture has it, else its first three bands; one band is shown in grey.
    """
    if set(RGB) <= set(bands):
        return [bands.index(band) for band in RGB]
    return [min(channel, len(bands) - 1) for channel in range(len(RGB))]


def find_asset_key(band: str, keys: Iterable[str]) -> str | None:
    """Return the asset key that holds ``band``, by product name or common name, in any case."""
    wanted = {band.lower()}
    if band in BANDS:
        wanted.add(BANDS[band].common_name)
    return next((key for key in keys if key.lower() in wanted), None)
