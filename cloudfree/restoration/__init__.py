"""Making pixels: windows through a model, blended, and fitted at the rims of clouds.

``bundle`` opens a model, ``restore`` is rows 10 and 11 of the walk, ``rims`` row 12, ``baseline``
the model without a network; ``other_days`` makes pixels of what was seen on other days, and is not
in the walk yet; ``signs_of_doubt`` and ``uncertainty`` say how sure a pixel is. Imports
``gan`` (in ``bundle`` alone), ``pixels`` (types and radiometry), ``geometry``, ``core``: no
geospatial library, so that a GPU machine needs none. Used by ``walk``, ``check``, ``train``.
docs/internals/models.md says more.
"""
