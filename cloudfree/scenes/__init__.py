"""Finding scenes: providers' tables, the search, what a scene is, and the choice of steps.

``catalog`` alone asks STAC, ``scene`` reads its items, ``harmonisation`` finds offsets, ``choice``
takes datatakes and radar passes, ``signing`` signs links when they are read. Imports ``geometry``
and ``core``. ``planning`` calls it; everything above hands on its ``Scene`` and ``Step``.
docs/internals/scenes.md says more.
"""
