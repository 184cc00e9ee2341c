"""Other days: pixels made from observations of the same pixel on other days.

``references`` holds what was observed, ``harmonise`` brings it to the target's numbers, ``vetoes``
drops what is cloud, snow or changed ground, ``evidence`` lays out what a pixel has. ``experts``
each estimate a pixel from it, ``referee`` weights them by the error that they showed on hidden seen
pixels of the scene. ``scene_fit`` is all of it for one scene, kept as plain arrays. Each pixel is
made for itself: no context, no halo. NumPy, SciPy and torch only.
docs/internals/other_days.md says more.
"""

from cloudfree.restoration.other_days.references import References, Sample
from cloudfree.restoration.other_days.sampling import Window, join_windows
from cloudfree.restoration.other_days.scene_fit import MadePixels, SceneFit, fit_scene, make_pixels

__all__ = [
    "MadePixels",
    "References",
    "Sample",
    "SceneFit",
    "Window",
    "fit_scene",
    "join_windows",
    "make_pixels",
]
