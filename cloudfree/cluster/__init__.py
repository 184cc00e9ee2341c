"""Dask: a client for a run, what its workers hold, and jobs in a bounded number.

It alone knows Dask clusters; ``kubernetes`` alone asks Kubernetes. Imports only ``core``.
``engine``, ``check`` and ``planning`` hand it jobs. docs/internals/engine.md and kubernetes.md
say more.
"""

from cloudfree.cluster.connect import connect
from cloudfree.cluster.dispatch import (
    WORKERS_DIED,
    Workers,
    count_workers,
    read_result,
    run_all,
    run_jobs,
)
from cloudfree.cluster.shared import GPU, read_shared, share, wait_for_memory

__all__ = [
    "GPU",
    "WORKERS_DIED",
    "Workers",
    "connect",
    "count_workers",
    "read_result",
    "read_shared",
    "run_all",
    "run_jobs",
    "share",
    "wait_for_memory",
]
