"""Tables of providers: built in, of a user's own, and which of them are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudfree.core.bands import BANDS
from cloudfree.core.config import CatalogSettings
from cloudfree.core.errors import SettingsError
from cloudfree.scenes.harmonisation import find_offset
from cloudfree.scenes.providers import OpticalCollection, built_in, find_sources, load_provider


@pytest.mark.parametrize("name", built_in())
def test_built_in_tables_are_whole(name: str) -> None:
    provider = load_provider(name)
    assert provider.name == name
    assert provider.optical
    assert provider.proof
    assert set(provider.optical[0].assets) <= {*BANDS, "SCL"}
    assert any(not radar.terrain_corrected for radar in provider.radar)
    assert bool(provider.address) == (name != "local")


def test_nothing_set_asks_the_planetary_computer_for_both() -> None:
    sources = find_sources(CatalogSettings(), None)
    assert sources.optical_address == sources.radar_address
    assert sources.optical_address.startswith("https://planetarycomputer.microsoft.com/")
    assert list(sources.collections) == ["sentinel-2-l2a", "sentinel-1-rtc"]


def test_the_radar_is_chosen_apart_from_the_optical() -> None:
    sources = find_sources(CatalogSettings(provider="earth-search"), None)
    assert "earth-search" in sources.optical_address
    assert "planetarycomputer" in sources.radar_address
    assert list(sources.collections) == ["sentinel-2-c1-l2a", "sentinel-2-l2a", "sentinel-1-rtc"]


def test_a_catalog_of_ones_own_is_read_by_the_local_table_or_by_a_named_one() -> None:
    local = find_sources(CatalogSettings(), "items.json")
    assert (local.optical.name, local.optical_address) == ("local", "items.json")
    named = find_sources(CatalogSettings(provider="earth-search"), "http://127.0.0.1:1")
    assert (named.optical.name, named.radar.name) == ("earth-search", "local")
    assert named.optical_address == named.radar_address == "http://127.0.0.1:1"


@pytest.mark.parametrize("name", ["earth-search", "copernicus"])
def test_radar_without_terrain_correction_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(SettingsError, match="sentinel-1-grd, which is not corrected") as caught:
        find_sources(CatalogSettings(radar_provider=name), None)
    assert "relief" in str(caught.value)
    assert "--radar-provider planetary-computer" in str(caught.value)


def test_the_local_table_has_no_address() -> None:
    with pytest.raises(SettingsError, match="has no address of its own; give --stac"):
        find_sources(CatalogSettings(provider="local"), None)


MINE = """
address = "https://example.com/stac"

[[optical]]
id = "s2"
level = "L2A"
offset = "asset"
cloud = "cover"

[optical.assets]
B04 = "red_10m"

[[radar]]
id = "s1"
kind = "sigma0-tc"
"""


def test_a_users_own_table(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    mine = str(tmp_path / "mine.toml")
    sources = find_sources(CatalogSettings(provider=mine, radar_provider=mine), None)
    assert (sources.optical.name, sources.optical.proof) == ("mine", "its own table")
    assert sources.optical_address == "https://example.com/stac"
    s2 = sources.collections["s2"]
    assert isinstance(s2, OpticalCollection)
    assert (s2.assets, s2.cloud) == ({"B04": "red_10m"}, "cover")
    named = {"red_10m": {"raster:bands": [{"offset": -0.1, "scale": 1e-4}]}}
    assert find_offset(s2, {}, named).dn == -1000


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (('offset = "asset"', 'offset = "date"'), "give one of baseline, asset, flag, item"),
        (('level = "L2A"', 'level = "L3"'), "give L1C or L2A"),
        (("[[radar]]", "[[radars]]"), "nearest known one is 'radar'"),
        (('address = "https', 'signing = "magic"\naddress = "https'), "give one of none"),
        (('id = "s1"\n', ""), "keys are missing among id"),
        (('B04 = "red_10m"', "B04 = 4"), "B04 is 4"),
    ],
)
def test_a_wrong_table_is_named_in_one_line(
    tmp_path: Path, change: tuple[str, str], hint: str
) -> None:
    assert change[0] in MINE
    (tmp_path / "mine.toml").write_text(MINE.replace(*change))
    with pytest.raises(SettingsError, match=hint) as caught:
        load_provider(str(tmp_path / "mine.toml"))
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="built in are copernicus, earth-search, local"):
        load_provider("nasa")
