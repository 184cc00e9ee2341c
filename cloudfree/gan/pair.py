"""The two GANs as one model of the walk: radar translated, then fused with the cloudy picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from cloudfree.gan.build import Network, build_generator
from cloudfree.gan.fill import Fill
from cloudfree.gan.removal import INPUTS, CloudRemoval, count_inputs

if TYPE_CHECKING:
    from cloudfree.contract import Contract
    from cloudfree.types import Float32Array, Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoGans:
    """GAN1 and GAN2 (paper, figure 1) behind types.Model; in eval mode, fp32."""

    contract: Contract
    """What they expect and give."""
    sar2opt: nn.Module | None
    """GAN1's generator: radar to picture."""
    cloud_removal: CloudRemoval
    """GAN2 with what it is given."""

    @torch.inference_mode()
    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return candidate pictures (n, band, y, x); see types.Model.

        Windows go one by one: convolutions choose their order of sums by the size of the batch,
        and a window's bits must not depend on its company.
        """
        made = [
            self._restore(
                torch.from_numpy(optical[index : index + 1]),
                torch.from_numpy(radar[index : index + 1]),
                torch.from_numpy(masks.seen[index : index + 1, None]),
            ).numpy()
            for index in range(len(optical))
        ]
        return np.concatenate(made)

    @torch.inference_mode()
    def translate(self, radar: Tensor) -> Tensor:
        """Return GAN1's pictures (n, band, y, x); with no bands where there is no GAN1."""
        if self.sar2opt is None:
            return radar[:, :0]
        translated: Tensor = self.sar2opt(radar)
        return translated

    def _restore(self, cloudy: Tensor, radar: Tensor, seen: Tensor) -> Tensor:
        listens = "translated" in self.cloud_removal.inputs
        translated = self.translate(radar) if listens else radar[:, :0]
        candidate: Tensor = self.cloud_removal(cloudy, seen, radar, translated)
        return candidate


def build_gans(contract: Contract, weights: Mapping[str, Mapping[str, Tensor]]) -> TwoGans:
    """Return the model of a contract with weights by role; ValueError where they do not fit."""
    removal = contract.cloud_removal
    if removal is None or "cloud_removal" not in weights:
        raise ValueError("there is no [cloud_removal] with weights")
    unknown = sorted({removal.fill} - set(get_args(Fill)) | set(removal.inputs) - set(INPUTS))
    if unknown:
        raise ValueError(f"[cloud_removal] asks for unknown {', '.join(unknown)}")
    generator = build_generator(
        cast(Network, removal.generator),
        bands_in=count_inputs(removal.inputs, contract),
        bands_out=len(contract.bands),
        width=removal.width,
    )
    gan2 = CloudRemoval(
        generator, removal.inputs, cast(Fill, removal.fill), residual=removal.residual
    )
    _load(gan2, weights["cloud_removal"], "cloud_removal")
    gan1 = None
    if contract.sar2opt is not None:
        if "sar2opt" not in weights:
            raise ValueError("[sar2opt] has no weights")
        gan1 = build_generator(
            cast(Network, contract.sar2opt.generator),
            bands_in=contract.radar_channels,
            bands_out=len(contract.bands),
            width=contract.sar2opt.width,
        )
        _load(gan1, weights["sar2opt"], "sar2opt")
    return TwoGans(contract=contract, sar2opt=gan1, cloud_removal=gan2)


def _load(network: nn.Module, weights: Mapping[str, Tensor], role: str) -> None:
    """Give a network its weights, whatever precision they are kept in; eval mode, fp32."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()
        raise ValueError(f"the weights of {role} do not fit: {' '.join(first[:2])}") from None
    network.float().eval().requires_grad_(requires_grad=False)
