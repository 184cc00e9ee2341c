"""Settings from TOML: what is unknown or wrong is named, never ignored."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudfree.core.config import (
    GridSettings,
    MaskSettings,
    RadiometrySettings,
    RunSettings,
    SceneSettings,
)
from cloudfree.core.errors import SettingsError
from cloudfree.core.tables import build, merge, read_toml

TOML = """
[scenes]
optical_days = 3

[grid]
bands = ["B8A", "B02"]
chunk_px = 512

[masks]
cloudy = [9]
"""


def test_nested_tables_become_settings_and_the_rest_keeps_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(TOML)
    settings = build(RunSettings, read_toml(file), "run.toml")
    assert settings.scenes.optical_days == 3.0
    assert isinstance(settings.scenes.optical_days, float)
    assert settings.grid == GridSettings(bands=("B8A", "B02"), chunk_px=512)
    assert settings.masks == MaskSettings(cloudy=(9,))
    assert settings.radiometry == RadiometrySettings()


@pytest.mark.parametrize(
    ("table", "near"),
    [
        ({"grids": {}}, "grid"),
        ({"scenes": {"optical_day": 3}}, "optical_days"),
        ({"masks": {"dilation": 3.0}}, "dilation_m"),
    ],
)
def test_an_unknown_key_names_the_nearest(table: dict[str, Any], near: str) -> None:
    with pytest.raises(SettingsError, match=f"run.toml.*unknown key .* {near!r}"):
        build(RunSettings, table, "run.toml")


@pytest.mark.parametrize(
    "table",
    [
        {"grid": 3},
        {"grid": {"chunk_px": "512"}},
        {"grid": {"chunk_px": 512.0}},
        {"grid": {"chunk_px": True}},
        {"grid": {"bands": "B02"}},
        {"grid": {"bands": ["B02", 3]}},
        {"scenes": {"sar_days": True}},
        {"scenes": {"sar_days": "six"}},
        {"masks": {"cloudy": [8.5]}},
    ],
)
def test_a_value_of_another_type_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="give a value of type"):
        build(RunSettings, table, "run.toml")


@pytest.mark.parametrize(
    "table",
    [
        {"grid": {"chunk_px": 300}},
        {"grid": {"chunk_px": 0}},
        {"grid": {"bands": []}},
        {"grid": {"bands": ["B02", "B02"]}},
        {"grid": {"bands": ["B14"]}},
        {"grid": {"resolution_m": 0}},
        {"grid": {"resolution_m": 1e-9}},
        {"grid": {"resolution_m": math.inf}},
        {"grid": {"resolution_m": 10**400}},
        {"grid": {"chunk_px": 256 * 10**20}},
        {"engine": {"drain_s": math.nan}},
        {"scenes": {"optical_days": -1}},
        {"scenes": {"sar_days": 0}},
        {"scenes": {"sar_days": math.nan}},
        {"radiometry": {"low_percent": 50, "high_percent": 50}},
        {"radiometry": {"sample_windows": 0}},
        {"scenes": {"min_seen": 1.1}},
        {"scenes": {"min_seen": math.nan}},
        {"masks": {"dilation_m": -0.1}},
        {"masks": {"dilation_m": math.inf}},
        {"masks": {"min_area_m2": -1.0}},
        {"masks": {"min_area_m2": 10_001}},
        {"masks": {"source": ""}},
        {"masks": {"detector": "none"}},
        {"masks": {"cloudy": [8, 12]}},
        {"masks": {"cloudy": [0]}},
        {"masks": {"cloudy": [3, 9]}},
        {"restoration": {"batch_windows": 0}},
        {"cube": {"attempts": 0}},
        {"cube": {"patience_s": -1}},
        {"cube": {"timeout_s": 0}},
        {"cube": {"retry_delay_s": math.nan}},
        {"cube": {"requests_per_host": 0}},
        {"engine": {"workers": 0}},
        {"engine": {"reader_threads": 0}},
        {"kubernetes": {"namespace": "Cloudfree"}},
        {"kubernetes": {"namespace": "a" * 64}},
        {"kubernetes": {"image": ""}},
        {"kubernetes": {"gpu_image": "a b"}},
        {"kubernetes": {"workers_min": 0}},
        {"kubernetes": {"workers_min": 3, "workers_max": 2}},
        {"kubernetes": {"gpu_workers": -1}},
        {"kubernetes": {"patience_s": 0}},
    ],
)
def test_a_value_out_of_range_is_refused_with_its_source(table: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^run\.toml: "):
        build(RunSettings, table, "run.toml")


@pytest.mark.parametrize("days", [math.inf, 1e10])
def test_a_span_that_no_calendar_holds_is_refused(days: float) -> None:
    with pytest.raises(SettingsError):
        SceneSettings(optical_days=days)


@dataclass(frozen=True, kw_only=True)
class Point:
    x: int
    y: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Line:
    points: tuple[Point, ...]


def test_tuples_of_settings_are_built() -> None:
    line = build(Line, {"points": [{"x": 1}, {"x": 2, "y": 5}]}, "line.toml")
    assert line == Line(points=(Point(x=1), Point(x=2, y=5.0)))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match=r"missing.*x"):
        build(Point, {"y": 1.0}, "point.toml")


def test_overrides_lie_over_the_file_and_none_is_not_given() -> None:
    tables = {"grid": {"crs": "utm", "chunk_px": 512}, "scenes": {"sar_days": 2}}
    overrides = {"grid": {"crs": "EPSG:32633", "chunk_px": None}, "engine": {"workers": None}}
    merged = merge(tables, overrides)
    assert merged == {"grid": {"crs": "EPSG:32633", "chunk_px": 512}, "scenes": {"sar_days": 2}}
    assert tables["grid"]["crs"] == "utm"


def test_an_override_of_what_is_no_table_is_refused_in_words() -> None:
    with pytest.raises(SettingsError):
        build(RunSettings, merge({"grid": 3}, {"grid": {"crs": "utm"}}), "run.toml")


@pytest.mark.parametrize("text", [b"[grid", b"\xff\xfe", None])
def test_a_file_that_is_missing_or_not_toml_is_refused(tmp_path: Path, text: bytes | None) -> None:
    file = tmp_path / "run.toml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(SettingsError, match=r"run\.toml"):
        read_toml(file)
