"""What is written: the cube and its overviews, COGs, Item, collection, preview and report.

``layers`` and ``conventions`` hold its words, ``store``, ``overviews`` and ``cog`` write arrays,
``item``, ``provenance`` and ``report_page`` describe them, ``printout`` is what commands print.
Imports ``storage``, ``restoration``, ``pixels``' and ``scenes``' types, ``geometry``, ``core``.
``walk`` writes chunks with it, ``engine`` the rest.
"""
