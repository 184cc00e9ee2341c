"""What is there and what works on this machine, finding by finding; a failure is a finding too."""

from __future__ import annotations

import importlib
import os
import platform
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import psutil

from cloudfree.core.errors import CloudfreeError
from cloudfree.core.keys import unsigned
from cloudfree.restoration.bundle import GOLDEN_TOLERANCE, check_golden, open_bundle
from cloudfree.restoration.bundle import built_in as built_in_models
from cloudfree.scenes import catalog
from cloudfree.scenes.providers import DEFAULT, built_in, load_provider
from cloudfree.storage.outputs import open_storage

OK, WARN, FAIL = "ok", "warn", "fail"

_LIBRARIES = ("dask", "distributed", "xarray", "zarr", "pystac-client", "torch")
_DRIVERS = ("GTiff", "COG", "VRT")
_NETWORK_S = 5.0
"""A STAC API that is not heard of for so long counts as silent."""
_MEMORY_BYTES = 4e9
"""A chunk of the usual size may need as much."""
_DISK_BYTES = 2e9
"""A product, or the scratch file of a COG, may need as much."""
_REINSTALL = "install cloudfree anew, in an environment of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    """What it is about."""
    state: str
    """``ok``; ``warn``: works, with limits; ``fail``: will not work."""
    found: str
    """What was found."""
    cure: str = ""
    """What to do; empty where there is nothing to do."""


def examine(*, out: str | None, provider: str | None, offline: bool) -> Iterator[Finding]:
    """Yield findings about versions, devices, memory, disk, models, extras, network and ``out``.

    Unless ``offline``, asks the STAC API of ``provider`` or else of every built-in one: the given
    or default one fails where it does not answer, others warn. Raises a RequestError where
    ``provider`` or ``out`` is none.
    """
    storage = None if out is None else open_storage(out)
    names = [] if offline else built_in() if provider is None else [provider]
    addresses = {one.name: one.address for one in map(load_provider, names) if one.address}
    yield from _look_at_versions()
    yield from _look_at_device()
    yield from _look_at_memory()
    yield _look_at_disk("temporary files", Path(tempfile.gettempdir()))
    yield from _look_at_models()
    yield from _look_at_extras()
    with ThreadPoolExecutor(max(len(addresses), 1)) as pool:
        yield from pool.map(
            lambda name: _ask(name, addresses[name], needed=provider or DEFAULT), addresses
        )
    if storage is not None:
        if storage.folder is not None:
            yield _look_at_disk("out", storage.folder)
        yield _try_store(storage.address)


def _look_at_versions() -> Iterator[Finding]:
    python = f"{platform.python_version()} on {platform.platform()}"
    yield Finding(topic="cloudfree", state=OK, found=metadata.version("cloudfree"))
    yield Finding(topic="python", state=OK, found=python)
    for name in _LIBRARIES:
        yield _try_library(name, partial(_load, name), _REINSTALL)
    yield _try_library("gdal", _try_gdal, _REINSTALL)
    others = "remove PROJ_DATA, PROJ_LIB and GDAL_DATA of other programs from the environment"
    yield _try_library("proj", _try_proj, others)


def _try_library(topic: str, load: Callable[[], str], cure: str) -> Finding:
    """Return the version that ``load`` gives; a library can fail to load in any way."""
    try:
        return Finding(topic=topic, state=OK, found=load())
    except Exception as error:  # whatever its own code or a shared library raises is the finding
        return Finding(topic=topic, state=FAIL, found=f"does not work: {_line(error)}", cure=cure)


def _load(name: str) -> str:
    importlib.import_module(name.replace("-", "_"))
    return metadata.version(name)


def _try_gdal() -> str:
    import rasterio

    with rasterio.Env() as environment:
        missing = set(_DRIVERS) - set(environment.drivers())
    if missing:
        raise RuntimeError(f"it has no driver {', '.join(sorted(missing))}")
    return f"{rasterio.__gdal_version__} in rasterio {rasterio.__version__}"


def _try_proj() -> str:
    import pyproj
    import rasterio
    from rasterio.crs import CRS

    CRS.from_epsg(32633)  # both bring a PROJ, and either may find tables of another one
    pyproj.CRS.from_epsg(32633)
    return f"{rasterio.__proj_version__} in rasterio, {pyproj.proj_version_str} in pyproj"


def _look_at_device() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        import torch
    except Exception:  # whatever torch raises on loading: told among the versions
        yield Finding(topic="processor", state=OK, found=f"{usable} CPUs to use")
        return
    threads = f"{usable} CPUs to use of {os.cpu_count()}, {torch.get_num_threads()} threads"
    yield Finding(topic="processor", state=OK, found=threads)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield _look_at_gpu(number)
    elif Path("/dev/nvidia0").exists():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        found = f"there is one, and torch {torch.__version__}, built {built}, does not see it"
        cure = "install a build of torch that fits the driver, or go without"
        yield Finding(topic="gpu", state=WARN, found=found, cure=cure)
    else:
        yield Finding(topic="gpu", state=OK, found="none; models run on the processor")


def _look_at_gpu(number: int) -> Finding:
    import torch

    name = torch.cuda.get_device_name(number)
    try:
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        cure = "see what else uses it (nvidia-smi), or run with --gpu off"
        return Finding(topic="gpu", state=FAIL, found=f"{name}: {_line(error)}", cure=cure)
    found = f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return Finding(topic="gpu", state=OK, found=found)


def _look_at_memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    try:
        from distributed import system

        most = system.MEMORY_LIMIT  # knows of containers
    except Exception:  # whatever dask raises on loading: told among the versions
        most = memory.total
    free = min(memory.available, most)
    found = f"{free / 1e9:.1f} of {min(memory.total, most) / 1e9:.1f} GB free"
    little = free < _MEMORY_BYTES
    cure = "give a smaller --chunk-px and --workers 1" if little else ""
    yield Finding(topic="memory", state=WARN if little else OK, found=found, cure=cure)


def _look_at_disk(topic: str, folder: Path) -> Finding:
    free = open_storage(folder).free_bytes() or 0
    found, little = f"{free / 1e9:.1f} GB free in {folder}", free < _DISK_BYTES
    cure = "make room, or choose another disk (--out, TMPDIR)" if little else ""
    return Finding(topic=topic, state=WARN if little else OK, found=found, cure=cure)


def _look_at_models() -> Iterator[Finding]:
    models = built_in_models()
    if not models:
        yield Finding(topic="model", state=FAIL, found="none is built in", cure=_REINSTALL)
    for name in models:
        try:
            bundle = open_bundle(name)
            error = check_golden(bundle)
        except Exception as reason:  # of a bundle, or whatever torch raises on loading: the finding
            yield Finding(topic="model", state=FAIL, found=f"{name}: {_line(reason)}")
            continue
        wrong = error > GOLDEN_TOLERANCE
        yield Finding(
            topic="model",
            state=FAIL if wrong else OK,
            found=f"{name} {bundle.contract.version}, golden file within {error:.1g}",
            cure="do not use it here: its numbers are wrong" if wrong else "",
        )


def _look_at_extras() -> Iterator[Finding]:
    """StepPictures which optional packages are there, by what the package says of itself."""
    wanted: dict[str, list[str]] = {}
    for requirement in metadata.requires("cloudfree") or ():
        found = re.match(r"([\w.-]+).*;\s*extra\s*==\s*['\"](\w+)['\"]", requirement)
        if found and found[2] not in ("dev", "test"):  # for work on cloudfree itself
            wanted.setdefault(found[2], []).append(found[1])
    for extra, names in sorted(wanted.items()):
        missing = [name for name in names if not _is_installed(name)]
        without = f"not installed: {', '.join(missing)}"
        yield Finding(
            topic="extra",
            state=OK,
            found=f"{extra}: {without if missing else 'installed'}",
            cure=f"pip install 'cloudfree[{extra}]' where you want it" if missing else "",
        )


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _ask(name: str, address: str, needed: str) -> Finding:
    try:
        title = catalog.greet(address, _NETWORK_S)
    except CloudfreeError as error:
        state = FAIL if name == Path(needed).stem else WARN
        return Finding(topic="network", state=state, found=f"{name}: {_line(error)}")
    return Finding(
        topic="network", state=OK, found=f"{name}: {title} answers at {unsigned(address)}"
    )


def _try_store(address: str) -> Finding:
    """Write, read and remove a small object under a name of its own.

    In a folder that is not there yet, it is tried in the nearest one above.
    """
    storage = open_storage(address)
    if (folder := storage.folder) is not None:
        storage = open_storage(next(one for one in (folder, *folder.parents) if one.exists()))
    name, content = f"cloudfree-doctor-{uuid.uuid4().hex}", b"cloudfree"
    try:
        storage.write(name, content)
        try:
            same = storage.read(name) == content
        finally:
            storage.remove(name)
    except CloudfreeError as error:
        return Finding(topic="store", state=FAIL, found=_line(error))
    if not same:
        found = f"{storage.address} gives back something else than was written"
        return Finding(topic="store", state=FAIL, found=found, cure="give another --out")
    found = f"{storage.address} was written to, read and cleaned"
    return Finding(topic="store", state=OK, found=found)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, CloudfreeError) else f"{type(error).__name__}: {text}"
