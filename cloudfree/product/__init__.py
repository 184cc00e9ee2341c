"""What is written: the cube and its overviews, COGs, STAC, preview and report.

``layers`` and ``conventions`` hold its words, ``store``, ``overviews`` and ``cog`` write arrays,
``assets``, ``item`` and ``collection`` are the STAC of a run, ``catalog`` lists many, ``band_view``
is for loaders, ``provenance`` and ``report_page`` describe, ``printout`` is what commands print.
Imports ``storage``, ``restoration``, ``pixels``' and ``scenes``' types, ``geometry``, ``core``.
``walk`` writes chunks with it, ``engine`` the rest.
"""
