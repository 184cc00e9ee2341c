"""Painted ground, seasons, clouds and scenes, with the truth beside them.

For the demo, the notebooks, the tests, and for clouds that trainings and the self-check draw.
Imports ``scenes`` (offset rules), ``core``. ``scenes.write_scenes`` is public.
"""
