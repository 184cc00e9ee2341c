"""A training's settings: one small frozen object per section of its TOML, in the paper's order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from cloudfree.core.bands import RGB, check_bands
from cloudfree.core.contract import Channels
from cloudfree.core.errors import SettingsError
from cloudfree.core.tables import require
from cloudfree.gan import Network
from cloudfree.gan.fill import RemovalFill
from cloudfree.gan.removal import INPUTS
from cloudfree.synthetic.clouds import CloudSettings
from cloudfree.train.losses import Objective

TASKS = ("sar2opt", "cloud_removal")
PRECISIONS = ("auto", "fp32", "bf16")


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name} is {value!r}; give one of {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings(Channels):
    """What the networks see and make, in the words of a bundle's contract."""

    bands: tuple[str, ...] = RGB
    """Optical bands in the order of the picture's channels; pairs must have them all."""

    def __post_init__(self) -> None:
        Channels.__post_init__(self)
        check_bands(self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSettings:
    """Which patches are drawn, and how they are varied."""

    size_px: int = 256
    """Side of a patch; a multiple of 8."""
    colour_share: float = 0.5
    """Relative frequency of patches from SEN1-2 as published."""
    grey_share: float = 0.0
    """Relative frequency of pairs that have only luminance; they teach structure."""
    large_share: float = 0.5
    """Relative frequency of crops from the 1024 px pairs and of other patches."""
    radar_gain: float = 0.1
    """Radar is multiplied by 1 +- this: standard deviations of scenes are estimates."""
    radar_offset: float = 0.1
    """And moved by +- this."""
    stretch: float = 0.0
    """For GAN2 each band's gain is multiplied by 1 +- this, and its offset moved by +- this: scenes
    differ in their stretch, and colour has to be taken from what was seen, not from memory."""
    wedge_share: float = 0.1
    """Share of patches with a wedge of nodata: windows jut out of scenes."""
    growth_px: tuple[int, int] = (5, 5)
    """Masks given to GAN2 reach this far beyond the cloud, drawn evenly: a run dilates them."""
    missed_alpha: float = 0.0
    """Masks given to GAN2 miss cloud thinner than a limit between 0 and this, mostly near 0:
    detectors do, and GAN2 then learns to clear haze. Validation has whole masks."""
    on_problem: str = "skip"
    """``skip`` or ``refuse`` missing, broken and mismatched files."""

    def __post_init__(self) -> None:
        require(self.size_px >= 16 and self.size_px % 8 == 0, "size_px is no multiple of 8")
        low_high = self.growth_px
        require(
            len(low_high) == 2 and 0 <= low_high[0] <= low_high[1],
            f"growth_px is {low_high}; give [low, high] with 0 <= low <= high",
        )
        require(0 <= self.missed_alpha < 1, "missed_alpha is a share of light; give 0 to 1")
        _choose("on_problem", self.on_problem, ("skip", "refuse"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldSettings:
    """Scenes left out of a GAN1, for whose translated pictures GAN2 then learns."""

    count: int = 0
    """Into how many groups the scenes are split; 0 keeps all."""
    without: int = 0
    """Number of the group to leave out."""

    def __post_init__(self) -> None:
        require(
            0 <= self.without < max(self.count, 1),
            f"there is no fold {self.without} of {self.count} to leave out",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings:
    """The network (paper section 2.1)."""

    network: str = "drib"
    """``drib`` or, for the ablation, ``unet``."""
    width: int = 64
    """Filters of the first layer."""
    dropout: float = 0.5
    inputs: tuple[str, ...] = ("cloudy", "translated")
    """What GAN2 sees, of ``cloudy observed translated radar made`` (see gan.removal.CloudRemoval);
    ``cloudy radar`` is Table 5, row 2. What is of other days no pair holds yet."""
    fill: str = "cloud"
    """What stands in the cloudy picture under cloud; see ``cloudfree.gan.fill``."""
    residual: bool = False
    """GAN2 gives a correction to the filled picture instead of the picture."""

    def __post_init__(self) -> None:
        _choose("network", self.network, get_args(Network))
        _choose("fill", self.fill, get_args(RemovalFill))
        for name in self.inputs:
            _choose("inputs", name, INPUTS)
        require(self.width >= 2 and self.width % 2 == 0, "width is odd or below 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """The objective (eq. 5)."""

    objective: str = "l1+ssim"
    """``l1``, ``ssim`` or ``l1+ssim``."""
    l1_weight: float = 100.0
    ssim_weight: float = 100.0
    adversarial_weight: float = 1.0
    """0 trains without a discriminator."""
    discriminator_width: int = 64

    def __post_init__(self) -> None:
        _choose("objective", self.objective, get_args(Objective))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserSettings:
    """Adam and its pace (section 3.1)."""

    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    batch: int = 32
    steps: int = 100_000
    constant_share: float = 0.5
    """Share of the steps before the learning rate starts to fall, evenly, to 0."""
    ema_decay: float = 0.999
    """Weights that are judged and kept: a moving average with this memory per step."""
    precision: str = "auto"
    """``fp32`` or ``bf16`` autocast; ``auto``: bf16 where the device computes in it, which is many
    times slower where it does not. Weights are fp32 either way."""
    seed: int = 0

    def __post_init__(self) -> None:
        _choose("precision", self.precision, PRECISIONS)
        require(self.batch >= 1 and self.steps >= 1, "batch and steps start at 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How often things are written, in steps."""

    curve_every: int = 50
    save_every: int = 250
    """Checkpoint to resume from."""
    score_every: int = 500
    """Validation, sample sheet and, if it is the best so far, the weights."""
    tensorboard: bool = False
    """Write the curves for TensorBoard as well."""
    norm_batches: int = 24
    """Batches for the batch-norm statistics of the averaged weights before each validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """All settings of a training."""

    task: str = "sar2opt"
    """``sar2opt`` (GAN1) or ``cloud_removal`` (GAN2)."""
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    patches: PatchSettings = field(default_factory=PatchSettings)
    folds: FoldSettings = field(default_factory=FoldSettings)
    clouds: CloudSettings = field(default_factory=CloudSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        _choose("task", self.task, TASKS)
        if self.task == "cloud_removal" and "cloudy" not in self.generator.inputs:
            raise SettingsError("GAN2 needs the cloudy picture among its inputs")
