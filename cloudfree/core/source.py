"""Where a pixel of the product comes from: the codes of its ``source`` layer."""

NODATA, SEEN, RECONSTRUCTED, NOT_RESTORED, OTHER_DAYS = 0, 1, 2, 3, 4
