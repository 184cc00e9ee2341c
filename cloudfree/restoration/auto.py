"""The model that is another one in every scene: the one that was measured to serve there best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cloudfree.core.contract import Contract
from cloudfree.core.types import Float32Array, Masks, Model, OnDevice
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.inpainting import Inpainting

BASELINE, INPAINTING = "baseline", "inpainting"
FILLS = (BASELINE, INPAINTING)
"""What needs no training, in the order in which they serve where nothing can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """Networks and fills, of which row 5 chooses one a scene (walk.makers).

    Asked as a model itself, of windows that stand alone, it is the baseline: they leave nothing to
    measure by.
    """

    contract: Contract
    """What it expects and gives."""
    networks: Mapping[str, Model]
    """By name, in the order of the contract's candidates."""
    baseline: Baseline
    """Regression on radar."""

    def makers(self, bands: tuple[str, ...], *, with_radar: bool) -> dict[str, Model]:
        """Return what can make pixels of these bands; without radar it is the inpainting alone."""
        inpainting = Inpainting(contract=replace(self.contract, name=INPAINTING))
        if not with_radar:
            return {INPAINTING: inpainting}
        able = {
            name: model
            for name, model in self.networks.items()
            if set(model.contract.bands or bands) == set(bands)
        }
        return {**able, BASELINE: self.baseline, INPAINTING: inpainting}

    def fit(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> list[list[float]]:
        """Return what the baseline learns from sample windows; see SceneFitted."""
        return self.baseline.fit(optical, radar, masks)

    def fitted(self, numbers: list[list[float]]) -> Baseline:
        """Return the baseline that uses these numbers."""
        return self.baseline.fitted(numbers)

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return candidate pictures (n, band, y, x) of the baseline; see Model."""
        return self.baseline(optical, radar, masks)

    def on_accelerator(self) -> Auto:
        """Return it with its networks on this process's accelerator."""
        networks = {
            name: model.on_accelerator() if isinstance(model, OnDevice) else model
            for name, model in self.networks.items()
        }
        return replace(self, networks=networks)
