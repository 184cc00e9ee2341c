"""Reading scenes: from links to one harmonised picture of a step, its masks and its radar.

``cube`` alone reads scene pixels, through ``remote`` where they lie on servers; ``radiometry`` and
``masks`` are arithmetic on them; ``observe`` is rows 6 to 8 of the walk and gives an
``observation.Observation``. Imports ``scenes``, ``geometry``, ``core``. ``walk``, ``check`` and
``engine`` call ``observe``. docs/internals/reading.md and masks.md say more.
"""
