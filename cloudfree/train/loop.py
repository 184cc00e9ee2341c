"""Training of GAN1 and GAN2 as in paper sections 2.2, 2.3 and 3.1, to be read in one sitting.

Everything random is drawn from the seed and the step, and the state on disk is whole, so that a
training that was killed and started again ends with the same weights on a CPU.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cloudfree.core.errors import RequestError
from cloudfree.gan import Discriminator, init_weights
from cloudfree.gan.removal import count_inputs
from cloudfree.train.averaging import AveragedGenerator
from cloudfree.train.baselines import fill_without_network
from cloudfree.train.batches import Batch, PatchSource, hide_untaught
from cloudfree.train.curves import Curve, open_board
from cloudfree.train.losses import adversarial_loss, generator_loss
from cloudfree.train.networks import apply, build_network, make_condition, network_inputs
from cloudfree.train.scoring import Scores, Window, join, score
from cloudfree.train.settings import TrainSettings
from cloudfree.train.sheets import write_sheet

log = logging.getLogger(__name__)

NORM_STEP = 1 << 40
"""Batches for batch-norm statistics are numbered from here: never those of the training."""
SHEET_ROWS = 8
READ_AHEAD = 4
"""Batches that each reader holds ready."""


@dataclass
class Trainer:
    """The state of one training, and its step."""

    settings: TrainSettings
    source: PatchSource
    windows: Sequence[Window]
    """To validate on."""
    folder: Path
    known_windows: Sequence[Window] = ()
    """Some of the training, under other skies: their scores show what does not carry over."""
    fabric: Fabric = field(default_factory=lambda: Fabric(accelerator="auto", devices=1))
    readers: int = 0
    """Processes that draw batches ahead; 0 draws each when it is needed, in this one."""
    step: int = 0
    best: float = float("-inf")

    def __post_init__(self) -> None:
        s = self.settings
        if s.optimiser.batch % self.fabric.world_size:
            raise RequestError(
                f"a batch of {s.optimiser.batch} cannot be shared evenly by "
                f"{self.fabric.world_size} devices. Change batch or --devices"
            )
        torch.manual_seed(s.optimiser.seed)
        self.generator = self.fabric.to_device(build_network(s))
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        condition = count_inputs(network_inputs(s), s.channels)
        bands = len(s.channels.bands)
        self.discriminator = Discriminator(condition, bands, s.loss.discriminator_width)
        init_weights(self.discriminator)
        self.discriminator.to(self.fabric.device)
        self.discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        betas = (s.optimiser.beta1, s.optimiser.beta2)
        rate = s.optimiser.learning_rate
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), rate, betas)
        self.discriminator_adam = torch.optim.Adam(self.discriminator.parameters(), rate, betas)
        self.average = AveragedGenerator(self.generator, s.optimiser.ema_decay)
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "last.pt").exists():
            self.load()

    def run(self, until: int | None = None, minutes: float | None = None) -> None:
        """Train up to the settings' number of steps, or to ``until``.

        After ``minutes`` it stops as if that step had been ``until``: validated, kept and saved.
        """
        log_settings, steps = self.settings.log, self.settings.optimiser.steps
        board = open_board(self.folder, self.step) if log_settings.tensorboard else None
        curve = Curve(self.folder / "curve.csv", keep_until=self.step, board=board)
        scores = Curve(self.folder / "scores.csv", keep_until=self.step, board=board)
        last_step = min(steps, steps if until is None else until)
        if self.step == 0 and self.fabric.is_global_zero:
            self.show_batch()
        began, first = time.monotonic(), self.step
        for batch in self.draw_ahead(last_step):
            losses = self.train_step(batch)
            self.step += 1
            spent = (time.monotonic() - began) / 60
            is_last = self.step == last_step or self._is_over(spent, minutes)
            if not self.fabric.is_global_zero:
                if is_last:
                    break
                continue
            if self.step % log_settings.curve_every == 0:
                curve.add(self.step, {name: float(value) for name, value in losses.items()})
                pace = (self.step - first) / (time.monotonic() - began)
                log.info(
                    "step %d of %d: %s; %.2f patches/s, %.0f min to go",
                    self.step, steps,
                    ", ".join(f"{name} {float(value):.3f}" for name, value in losses.items()),
                    pace * self.settings.optimiser.batch, (steps - self.step) / pace / 60,
                )  # fmt: skip
            stopped = is_last and self.step < last_step
            if self.step % log_settings.score_every == 0 or self.step == steps or stopped:
                self.validate(scores)
            if self.step % log_settings.save_every == 0 or is_last:
                self.save()
            if is_last:
                break
        self.fabric.barrier()

    def _is_over(self, spent_min: float, minutes: float | None) -> bool:
        """Return True, on all devices alike, where the time is up on the first."""
        if minutes is None:
            return False
        if self.fabric.world_size == 1:
            return spent_min >= minutes
        return bool(self.fabric.broadcast(spent_min >= minutes))

    def draw_ahead(self, last_step: int) -> Iterator[Batch]:
        """Yield this device's share of the batches from the present step on, in order."""
        if not self.readers:
            yield from (self.draw(step) for step in range(self.step, last_step))
            return
        is_cuda = self.fabric.device.type == "cuda"
        loader = DataLoader(
            _Numbered(self._draw_here),
            batch_size=None,
            sampler=range(self.step, last_step),
            num_workers=self.readers,
            prefetch_factor=READ_AHEAD,
            pin_memory=is_cuda,
        )
        for batch in loader:
            yield batch.to(self.fabric.device)

    def draw(self, step: int) -> Batch:
        """Return this device's share of training batch number ``step``, on the device."""
        return self._draw_here(step).to(self.fabric.device)

    def _draw_here(self, step: int) -> Batch:
        optimiser, devices = self.settings.optimiser, self.fabric.world_size
        number = step * devices + self.fabric.global_rank
        size = optimiser.batch // devices
        return self.source.draw(size, seed=optimiser.seed, step=number)

    def show_batch(self) -> None:
        """Write the first batch as a sheet, to be looked at: radar, cloudy, mask, truth."""
        batch = self.draw(0)
        layers = (batch.radar, batch.cloudy, 2 * batch.made.float() - 1, batch.truth)
        columns = [layer for layer in layers if layer.shape[1]]
        write_sheet(self.folder / "batch.png", columns, self.settings.channels.bands)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """Update the discriminator, then the generator (eq. 5); return the unweighted losses."""
        loss = self.settings.loss
        torch.manual_seed(self.settings.optimiser.seed * 1_000_003 + self.step)
        set_rate(self.generator_adam, self.settings, self.step)
        set_rate(self.discriminator_adam, self.settings, self.step)
        self.generator.train()
        with self.autocast():
            candidate = apply(self.generator, batch)
        taught = hide_untaught(candidate, batch)
        total, losses = generator_loss(
            taught, batch.truth, loss.objective,  # type: ignore[arg-type]
            l1_weight=loss.l1_weight, ssim_weight=loss.ssim_weight,
        )  # fmt: skip
        if loss.adversarial_weight > 0:
            condition = make_condition(self.generator, batch)
            losses["discriminator"] = self.train_discriminator(condition, taught.detach(), batch)
            self.discriminator.requires_grad_(False)
            with self.autocast():
                logits = self.discriminator(condition, taught)
            self.discriminator.requires_grad_(True)
            adversarial = adversarial_loss(logits, real=True)
            losses["adversarial"] = adversarial.detach()
            total = total + loss.adversarial_weight * adversarial
        self.generator_adam.zero_grad()
        self.fabric.backward(total)
        gradients = self.share_gradients(self.generator)
        losses["gradient"] = nn.utils.get_total_norm(gradients)
        self.generator_adam.step()
        self.average.update(self.generator, self.step)
        return losses

    def train_discriminator(self, condition: Tensor, candidate: Tensor, batch: Batch) -> Tensor:
        """Update the discriminator on truth and candidates (eq. 1); return its loss."""
        with self.autocast():
            real = self.discriminator(condition, batch.truth)
            made = self.discriminator(condition, candidate)
        loss = (adversarial_loss(real, real=True) + adversarial_loss(made, real=False)) / 2
        self.discriminator_adam.zero_grad()
        self.fabric.backward(loss)
        self.share_gradients(self.discriminator)
        self.discriminator_adam.step()
        return loss.detach()

    def share_gradients(self, network: nn.Module) -> list[Tensor]:
        """Return a network's gradients, made the mean over all devices in place.

        Batch norm keeps to each device's share of the batch.
        """
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        if self.fabric.world_size > 1:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            shared = self.fabric.all_reduce(flat, reduce_op="mean")
            assert isinstance(shared, Tensor)
            pieces = torch.split(shared, [gradient.numel() for gradient in gradients])
            for gradient, piece in zip(gradients, pieces, strict=True):
                gradient.copy_(piece.view_as(gradient))
        return gradients

    def autocast(self) -> torch.autocast:
        """Return the context of forward passes, at the settings' precision."""
        precision, device = self.settings.optimiser.precision, self.fabric.device.type
        enabled = precision == "bf16" or (precision == "auto" and has_bf16(device))
        return torch.autocast(device, torch.bfloat16, enabled=enabled)

    def validate(self, curve: Curve) -> Scores:
        """Score the averaged generator, write a sheet, and keep its weights if it is the best."""
        self.measure_norms()
        scores = score(self.windows, self.restore)
        known = score(self.known_windows, self.restore)
        shown = {**scores, **{f"train_{group}": each for group, each in known.items()}}
        named = {f"{group}_{name}": v for group, each in shown.items() for name, v in each.items()}
        curve.add(self.step, named)
        figure = "psnr" if self.settings.task == "sar2opt" else "psnr_cloudy"
        mean = sum(each[figure] for each in scores.values()) / max(len(scores), 1)
        log.info("step %d: %s", self.step, {name: round(v, 3) for name, v in named.items()})
        if self.windows:
            chosen = list(self.windows[:: max(1, len(self.windows) // SHEET_ROWS)])[:SHEET_ROWS]
            sheet = self.folder / f"sheet_{self.step:07d}.png"
            write_sheet(sheet, self.lay_out(chosen), self.settings.channels.bands)
        if mean > self.best or not self.windows:
            self.best = mean
            self.keep(self.folder / "best.safetensors", scores)
        return scores

    def measure_norms(self) -> None:
        """Give the averaged generator batch-norm statistics of its own."""
        count = self.settings.log.norm_batches
        passes = (self._pass_through(NORM_STEP + number) for number in range(count))
        self.average.measure_norms(passes)

    def _pass_through(self, step: int) -> Callable[[nn.Module], Tensor]:
        def send(network: nn.Module) -> Tensor:
            with self.autocast():
                return apply(network, self.draw(step))

        return send

    @torch.no_grad()
    def restore(self, windows: Sequence[Window]) -> Tensor:
        """Return the averaged generator's candidates for a few windows, on the CPU."""
        with self.autocast():
            return apply(self.average.network, join(windows).to(self.fabric.device)).float().cpu()

    def lay_out(self, windows: Sequence[Window]) -> list[Tensor]:
        """Return the columns of a sample sheet."""
        batch = join(windows)
        columns = [batch.radar, self.restore(windows), batch.truth]
        if self.settings.task == "cloud_removal":
            translated = [batch.translated] if batch.translated.shape[1] else []
            baseline = fill_without_network(batch, "regression")
            columns = [batch.cloudy, *translated, baseline, *columns]
        return columns

    def keep(self, path: Path, scores: Scores) -> None:
        """Write the averaged generator with its settings and scores, whole or not at all."""
        weights = {name: t.contiguous() for name, t in self.average.network.state_dict().items()}
        facts = {
            "settings": json.dumps(dataclasses.asdict(self.settings)),
            "scenes": json.dumps(sorted({pair.scene for pair in self.source.pairs})),
            "scores": json.dumps(scores),
            "step": str(self.step),
        }
        part = path.with_suffix(".part")
        save_file(weights, part, metadata=facts)
        part.replace(path)

    def save(self) -> None:
        """Write all that is needed to go on, whole or not at all."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        part = self.folder / "last.part"
        torch.save({**state, "step": self.step, "best": self.best}, part)
        part.replace(self.folder / "last.pt")

    def start_from(self, weights: Path) -> None:
        """Begin with the generator of another training or bundle instead of random weights."""
        try:
            state = load_file(weights)
            self.generator.load_state_dict(state)
            self.average.network.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split()[:20])
            raise RequestError(f"{weights} does not fit these settings: {reason}") from None

    def load(self) -> None:
        """Go on from ``last.pt``."""
        state = torch.load(self.folder / "last.pt", map_location="cpu", weights_only=True)
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError):
            raise RequestError(
                f"{self.folder} holds a training of other networks than these settings name. "
                "Give another --out, or the settings that it began with"
            ) from None
        self.step, self.best = state["step"], state["best"]
        log.info("going on from step %d in %s", self.step, self.folder)

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average.network,
            "generator_adam": self.generator_adam,
            "discriminator_adam": self.discriminator_adam,
        }


class _Numbered(Dataset[Batch]):
    """Batches by their number, as a loader's processes ask for them."""

    def __init__(self, draw: Callable[[int], Batch]) -> None:
        self._draw = draw

    def __getitem__(self, number: int) -> Batch:
        return self._draw(number)


def has_bf16(device: str) -> bool:
    """Return True where a kind of device multiplies bf16 in hardware."""
    if device == "cpu":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def set_rate(adam: torch.optim.Optimizer, settings: TrainSettings, step: int) -> None:
    """Set the learning rate of a step: constant, then falling evenly to 0."""
    o = settings.optimiser
    left = (o.steps - step) / max(o.steps * (1 - o.constant_share), 1)
    for group in adam.param_groups:
        group["lr"] = o.learning_rate * min(1.0, left)
