"""What a model expects and gives: the words of a bundle's ``model.toml``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from cloudfree.core.bands import check_bands
from cloudfree.core.errors import SettingsError

POLARIZATIONS = ("vv", "vh")
"""Of Sentinel-1 over land."""
OF_OTHER_DAYS = ("reference", "reference_seen", "reference_error")
"""What a network may be given of other days: see RemovalContract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """What the pictures and the radar of a model consist of."""

    bands: tuple[str, ...] = ()
    """Optical bands in the order of the picture's channels; empty for any."""
    polarizations: tuple[str, ...] = POLARIZATIONS
    """Radar polarisations that it takes, best first."""
    all_polarizations: bool = False
    """True: the model gets a channel for each of ``polarizations``, in their order; False: one
    channel, the best that the scenes have."""

    def __post_init__(self) -> None:
        if self.bands:
            check_bands(self.bands)
        names = set(self.polarizations)
        if not names or not names <= set(POLARIZATIONS) or len(names) < len(self.polarizations):
            raise SettingsError(f"polarizations are {self.polarizations}; give vv, vh or both")

    @property
    def radar_choices(self) -> tuple[tuple[str, ...], ...]:
        """Polarisations of the radar's channels: what will do, best first."""
        if self.all_polarizations:
            return (self.polarizations,)
        return tuple((name,) for name in self.polarizations)

    @property
    def radar_channels(self) -> int:
        """How many channels the radar has."""
        return len(self.radar_choices[0])

    def __str__(self) -> str:
        return f"{', '.join(self.bands) or 'any bands'} with {self.radar_wanted}"

    @property
    def radar_wanted(self) -> str:
        """The choices in words: ``VV or VH``, ``VV and VH``."""
        joint = " and " if self.all_polarizations else " or "
        return joint.join(name.upper() for name in self.polarizations)

    def choose_polarizations(self, available: Collection[str]) -> tuple[str, ...] | None:
        """Return the best choice that is wholly available; None where none is."""
        return next((c for c in self.radar_choices if set(c) <= set(available)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorContract:
    """One generator."""

    generator: str
    """``drib``, the paper's, or ``unet``."""
    width: int
    """Filters of the first layer; 64 in the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalContract(GeneratorContract):
    """GAN2's generator, and what it is given (see gan.removal.CloudRemoval)."""

    inputs: tuple[str, ...]
    """Of ``cloudy observed translated radar made reference reference_seen reference_error``, in
    order; the last three are what other days say (see types.OtherDaysPicture)."""
    fill: str
    """What stands in the cloudy picture where the ground is not seen (see gan.fill)."""
    residual: bool
    """The generator's answer is added to that picture."""

    @property
    def wants_other_days(self) -> bool:
        """Whether it is given what other days say, as input or as fill."""
        return any(name in OF_OTHER_DAYS for name in (*self.inputs, self.fill))


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsContract:
    """What needs no network, fitted on the same training: the bar in evaluations."""

    mean_colour: tuple[float, ...]
    """(band,) in [-1, 1]."""
    regression: tuple[tuple[float, ...], ...]
    """(1 + guide, band): colour by smoothed radar, see train.baselines.ColourRegression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One file of weights."""

    role: str = ""
    """Which network they are of: ``sar2opt`` or ``cloud_removal``."""
    file: str
    """Name inside the bundle, ending in ``.safetensors``."""
    sha256: str
    """Hex digest of the file."""

    def __post_init__(self) -> None:
        if "/" in self.file or not self.file.endswith(".safetensors"):
            raise SettingsError(f"weights file is {self.file!r}; give NAME.safetensors")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise SettingsError(f"sha256 of {self.file} is not 64 hex digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract(Channels):
    """A model's contract."""

    name: str
    """Name of the bundle."""
    version: str
    """Version of the bundle."""
    network: str
    """Which code runs it: ``auto``, ``baseline`` or ``gan``."""
    levels: tuple[str, ...] = ()
    """Product levels of Sentinel-2 that it learnt on, such as ``L1C``; empty for any."""
    radar_kinds: tuple[str, ...] = ()
    """Kinds of backscatter that it learnt on, such as ``gamma0-rtc``; empty for any."""
    window_px: int = 256
    """Side of the input; a multiple of 8."""
    stride_px: int = 192
    """Distance between windows; a multiple of 8, at most the window."""
    fill: float = -1.0
    """Value of the picture where the ground is not seen, and of the radar where missing."""
    shows_cloud: bool = False
    """Leave hidden pixels in the picture as they are instead of filling them."""
    sar2opt: GeneratorContract | None = None
    """GAN1 of network ``gan``; without it GAN2 sees the radar alone."""
    cloud_removal: RemovalContract | None = None
    """GAN2 of network ``gan``."""
    candidates: tuple[str, ...] = ()
    """Bundles that network ``auto`` measures on every scene, beside what needs no training."""
    bars: BarsContract | None = None
    """For evaluations; a run does not use it."""
    weights: tuple[Weights, ...] = ()
    """Files of weights; none for a model without."""

    @property
    def wants_other_days(self) -> bool:
        """Whether the model is to know what other days say of every pixel of its windows."""
        return self.cloud_removal is not None and self.cloud_removal.wants_other_days

    @property
    def needs_radar(self) -> bool:
        """Whether nothing is made of a pixel without radar."""
        return self.network != "auto"

    def __post_init__(self) -> None:
        Channels.__post_init__(self)  # super() does not find it in a class with slots
        if self.window_px <= 0 or self.window_px % 8 or self.stride_px <= 0 or self.stride_px % 8:
            raise SettingsError(
                f"window_px {self.window_px} and stride_px {self.stride_px} must be multiples of 8"
            )
        if self.stride_px > self.window_px:
            raise SettingsError(f"stride_px {self.stride_px} is beyond window_px {self.window_px}")
