"""Where a pixel of the product comes from: the codes of its ``source`` layer."""

NODATA, SEEN, RECONSTRUCTED, NOT_RESTORED = 0, 1, 2, 3
