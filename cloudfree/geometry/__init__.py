"""Areas, grids, positions and windows: where pixels lie, as arithmetic.

``aoi`` reads an area: what ``vector_file`` and ``geojson`` find, by ``degrees`` in longitude and
latitude. ``grid`` makes the product's grid and its chunks, ``sampling`` finds where a pixel lies in
a scene, ``windows`` which windows decide a pixel. Imports ``core``. Whatever must not depend on how
an area is cut begins here. Used by all rooms above but ``scenes``' tables. docs/internals/areas.md
says more.
"""
