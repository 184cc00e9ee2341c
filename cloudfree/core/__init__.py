"""Values that everything else is written in: errors, types, bands, settings, a model's contract.

Each fact that several rooms share has its home here: ``config`` the defaults, ``bands`` names and
wavelengths, ``source`` where a pixel comes from, ``keys`` what identifies a product. Imports no
other room. Used by all.
"""
