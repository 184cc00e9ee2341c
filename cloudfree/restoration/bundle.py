"""Model bundles: found, checked against their contract, loaded."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from cloudfree.core.bands import RGB
from cloudfree.core.contract import OF_OTHER_DAYS, Contract
from cloudfree.core.errors import BundleError, SettingsError
from cloudfree.core.tables import build, read_toml
from cloudfree.core.types import (
    LARGEST_ERROR,
    AnyArray,
    Float32Array,
    Masks,
    Model,
    OtherDaysPicture,
)
from cloudfree.restoration.auto import BASELINE, Auto
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.restore import restore_alone
from cloudfree.restoration.smoothing import gaussian

GOLDEN = "golden.npz"
GOLDEN_TOLERANCE = 2e-3
"""Half precision of what is kept, and sums in another order on another machine."""


def _load_auto(contract: Contract, folder: Path) -> Model:
    bundles = {name: open_bundle(name) for name in (*contract.candidates, BASELINE)}
    for name, bundle in bundles.items():
        _refuse_unlike(contract, bundle.contract, folder, name)
    baseline = _load_baseline(bundles.pop(BASELINE).contract, folder)
    assert isinstance(baseline, Baseline)
    networks = {name: bundle.load() for name, bundle in bundles.items()}
    return Auto(contract=contract, networks=networks, baseline=baseline)


def _refuse_unlike(contract: Contract, candidate: Contract, folder: Path, name: str) -> None:
    """Raise BundleError where a candidate cannot be given what network auto is."""
    if candidate.network == "auto":
        raise BundleError(f"the bundle {folder} names {name}, which chooses too; name networks")
    for asked, found, what in (
        (contract.window_px, candidate.window_px, "windows of {} px"),
        (contract.radar_choices, candidate.radar_choices, "the radar {}"),
    ):
        if asked != found:
            raise BundleError(
                f"the bundle {folder} gives its candidates {what.format(asked)}; {name} takes "
                f"{found}. Give both the same"
            )


def _load_baseline(contract: Contract, folder: Path) -> Model:
    if contract.radar_channels > 1:
        raise BundleError(
            f"the bundle {folder} asks for {contract.radar_wanted}; network baseline takes one "
            "channel of radar. Leave out all_polarizations"
        )
    return Baseline(contract=contract)


def _load_gans(contract: Contract, folder: Path) -> Model:
    # imported here: plans and the baseline need not wait for torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from cloudfree.gan import build_gans

    try:
        files = {weights.role: load_file(folder / weights.file) for weights in contract.weights}
        for role, tensors in files.items():
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError(f"the weights of {role} hold NaN or infinity")
        return build_gans(contract, files)
    except (ValueError, KeyError, SafetensorError) as error:
        raise BundleError(
            f"the bundle {folder} cannot be loaded: {error}. Fetch it again"
        ) from None


_NETWORKS: dict[str, Callable[[Contract, Path], Model]] = {
    "auto": _load_auto,
    "baseline": _load_baseline,
    "gan": _load_gans,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A model's folder, checked."""

    folder: Path
    """Where it lies."""
    contract: Contract
    """What ``model.toml`` says; the hashes of its weights have been verified."""

    def load(self) -> Model:
        """Return the model, ready to restore windows."""
        return _NETWORKS[self.contract.network](self.contract, self.folder)

    def count_accelerators(self) -> int:
        """Return how many accelerators of this machine the model can use."""
        parts = (open_bundle(name).contract for name in self.contract.candidates)
        if not any(contract.network == "gan" for contract in (self.contract, *parts)):
            return 0
        from cloudfree.gan import count_accelerators

        return count_accelerators()


def open_bundle(name: str) -> Bundle:
    """Return the bundle of a built-in name or a folder.

    Raises BundleError where there is none, its contract is not one, its network is unknown, or
    the sha256 of a file of weights differs.
    """
    folder = built_in().get(name, Path(name))
    file = folder / "model.toml"
    if not _is_file(file):
        known = ", ".join(sorted(built_in())) or "none"
        raise BundleError(
            f"no model bundle {name!r}; built in are {known}. Give one of these or a folder with "
            "a model.toml"
        )
    try:
        table = read_toml(file)
        if "reference" in table:  # what [bars] was called at first
            table["bars"] = table.pop("reference")
        contract = build(Contract, table, str(file))
    except SettingsError as error:
        raise BundleError(f"the bundle's contract cannot be used: {error}") from None
    if contract.network not in _NETWORKS:
        raise BundleError(
            f"bundle {name!r} needs network {contract.network!r}; this version runs "
            f"{', '.join(_NETWORKS)}. Update cloudfree"
        )
    for weights in contract.weights:
        _verify(folder / weights.file, weights.sha256)
    return Bundle(folder=folder, contract=contract)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False


