"""cloudfree: clouds removed from Sentinel-2, with other days and Sentinel-1, over wide areas.

>>> import cloudfree
>>> cloudfree.load_model("baseline").contract.name
'baseline'
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudfree.api import load_model, open_cube, plan, run
    from cloudfree.core.config import RunSettings
    from cloudfree.core.errors import CloudfreeError, RequestError
    from cloudfree.core.types import Model
    from cloudfree.engine.pipeline import Outcome
    from cloudfree.own_cube import restore_cube
    from cloudfree.planning.plan import Plan
    from cloudfree.synthetic.scenes import write_scenes

    __version__: str

_HOMES = {
    "CloudfreeError": "core.errors",
    "Model": "core.types",
    "Outcome": "engine.pipeline",
    "Plan": "planning.plan",
    "RequestError": "core.errors",
    "RunSettings": "core.config",
    "load_model": "api",
    "open_cube": "api",
    "plan": "api",
    "restore_cube": "own_cube",
    "run": "api",
    "write_scenes": "synthetic.scenes",
}
"""Public name -> the module that holds it; imported when first asked for (PEP 562), because
``import cloudfree`` must not wait for torch, dask and GDAL."""

__all__ = [
    "CloudfreeError",
    "Model",
    "Outcome",
    "Plan",
    "RequestError",
    "RunSettings",
    "__version__",
    "load_model",
    "open_cube",
    "plan",
    "restore_cube",
    "run",
    "write_scenes",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("cloudfree")
    if name not in _HOMES:
        raise AttributeError(f"module 'cloudfree' has no attribute {name!r}")
    value = getattr(import_module(f"cloudfree.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
