"""Single assets from a server that fails in one way at a time."""

from __future__ import annotations

import pickle
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from cloudfree.core.config import CubeSettings
from cloudfree.core.errors import ReadError, UnreachableError
from cloudfree.core.types import Signer, Unsigned
from cloudfree.pixels.cube import read_asset
from cloudfree.pixels.remote import Fetcher
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.servers.faults import Faults
from tests.servers.processes import serve, serve_files
from tests.servers.signing import TokenSigner

QUICK = CubeSettings(attempts=20, timeout_s=0.5, retry_delay_s=0.01)
WHERE = Window(100, 200, 500, 300)
WITHOUT_RANGES = """
import http.server, socket, sys
server = http.server.HTTPServer(("", 0), http.server.SimpleHTTPRequestHandler, False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""


def read(href: str, settings: CubeSettings = QUICK, signer: Signer | None = None) -> tuple:
    """Return the pixels of a window, and the retries."""
    fetcher = Fetcher(settings, signer or Unsigned())
    pixels = read_asset((href,), fetcher, lambda source: source.read(1, window=WHERE))
    return pixels, fetcher.retries


def truth(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1, window=WHERE)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("unavailable", "throttled"),
        ("throttled", "throttled"),
        ("truncated", "truncated"),
        ("shortened", "truncated"),
        ("hanging", "hanging"),
        ("reset", "reset"),
    ],
)
def test_each_fault_is_known_for_what_it_is_and_outlived(
    scenes: SyntheticScenes, fault: str, kind: str
) -> None:
    folder = scenes.items.parent
    with serve_files(folder, Faults(**{fault: 0.7}, retry_after_s=0, seed=1)) as server:
        pixels, retries = read(f"{server.files}/B04.tif")
        made = server.told().faults
    np.testing.assert_array_equal(pixels, truth(folder / "B04.tif"))
    assert retries == {kind: made[fault]}
    assert made[fault] > 0


def test_a_truncated_answer_is_never_taken_for_the_file(scenes: SyntheticScenes) -> None:
    """GDAL's own HTTP layer keeps half of a header or tile as if it were all of it."""
    folder = scenes.items.parent
    with serve_files(folder, Faults(truncated=1.0)) as server:
        for _ in range(2):
            with pytest.raises(UnreachableError, match="the answer is truncated"):
                read(f"{server.files}/B04.tif", CubeSettings(attempts=3, retry_delay_s=0.01))


def test_signatures_are_renewed_when_they_expire(scenes: SyntheticScenes) -> None:
    folder = scenes.items.parent
    with serve_files(folder, Faults(token_uses=3)) as server:
        signer = TokenSigner(server.address)
        total: Counter[str] = Counter()
        for _ in range(4):
            pixels, retries = read(f"{server.files}/B04.tif", signer=signer)
            np.testing.assert_array_equal(pixels, truth(folder / "B04.tif"))
            total.update(retries)
        assert total == {"expired": server.told().faults["expired"]}
    assert total["expired"] >= 2


def test_an_expired_link_that_nobody_can_sign_fails_at_once(scenes: SyntheticScenes) -> None:
    with serve_files(scenes.items.parent, Faults(token_uses=1)) as server:
        with pytest.raises(
            ReadError, match=r"B04\.tif: the server answers 403, it wants a sign-in"
        ) as caught:
            read(f"{server.files}/B04.tif?sig=secret-of-last-week")
        assert server.told().faults == {"expired": 1}
    assert not isinstance(caught.value, UnreachableError)
    assert "secret" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_server_that_asks_for_time_gets_it(scenes: SyntheticScenes) -> None:
    settings = CubeSettings(attempts=2, retry_delay_s=0.01)
    with serve_files(scenes.items.parent, Faults(throttled=1.0, retry_after_s=2)) as server:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="429, throttled, given up after 2 attempts"):
            read(f"{server.files}/B04.tif", settings)
    assert time.monotonic() - began >= 2


def test_patience_ends_where_waiting_would_outlast_it(scenes: SyntheticScenes) -> None:
    settings = CubeSettings(patience_s=5.0)
    with serve_files(scenes.items.parent, Faults(throttled=1.0, retry_after_s=60)) as server:
        with pytest.raises(UnreachableError, match="given up after 1 attempts in 0 s"):
            read(f"{server.files}/B04.tif", settings)
        assert server.told().requests == 1


def test_a_missing_file_is_asked_for_once(scenes: SyntheticScenes) -> None:
    with serve_files(scenes.items.parent, Faults()) as server:
        with pytest.raises(ReadError, match=r"B99\.tif: the server answers 404, missing") as caught:
            read(f"{server.files}/B99.tif")
        assert server.told().requests == 1
    assert not isinstance(caught.value, UnreachableError)


def test_a_file_that_is_no_raster_is_named_without_its_signature(tmp_path: Path) -> None:
    (tmp_path / "B04.tif").write_bytes(b"<html>Down for the night</html>")
    with (
        serve_files(tmp_path, Faults()) as server,
        pytest.raises(ReadError, match=r"B04\.tif.*not recognized") as caught,
    ):
        read(f"{server.files}/B04.tif?sig=secret")
    assert "secret" not in str(caught.value)


def test_a_page_to_sign_in_is_told_from_a_server_without_ranges() -> None:
    with (
        serve(lambda number: [sys.executable, "-c", WITHOUT_RANGES, str(number)]) as address,
        pytest.raises(ReadError, match="a web page instead of the file, such as one to sign in"),
    ):
        read(f"{address}/")  # its list of files


def test_a_server_without_ranges_is_told_at_once(scenes: SyntheticScenes) -> None:
    with (
        serve(lambda number: [sys.executable, "-c", WITHOUT_RANGES, str(number)]) as address,
        pytest.raises(ReadError, match="the server does not serve ranges") as caught,
    ):
        read(f"{address}/pyproject.toml")
    assert not isinstance(caught.value, UnreachableError)


def test_no_more_requests_are_under_way_at_a_host_than_allowed(scenes: SyntheticScenes) -> None:
    whole = (scenes.items.parent / "B04.tif").read_bytes()
    with serve_files(scenes.items.parent, Faults(delay_s=0.05)) as server:
        fetcher = Fetcher(CubeSettings(requests_per_host=3), Unsigned())
        href = f"{server.files}/B04.tif"
        with ThreadPoolExecutor(12) as pool:
            parts = pool.map(
                lambda offset: fetcher.fetch(href, offset, 1000, attempts=4), range(0, 12000, 1000)
            )
            content = b"".join(part.content for part in parts)
        assert server.told().connections == 3
    assert content == whole[:12000]


def test_ranges_of_several_tiles_come_together(real_scenes: Path) -> None:
    where = Window(700, 0, 300, 1700)
    name = "los-angeles_cloudy_B02.tif"
    with serve_files(real_scenes, Faults(delay_s=0.05)) as server:
        fetcher = Fetcher(CubeSettings(), Unsigned())
        pixels = read_asset(
            (f"{server.files}/{name}",), fetcher, lambda source: source.read(1, window=where)
        )
        assert server.told().connections > 1
    with rasterio.open(real_scenes / name) as source:
        np.testing.assert_array_equal(pixels, source.read(1, window=where))
