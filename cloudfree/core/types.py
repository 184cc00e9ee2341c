"""Types that every room shares: array aliases, masks, and the shape of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cloudfree.core.contract import Contract

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
Int16Array = NDArray[np.int16]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
AnyArray = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Which pixels were seen and which are to be made; where neither is True there is nothing."""

    seen: BoolArray
    """(..., y, x): True where the optical scene shows the ground."""
    made: BoolArray
    """(..., y, x): True where cloud or shadow hides the ground."""


LARGEST_ERROR = 1.0
"""In a picture's units: the middle of the picture errs by no more, whatever the truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDaysPicture:
    """What other days say of windows, in the units of their pictures."""

    picture: Float32Array
    """(n, band, y, x) in [-1, 1], stretched as the optical one; the contract's fill where none."""
    known: BoolArray
    """(n, y, x): True where there is an estimate."""
    error: Float32Array
    """(n, y, x) expected absolute error, mean over bands, at most LARGEST_ERROR; that also where
    it is not known, or where there is no estimate."""

    @classmethod
    def empty(cls, optical: Float32Array, fill: float) -> OtherDaysPicture:
        """Return it for windows (n, band, y, x) of which no other day knows anything."""
        shape = (len(optical), *optical.shape[2:])
        return cls(
            picture=np.full_like(optical, fill),
            known=np.zeros(shape, bool),
            error=np.full(shape, LARGEST_ERROR, np.float32),
        )


class Signer(Protocol):
    """Makes the links of a provider readable. Is sent to workers, so it must survive pickling."""

    def sign(self, href: str, *, fresh: bool = False) -> str:
        """Return the link with a signature, the link itself where none is needed.

        Asked just before each read, from many threads. ``fresh``: the server refused the last
        answer; an equal answer means that there is no other.
        Raises UnreachableError where the service that signs does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A Signer for links that need no signature."""

    def sign(self, href: str, *, fresh: bool = False) -> str:
        """Return the link."""
        return href


class Model(Protocol):
    """Restores windows. The wide-area engine runs anything of this shape."""

    @property
    def contract(self) -> Contract:
        """What the model expects and gives."""
        ...

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return a candidate picture for every pixel of every window.

        ``optical`` is (n, band, y, x) in [-1, 1], the contract's fill where not seen;
        ``radar`` is (n, channel, y, x), standardised, the contract's fill where missing;
        ``masks`` are (n, y, x). The answer has the shape, dtype and range of ``optical``.
        A window's answer must not depend on the other windows of its batch.
        """
        ...


@runtime_checkable
class SceneFitted(Protocol):
    """A model that learns something small from a sample of each scene before it restores it."""

    def fit(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> list[list[float]]:
        """Return what was learnt from sample windows, as plain numbers that JSON can hold."""
        ...

    def fitted(self, numbers: list[list[float]]) -> Model:
        """Return the model that uses these numbers."""
        ...


@runtime_checkable
class FusesOtherDays(Protocol):
    """A model that can be told what other days say; it is where its contract wants them."""

    def fuse(
        self,
        optical: Float32Array,
        radar: Float32Array,
        masks: Masks,
        other_days: OtherDaysPicture | None,
    ) -> Float32Array:
        """Return candidates as a Model does; None stands for other days that know nothing."""
        ...


def ask_model(
    model: Model,
    optical: Float32Array,
    radar: Float32Array,
    masks: Masks,
    other_days: OtherDaysPicture | None,
) -> Float32Array:
    """Return a model's candidates, told what other days say where there is something to tell."""
    if other_days is not None and isinstance(model, FusesOtherDays):
        return model.fuse(optical, radar, masks, other_days)
    return model(optical, radar, masks)


@runtime_checkable
class OnDevice(Protocol):
    """A model that can run on an accelerator."""

    def on_accelerator(self) -> Model:
        """Return the model on this process's accelerator; itself, with a warning, without one."""
        ...


class CloudDetector(Protocol):
    """Finds the clouds of scenes that have no classification.

    A pixel's answer depends on that pixel alone, so that any cutting of an area gives the same.
    """

    @property
    def name(self) -> str:
        """What a plan and run.json call it."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """What it reads, in the order it is given."""
        ...

    def __call__(self, reflectance: Float32Array) -> BoolArray:
        """Return (y, x): True where cloud hides the ground or some of it.

        ``reflectance`` is (band, y, x), 1 for a white surface. The answer for nodata is not used.
        """
        ...
