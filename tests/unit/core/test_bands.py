"""How catalogs spell bands."""

import pytest

from cloudfree.core.bands import BANDS, RGB, SCENE_CLASSIFICATION, choose_shown, find_asset_key

PLANETARY = ("AOT", "B02", "B03", "B04", "B8A", "SCL", "visual")
EARTH_SEARCH = ("aot", "blue", "green", "nir", "nir08", "red", "red-jp2", "scl")


@pytest.mark.parametrize(
    ("band", "keys", "expected"),
    [
        ("B04", PLANETARY, "B04"),
        ("B04", EARTH_SEARCH, "red"),
        ("B8A", EARTH_SEARCH, "nir08"),
        ("B08", EARTH_SEARCH, "nir"),
        ("B08", PLANETARY, None),
        (SCENE_CLASSIFICATION, PLANETARY, "SCL"),
        (SCENE_CLASSIFICATION, EARTH_SEARCH, "scl"),
        ("vv", ("VV", "VH"), "VV"),
        ("vv", ("hh", "hv"), None),
        ("B04", (), None),
    ],
)
def test_asset_keys_by_product_or_common_name(
    band: str, keys: tuple[str, ...], expected: str | None
) -> None:
    assert find_asset_key(band, keys) == expected


def test_no_two_bands_share_a_name() -> None:
    names = [name.lower() for name in BANDS] + [band.common_name for band in BANDS.values()]
    assert len(set(names)) == len(names) == 26


def test_true_colour_is_red_green_blue() -> None:
    assert [BANDS[name].common_name for name in RGB] == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("B02", "B08", "B04", "B03"), [2, 3, 0]),
        (("B12", "B11", "B8A", "B04"), [0, 1, 2]),
        (("B08", "B04"), [0, 1, 1]),
        (("B08",), [0, 0, 0]),
    ],
)
def test_pictures_are_shown_in_true_colour_or_their_first_bands(
    bands: tuple[str, ...], shown: list[int]
) -> None:
    assert choose_shown(bands) == shown
