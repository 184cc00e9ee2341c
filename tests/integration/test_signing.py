"""Links of the Planetary Computer, signed by its own library against a service on loopback."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from planetary_computer.sas import TOKEN_CACHE
from planetary_computer.settings import Settings

from cloudfree.core.config import CatalogSettings
from cloudfree.core.errors import UnreachableError
from cloudfree.core.types import Unsigned
from cloudfree.scenes.providers import find_sources
from cloudfree.scenes.signing import PlanetaryComputer, find_signer

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/47/X/B04.tif"
RADAR = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/a/vv.tif"


@dataclass
class Service:
    """Counts the tokens that it gave."""

    status: int = 200
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    state = Service()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            token = {"msft:expiry": until, "token": f"sv=1&sig={len(state.asked)}"}
            body = json.dumps(token if state.status == 200 else {"no": "token"}).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("PC_SDK_SAS_URL", f"http://127.0.0.1:{server.server_port}/token")
    Settings.get.cache_clear()
    TOKEN_CACHE.clear()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
        Settings.get.cache_clear()
        TOKEN_CACHE.clear()


def test_a_token_is_asked_for_once_a_container_and_again_when_refused(service: Service) -> None:
    signer = pickle.loads(pickle.dumps(PlanetaryComputer()))
    assert signer.sign(BLOB) == f"{BLOB}?sv=1&sig=1"
    assert signer.sign(BLOB.replace("B04", "B03")).endswith("B03.tif?sv=1&sig=1")
    assert signer.sign(RADAR) == f"{RADAR}?sv=1&sig=2"
    assert signer.sign(BLOB, fresh=True) == f"{BLOB}?sv=1&sig=3"
    assert service.asked == [
        "/token/sentinel2l2a01/sentinel2-l2",
        "/token/sentinel1euwestrtc/sentinel1-grd-rtc",
        "/token/sentinel2l2a01/sentinel2-l2",
    ]


def test_a_link_that_was_signed_long_ago_is_signed_anew(service: Service) -> None:
    old = f"{BLOB}?st=2020&se=2020&sp=r&sig=old"
    assert PlanetaryComputer().sign(old) == f"{BLOB}?sv=1&sig=1"


@pytest.mark.parametrize(
    "href", ["/data/B04.tif", "https://e84.s3.amazonaws.com/B04.tif?key=1", "s3://eodata/B04.jp2"]
)
def test_links_of_others_stay_as_they_are(service: Service, href: str) -> None:
    assert PlanetaryComputer().sign(href, fresh=True) == href
    assert service.asked == []


@pytest.mark.parametrize("status", [403, 203])
def test_a_service_that_gives_no_token_is_named(service: Service, status: int) -> None:
    """It refuses, or answers something else than a token."""
    service.status = status
    with pytest.raises(UnreachableError, match="does not sign https://sentinel2l2a01") as caught:
        PlanetaryComputer().sign(f"{BLOB}?sig=secret")
    assert "secret" not in str(caught.value)


def test_who_signs_follows_from_the_providers() -> None:
    default = find_signer(find_sources(CatalogSettings(), None))
    assert default == PlanetaryComputer()
    mixed = find_sources(CatalogSettings(provider="earth-search"), None)
    assert find_signer(mixed) == PlanetaryComputer()
    assert find_signer(find_sources(CatalogSettings(), "items.json")) == Unsigned()
