"""The two GANs as one model of the walk: radar translated, then fused with the cloudy picture."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast, get_args

import torch
from torch import Tensor, nn

from cloudfree.core.types import OtherDaysPicture
from cloudfree.gan.batches import Batches, CudaMemory
from cloudfree.gan.build import Network, build_generator
from cloudfree.gan.fill import RemovalFill
from cloudfree.gan.removal import INPUTS, CloudRemoval, OtherDaysTensors, count_inputs

if TYPE_CHECKING:
    from cloudfree.core.contract import Contract
    from cloudfree.core.types import AnyArray, Float32Array, Masks

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoGans:
    """GAN1 and GAN2 (paper, figure 1) behind types.Model; in eval mode, fp32."""

    contract: Contract
    """What they expect and give."""
    sar2opt: nn.Module | None
    """GAN1's generator: radar to picture."""
    cloud_removal: CloudRemoval
    """GAN2 with what it is given."""
    threads: int
    """How many windows are restored at the same time on the CPU."""
    batches: Batches | None = None
    """How windows are batched on an accelerator; None on the CPU."""

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return candidate pictures (n, band, y, x); see types.Model."""
        return self.fuse(optical, radar, masks, None)

    def fuse(
        self,
        optical: Float32Array,
        radar: Float32Array,
        masks: Masks,
        other_days: OtherDaysPicture | None,
    ) -> Float32Array:
        """Return candidate pictures (n, band, y, x); see types.FusesOtherDays.

        On the CPU each window has a thread for itself: convolutions choose their order of sums by
        the size of the batch and the number of threads, and a window's bits must depend on neither.
        On an accelerator they go in batches, and that promise is one of rounding.
        """
        layers: list[AnyArray] = [optical, radar, masks.seen[:, None]]
        if self.contract.wants_other_days:
            told = other_days or OtherDaysPicture.empty(optical, self.contract.fill)
            layers += [told.picture, told.known[:, None], told.error[:, None]]

        @torch.inference_mode()
        def restore(part: slice) -> Tensor:
            given = (torch.from_numpy(layer[part]).to(self.device) for layer in layers)
            cloudy, backscatter, seen, *others = given
            known = OtherDaysTensors(*others) if others else None
            return self._restore(cloudy, backscatter, seen, known).cpu()

        return self._run(restore, len(optical))

    def translate_windows(self, radar: Float32Array) -> Float32Array:
        """Return GAN1's pictures (n, band, y, x) of standardised radar (n, channel, y, x)."""

        @torch.inference_mode()
        def translate(part: slice) -> Tensor:
            return self.translate(torch.from_numpy(radar[part]).to(self.device)).cpu()

        return self._run(translate, len(radar))

    def _run(self, work: Callable[[slice], Tensor], n: int) -> Float32Array:
        """Return what ``work`` makes of ``n`` windows, in batches or each on a thread."""
        if self.batches is not None:
            return self.batches.run(work, n).numpy()
        return torch.cat(self._map(work, n)).numpy()

    def _map(self, restore: Callable[[slice], Tensor], n: int) -> list[Tensor]:
        """Return what ``restore`` makes of each of ``n`` windows, each on one thread.

        What a pool's threads ask of torch also counts for threads yet to come: it is put back.
        """
        parts = (slice(index, index + 1) for index in range(n))
        try:
            with ThreadPoolExecutor(self.threads, "window", _use_one_thread) as pool:
                return list(pool.map(restore, parts))
        finally:
            torch.set_num_threads(self.threads)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.cloud_removal.parameters()).device

    def on_accelerator(self) -> TwoGans:
        """Return the model on this process's first CUDA device; without one itself, and warn.

        Full fp32, and the same order of sums in every call of the same shape.
        """
        if not torch.cuda.is_available():
            logger.warning("a worker with the resource GPU finds no CUDA device; it uses the CPU")
            return self
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        return replace(
            self,
            sar2opt=self.sar2opt and self.sar2opt.to("cuda"),
            cloud_removal=self.cloud_removal.to("cuda"),
            batches=Batches(CudaMemory()),
        )

    @torch.inference_mode()
    def translate(self, radar: Tensor) -> Tensor:
        """Return GAN1's pictures (n, band, y, x); with no bands where there is no GAN1."""
        if self.sar2opt is None:
            return radar[:, :0]
        translated: Tensor = self.sar2opt(radar)
        return translated

    def _restore(
        self, cloudy: Tensor, radar: Tensor, seen: Tensor, other_days: OtherDaysTensors | None
    ) -> Tensor:
        listens = "translated" in self.cloud_removal.inputs
        translated = self.translate(radar) if listens else radar[:, :0]
        candidate: Tensor = self.cloud_removal(cloudy, seen, radar, translated, other_days)
        return candidate


def build_gans(contract: Contract, weights: Mapping[str, Mapping[str, Tensor]]) -> TwoGans:
    """Return the model of a contract with weights by role; ValueError where they do not fit."""
    removal = contract.cloud_removal
    if removal is None or "cloud_removal" not in weights:
        raise ValueError("there is no [cloud_removal] with weights")
    unknown = sorted(
        {removal.fill} - set(get_args(RemovalFill)) | set(removal.inputs) - set(INPUTS)
    )
    if unknown:
        raise ValueError(f"[cloud_removal] asks for unknown {', '.join(unknown)}")
    generator = build_generator(
        cast(Network, removal.generator),
        bands_in=count_inputs(removal.inputs, contract),
        bands_out=len(contract.bands),
        width=removal.width,
    )
    gan2 = CloudRemoval(
        generator, removal.inputs, cast(RemovalFill, removal.fill), residual=removal.residual
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
    # asked once: while windows are restored, a thread that is new would be told 1
    threads = torch.get_num_threads()
    return TwoGans(contract=contract, sar2opt=gan1, cloud_removal=gan2, threads=threads)


def _use_one_thread() -> None:
    """Have torch work on this thread alone."""
    torch.get_num_threads()  # sets the thread up, which would else undo what follows
    torch.set_num_threads(1)


def _load(network: nn.Module, weights: Mapping[str, Tensor], role: str) -> None:
    """Give a network its weights, whatever precision they are kept in; eval mode, fp32."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()
        raise ValueError(f"the weights of {role} do not fit: {' '.join(first[:2])}") from None
    network.float().eval().requires_grad_(requires_grad=False)
