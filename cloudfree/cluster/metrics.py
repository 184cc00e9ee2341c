"""What a worker process counts for Prometheus; served with Dask's own on its ``/metrics``."""

from __future__ import annotations

from prometheus_client import Counter

CHUNKS = Counter("cloudfree_chunks", "Chunks that ended, well or not.", ["outcome"])
PIXELS = Counter("cloudfree_pixels", "Pixels of the product that were written.")
RETRIES = Counter("cloudfree_retries", "Requests that were repeated, by kind of failure.", ["kind"])
DEVICE_SECONDS = Counter(
    "cloudfree_device_busy_seconds", "Seconds in which a model restored windows."
)

for _outcome in ("done", "failed"):
    CHUNKS.labels(_outcome)  # so that they are there, as 0, from the start
