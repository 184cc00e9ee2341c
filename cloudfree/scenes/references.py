"""Row 3 of the walk: for each scene the other datatakes that its hidden pixels are made of.

They belong to the scene, not to the area: two areas that share a scene make it of the same ones,
as long as the catalog tells both of what lies over the whole scene.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from cloudfree.core.config import ReferenceSettings
from cloudfree.scenes.overpasses import (
    OVERPASS,
    UNKNOWN_CLOUD_PERCENT,
    coverage,
    drop_twins,
    group_overpasses,
    prefer_collections,
    time_of,
)
from cloudfree.scenes.scene import Reference, Scene

_DAY = dt.timedelta(days=1)
_DAY_COST = 0.01
"""A datatake ten days further away must show a tenth more of the scene."""
_WORTH_SHARE = 0.02
"""What a datatake is likely to show of a scene, at least; and what each of its scenes adds."""


def choose_references(
    target: Scene,
    scenes: Iterable[Scene],
    *,
    collections: tuple[str, ...],
    bands: tuple[str, ...],
    settings: ReferenceSettings,
) -> tuple[Reference, ...]:
    """Return the datatakes that serve a scene, in the order of time.

    Of optical ``scenes`` of ``collections`` (in order of preference, after the target's own) within
    ``settings.days`` those are taken that are likely to show most of the target, less a hundredth
    for each day of distance: as many before as after it where there are as many. They may be too
    cloudy to be restored themselves. Only metadata decide. Those that lack one of ``bands`` do not
    serve.
    """
    if settings.days == 0:
        return ()
    limit = dt.timedelta(days=settings.days)
    near = [
        scene
        for scene in scenes
        if scene.collection in collections
        and abs(scene.time - target.time) <= limit
        and scene.footprint.intersects(target.footprint)
        and all(scene.href(band) for band in bands)
    ]
    order = (target.collection, *(one for one in collections if one != target.collection))
    found = [
        _refer(target, overpass)
        for overpass in prefer_collections(group_overpasses(drop_twins(near)), order)
        if not _is_own(target, overpass)
    ]
    worth = [one for one in found if one.covered * _clear_share(one) >= _WORTH_SHARE]
    sides = (
        sorted((one for one in worth if (one.days < 0) == earlier), key=_by_score)
        for earlier in (True, False)
    )
    ranked = [(rank, _by_score(one), one) for side in sides for rank, one in enumerate(side)]
    ranked.sort(key=lambda entry: entry[:2])
    chosen = [one for _, _, one in ranked[: settings.most]]
    return tuple(sorted(chosen, key=lambda one: (time_of(one.scenes), one.scenes[0].id)))


def _is_own(target: Scene, overpass: tuple[Scene, ...]) -> bool:
    """Return whether an overpass is the target's, in whatever collection."""
    return overpass[0].platform == target.platform and any(
        abs(scene.time - target.time) < OVERPASS for scene in overpass
    )


def _refer(target: Scene, overpass: tuple[Scene, ...]) -> Reference:
    """Return an overpass as a reference: of its scenes those that add to what it covers.

    That of the target's own tile comes first, whose pixels lie as the target's do.
    """
    ground = target.footprint
    taken: list[Scene] = []
    for scene in sorted(
        overpass, key=lambda one: (one.tile != target.tile, -coverage((one,), ground), one.id)
    ):
        if not taken or coverage((*taken, scene), ground) - coverage(taken, ground) >= _WORTH_SHARE:
            taken.append(scene)
    shares = [coverage((scene,), ground) for scene in taken]
    clouds = [
        UNKNOWN_CLOUD_PERCENT if scene.cloud_percent is None else scene.cloud_percent
        for scene in taken
    ]
    weighted = sum(share * cloud for share, cloud in zip(shares, clouds, strict=True))
    return Reference(
        scenes=tuple(taken),
        days=round((time_of(taken) - target.time) / _DAY),
        covered=coverage(taken, ground),
        cloud_percent=weighted / max(sum(shares), 1e-9),
    )


def _clear_share(reference: Reference) -> float:
    return 1 - reference.cloud_percent / 100


def _by_score(reference: Reference) -> tuple[float, int, str]:
    """Return what sorts the best first; of equal ones the nearer, then by id."""
    score = reference.covered * _clear_share(reference) - _DAY_COST * abs(reference.days)
    return -score, abs(reference.days), reference.scenes[0].id
