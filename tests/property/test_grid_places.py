"""Wherever a place lies: its zone, and what metres are there, by other means than ours."""

import math

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.crs import CRS
from pyproj import Geod, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info

from cloudfree.geometry.crs import choose_crs
from cloudfree.geometry.ground import measure_scale

GEOD = Geod(ellps="WGS84")
longitudes, latitudes = st.floats(-179.9, 179.9), st.floats(-79.9, 83.9)
systems = st.sampled_from(["EPSG:3857", "EPSG:6933", "utm", "equal-area", "EPSG:3031", "EPSG:3035"])


@settings(max_examples=100, deadline=None)
@given(longitude=longitudes, latitude=latitudes)
def test_a_small_area_gets_the_zone_that_epsg_has_there(longitude: float, latitude: float) -> None:
    area = shapely.Point(longitude, latitude).buffer(0.005)
    west, south, east, north = area.bounds
    found = choose_crs(area, "utm", {}).epsg
    known = query_utm_crs_info("WGS 84", AreaOfInterest(west, south, east, north))
    norway = 0 <= longitude <= 42 and (latitude >= 71.9 or 55.9 <= latitude <= 64.1)
    assert norway or str(found) in [one.code for one in known]


@settings(max_examples=60, deadline=None)
@given(longitude=longitudes, latitude=st.floats(-75, 75), system=systems)
def test_scales_are_those_of_geodesics(longitude: float, latitude: float, system: str) -> None:
    area = shapely.Point(longitude, latitude).buffer(1e-4)
    crs = choose_crs(area, system, {})
    if system == "EPSG:3035" and math.hypot(longitude - 10, latitude - 52) > 60:
        return
    if system == "EPSG:3031" and latitude > 0:
        return
    scale = measure_scale(CRS(crs), area)
    to_crs = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True)
    x, y = to_crs.transform(longitude, latitude)
    corners = [(x - 50, y - 50), (x + 50, y - 50), (x + 50, y + 50), (x - 50, y + 50)]
    lon, lat = to_crs.transform(*zip(*corners, strict=True), direction="INVERSE")
    square_m2 = abs(GEOD.polygon_area_perimeter(lon, lat)[0])
    assert scale.smallest_m2 == pytest.approx(square_m2 / 1e4, rel=1e-4)
    assert scale.largest_m2 == pytest.approx(square_m2 / 1e4, rel=1e-4)
    sides = GEOD.inv(lon, lat, [*lon[1:], lon[0]], [*lat[1:], lat[0]])[2]
    assert scale.shortest - 1e-4 <= min(sides) / 100 <= max(sides) / 100 <= scale.longest + 1e-4
