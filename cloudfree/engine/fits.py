"""Row 5 of the walk for other days, as Dask jobs, and what was learnt as files beside the state."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from distributed import Client, Future

from cloudfree.cluster import Workers, run_all
from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.core.config import RunSettings
from cloudfree.core.errors import OutputError
from cloudfree.core.progress import Progress
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import Signer
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan
from cloudfree.scenes.scene import Reference, Scene
from cloudfree.storage.outputs import Storage
from cloudfree.walk.measure import PairStatistics, before_the_start
from cloudfree.walk.references import FittedReferences, Unusable, fit_references
from cloudfree.walk.run_facts import PairKey

logger = logging.getLogger(__name__)

_FITS = "ledger/fits"
"""What was learnt of scenes, a file each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """What was learnt of scenes and their other days."""

    fitted: dict[str, FittedReferences]
    """By optical scene."""
    unusable: dict[str, list[Unusable]]
    """Optical scene -> its other days that could not be used."""
    worse: dict[str, str] = field(default_factory=dict)
    """Optical scene -> why its other days are not used although they were fitted."""

    def judge(self, statistics: dict[PairKey, PairStatistics]) -> Fits:
        """Return the fits that are not worse than what else was measured to make a scene's pixels.

        Both are errors of hidden seen pixels; only ``auto`` measures the second.
        """
        worse = {}
        for (name, _), one in sorted(statistics.items()):
            if name not in self.fitted or one.choice is None:
                continue
            fused = float(np.sqrt(np.mean(self.fitted[name].fit.judged[-1] ** 2)))
            if fused > one.choice.smallest_rmse:  # False where either was not measured
                worse[name] = (
                    f"other days are wrong by {fused * REFLECTANCE_SCALE:.4f} on seen pixels of "
                    f"{name}, {one.choice.maker} by "
                    f"{one.choice.smallest_rmse * REFLECTANCE_SCALE:.4f}: they are not used there"
                )
        for why in worse.values():
            logger.warning("%s", why)
        kept = {name: one for name, one in self.fitted.items() if name not in worse}
        return replace(self, fitted=kept, worse=worse)


def fit_other_days(plan: Plan, client: Client, progress: Progress) -> tuple[Fits, Counter[str]]:
    """Learn what each scene's hidden pixels are made with; one Dask job a scene.

    Also returns how often servers were asked again.
    """
    scenes = {scene.id: scene for step in plan.steps for scene in step.optical}
    fits, retries = Fits(fitted={}, unusable={}), Counter[str]()

    def submit(name: str, _: Workers) -> Future[_Fitted]:
        settings, signer = plan.settings, plan.signer
        return client.submit(
            _fit_one, settings, signer, scenes[name], plan.references[name], pure=False
        )

    asked = sorted(plan.references)
    with progress.track("learn other days", len(asked), "scenes") as advance, before_the_start():
        for name, (fitted, unusable, asked_again) in run_all(client, asked, submit):
            fits.fitted[name], fits.unusable[name] = fitted, unusable
            retries.update(asked_again)
            advance(1)
    for one in (one for name in asked for one in fits.unusable[name]):
        logger.warning("%s is left out: %s", one.what, one.why)
    return fits, retries


_Fitted = tuple[FittedReferences, list[Unusable], dict[str, int]]


def _fit_one(
    settings: RunSettings, signer: Signer, target: Scene, references: tuple[Reference, ...]
) -> _Fitted:
    """Return what was learnt, what could not be used, and how often servers were asked again."""
    fetcher = Fetcher(settings.cube, signer)
    fitted, unusable = fit_references(target, references, settings, fetcher, Stopwatch())
    return fitted, unusable, fetcher.retries


def describe_fit(name: str, content: bytes, fits: Fits, index: int) -> dict[str, Any]:
    """Return what the state says of a scene's fit, whose content is a file of its own."""
    references = fits.fitted[name].references
    left_out = [
        {
            "scenes": [s.id for s in one.reference.scenes],
            "what": one.what,
            "why": one.why,
        }
        for one in fits.unusable[name]
    ]
    return {
        "scene": name,
        "file": f"{_FITS}/{index}.npz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "references": [[s.id for s in one.scenes] for one in references],
        "watched": [one.watch is not None for one in references],
        "left_out": left_out,
    }


def read_fit(plan: Plan, storage: Storage, known: dict[str, Any]) -> FittedReferences:
    """Return the fit of a scene as it was written; OutputError where it is damaged."""
    content = storage.read(known["file"]) or b""
    name, cure = storage.join(known["file"]), "Use --overwrite to start anew"
    if hashlib.sha256(content).hexdigest() != known["sha256"]:
        raise OutputError(f"{name} is not what the run began with. {cure}")
    references = {tuple(s.id for s in one.scenes): one for one in plan.references[known["scene"]]}
    used = tuple(
        replace(one, watch=one.watch if watched else None)
        for one, watched in zip(
            (references[tuple(ids)] for ids in known["references"]), known["watched"], strict=True
        )
    )
    try:
        return FittedReferences.from_bytes(used, content)
    except ValueError:
        raise OutputError(f"{name} is of an earlier cloudfree. {cure}") from None
