"""One chunk of one step: measure, read, restore, write, mark. No Dask.

``measure`` is row 5 (a sample of each scene), ``chunk`` rows 6 to 13, ``chunk_pixels`` row 12 in
it; ``run_facts`` is what a job knows and what rows hand on. Imports ``product``, ``restoration``,
``pixels`` and below. ``engine`` makes jobs of it; ``check`` takes rows 9 to 12.
"""
