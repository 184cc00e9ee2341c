"""The overlays of deploy/kubernetes, built once."""

from __future__ import annotations

import pytest

from tests.manifests import OVERLAYS, Manifest, build_overlay


@pytest.fixture(scope="session")
def built() -> dict[str, list[Manifest]]:
    """Overlay -> its objects, as kubectl builds them."""
    return {name: build_overlay(name) for name in OVERLAYS}
