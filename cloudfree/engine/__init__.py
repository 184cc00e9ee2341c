"""A run as a whole, on Dask: plan, measure, check, chunks, finish. It resumes what it finds.

``pipeline`` is the walk from end to end, ``prepare`` what is settled and written before the first
chunk, ``jobs`` chunks as Dask jobs, ``finish`` row 14 with ``step_pictures``, ``status`` how far a
run is. Imports every room below; ``api``, ``demo`` and ``cli`` call it.
docs/internals/engine.md says more.
"""
