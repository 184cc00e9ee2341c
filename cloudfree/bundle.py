"""Model bundles: found, checked against their contract, loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cloudfree.baseline import Baseline
from cloudfree.config import build, read_toml
from cloudfree.contract import Contract
from cloudfree.errors import BundleError, SettingsError
from cloudfree.types import Model


def _load_baseline(contract: Contract, _: Path) -> Model:
    return Baseline(contract=contract)


def _load_gans(contract: Contract, folder: Path) -> Model:
    # imported here: plans and the baseline need not wait for torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from cloudfree.gan import build_gans

    try:
        files = {weights.role: load_file(folder / weights.file) for weights in contract.weights}
        return build_gans(contract, files)
    except (ValueError, KeyError, SafetensorError) as error:
        raise BundleError(
            f"the bundle {folder} cannot be loaded: {error}. Fetch it again"
        ) from None


_NETWORKS: dict[str, Callable[[Contract, Path], Model]] = {
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


def open_bundle(name: str) -> Bundle:
    """Return the bundle of a built-in name or a folder.

    Raises BundleError where there is none, its contract is not one, its network is unknown, or
    the sha256 of a file of weights differs.
    """
    folder = built_in().get(name, Path(name))
    file = folder / "model.toml"
    if not file.is_file():
        known = ", ".join(sorted(built_in())) or "none"
        raise BundleError(
            f"no model bundle {name!r}; built in are {known}. Give one of these or a folder with "
            "a model.toml"
        )
    try:
        contract = build(Contract, read_toml(file), str(file))
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
