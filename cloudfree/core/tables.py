"""Settings objects from TOML tables: read, merged, and made with clear errors.

An unknown key is an error that names the nearest known one, a value of another type one that says
which is wanted. ``config`` and the trainings' settings hold the objects.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from cloudfree.core.errors import SettingsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
_LARGEST = 1e9
"""No setting is larger; NaN and infinity are none either."""


def require(condition: bool, message: str) -> None:
    """Raise SettingsError with the message unless the condition holds."""
    if not condition:
        raise SettingsError(message)


def build(cls: type[T], table: dict[str, Any], where: str) -> T:
    """Make a settings dataclass from a TOML table, whole or in part.

    Raises SettingsError for an unknown key, naming the nearest known one, and for a value of
    another type. ``where`` names the source in messages.
    """
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)
    names = [item.name for item in fields]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{where}: unknown key {key!r}; the nearest known one is {near!r}")
        values[key] = _convert(hints[key], value, f"{where}: {key}")
    try:
        return cls(**values)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    except TypeError:
        needed = [item.name for item in fields if item.default is item.default_factory]
        missing = ", ".join(name for name in needed if name not in values)
        raise SettingsError(f"{where}: keys are missing among {missing}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, UnionType):  # of the form "X | None"; TOML has no None
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build(hint, value, where)
    if getattr(hint, "__origin__", None) is dict and isinstance(value, dict):
        return {
            key: _convert(hint.__args__[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if getattr(hint, "__origin__", None) is tuple and isinstance(value, list):
        return tuple(_convert(hint.__args__[0], item, where) for item in value)
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        most = f"give a number between -{_LARGEST:.0f} and {_LARGEST:.0f}"
        require(-_LARGEST <= value <= _LARGEST, f"{where} is out of range; {most}")
        value = float(value) if hint is float else value
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and isinstance(value, bool) == (hint is bool)
    ):
        return value
    names = {"tuple": "list", "dict": "table"}
    kind = getattr(hint, "__name__", str(hint))
    kind = "table" if dataclasses.is_dataclass(hint) else names.get(kind, kind)
    raise SettingsError(f"{where} is {value!r}; give a value of type {kind}")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; SettingsError where it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of TOML, UTF-8 or the path itself
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def merge(tables: dict[str, Any], overrides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Lay ``overrides`` (section -> key -> value, None meaning not given) over TOML tables."""
    merged = {name: dict(t) if isinstance(t, dict) else t for name, t in tables.items()}
    for section, values in overrides.items():
        given = {key: value for key, value in values.items() if value is not None}
        below = merged.get(section, {})
        if given and isinstance(below, dict):  # what is no table is refused by build
            merged[section] = {**below, **given}
    return merged