def write_golden(folder: Path, *, seed: int = 0) -> None:
    """Write ``golden.npz`` to a bundle: inputs drawn by ``seed``, and what its model makes of them.

    It holds ``optical``, ``radar``, ``seen``, ``made`` as in types.Model, and ``expected``; for a
    model that wants other days also what they say, by the names of its inputs.
    """
    bundle = open_bundle(str(folder))
    contract = bundle.contract
    rng = np.random.default_rng(seed)
    generators = {part.generator for part in (contract.sar2opt, contract.cloud_removal) if part}
    side = contract.window_px
    shape = (1, side, side) if "unet" in generators else (2, 64, 96)  # small where it may be
    seen = gaussian(rng.standard_normal(shape), 12.0) > 0
    noise = rng.standard_normal((contract.radar_channels, *shape))
    radar = np.clip(gaussian(noise, 2.0) * 4, -1, 1).transpose(1, 0, 2, 3)
    texture = gaussian(rng.standard_normal((len(contract.bands or RGB), *shape)), 4.0) * 6
    ground = np.clip(0.4 * radar[:, :1] + texture.transpose(1, 0, 2, 3) - 0.2, -1, 1)
    optical = np.where(seen[:, None], ground, contract.fill)
    given: dict[str, AnyArray] = {
        "optical": optical.astype(np.float16),
        "radar": radar.astype(np.float16),
    }
    if contract.wants_other_days:
        given |= _draw_other_days(rng, ground, contract.fill)
    masks = Masks(seen=seen, made=~seen)
    made = _restore_golden(bundle, given, masks)
    given |= {"seen": masks.seen, "made": masks.made, "expected": made.astype(np.float16)}
    np.savez_compressed(folder / GOLDEN, allow_pickle=False, **given)


def _draw_other_days(
    rng: np.random.Generator, ground: AnyArray, fill: float
) -> dict[str, AnyArray]:
    """Return what other days say of ground (n, band, y, x): nearly it, and in places nothing."""
    known = gaussian(rng.standard_normal(ground[:, 0].shape), 12.0) > -0.02
    error = np.where(known, rng.uniform(0, 0.2, known.shape), LARGEST_ERROR)
    off = error[:, None] * rng.uniform(-1, 1, ground.shape)
    picture = np.where(known[:, None], np.clip(ground + off, -1, 1), fill)
    layers = (picture.astype(np.float16), known, error.astype(np.float16))
    return dict(zip(OF_OTHER_DAYS, layers, strict=True))


def check_golden(bundle: Bundle) -> float:
    """Return how far a bundle's model is from its golden file: the largest difference.

    Pictures span 2. Above GOLDEN_TOLERANCE something is wrong with the weights, the code or the
    machine. BundleError where the file is missing or broken.
    """
    try:
        with np.load(bundle.folder / GOLDEN, allow_pickle=False) as file:
            golden = dict(file)
        masks = Masks(seen=golden["seen"], made=golden["made"])
        made = _restore_golden(bundle, golden, masks)
        return float(np.abs(made - golden["expected"]).max())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"the golden file of {bundle.folder} cannot be used: {error}. Fetch the bundle again"
        ) from None


def _restore_golden(bundle: Bundle, given: dict[str, AnyArray], masks: Masks) -> Float32Array:
    optical, radar = (given[name].astype(np.float32) for name in ("optical", "radar"))
    other_days = None
    if bundle.contract.wants_other_days:
        picture, known, error = (given[name] for name in OF_OTHER_DAYS)
        other_days = OtherDaysPicture(
            picture=picture.astype(np.float32), known=known, error=error.astype(np.float32)
        )
    return restore_alone(bundle.load(), optical, radar, masks, other_days)


def _verify(file: Path, expected: str) -> None:
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"cannot read the weights {file}: {error.strerror}") from None
    if found != expected:
        raise BundleError(
            f"the weights {file} have sha256 {found[:12]}…, the contract says {expected[:12]}…; "
            "fetch the bundle again"
        )


def built_in() -> dict[str, Path]:
    """Return name -> folder of each built-in bundle: in the wheel, or beside the package."""
    package = Path(str(resources.files("cloudfree")))
    for root in (package / "_models", package.parent / "models"):
        if root.is_dir():
            return {file.parent.name: file.parent for file in sorted(root.glob("*/model.toml"))}
    return {}
