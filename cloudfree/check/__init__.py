"""The self-check: seen pixels hidden in some places, restored, and compared with what was seen.

``selfcheck`` does it, ``places`` chooses where, ``figures`` sums up and calibrates. A *place* is a
square of 256 px here, and nothing else anywhere. Imports ``planning``, ``walk`` and below;
``figures`` and ``places`` are arithmetic. ``engine`` calls it.
docs/internals/checking.md says more.
"""
