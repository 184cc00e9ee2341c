"""Where a pixel of the product comes from: the codes of its ``source`` layer."""

from cloudfree.core.types import AnyArray, BoolArray

NODATA, SEEN, RECONSTRUCTED, NOT_RESTORED, OTHER_DAYS = 0, 1, 2, 3, 4

COUNTED = {
    "seen": SEEN,
    "reconstructed": RECONSTRUCTED,
    "not_restored": NOT_RESTORED,
    "other_days": OTHER_DAYS,
}
"""How marks, run.json and Items call what they count."""


def is_made(source: AnyArray) -> BoolArray:
    """Return where codes say that a pixel is an estimate, whatever it was made of."""
    made: BoolArray = (source == RECONSTRUCTED) | (source == OTHER_DAYS)
    return made
