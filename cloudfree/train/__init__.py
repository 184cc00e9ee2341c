"""Training of both GANs: pairs, clouds, losses, the loop, scores beside baselines, evaluation.

Imports ``restoration``, ``gan``, ``synthetic`` (clouds) and ``core``, and no geospatial library
outside of ``readers``. ``cli`` alone calls it; what it gives a run is a bundle (``ship``).
"""
