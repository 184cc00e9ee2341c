"""Who signs the links of a provider, late: just before each read, and again when refused."""

from __future__ import annotations

from dataclasses import dataclass

import planetary_computer
import pydantic
import requests
from planetary_computer.sas import TOKEN_CACHE

from cloudfree.core.errors import UnreachableError
from cloudfree.core.keys import unsigned
from cloudfree.core.types import Signer, Unsigned
from cloudfree.scenes.providers import Sources


@dataclass(frozen=True, slots=True)
class PlanetaryComputer:
    """A Signer of the Planetary Computer's links, by its own library; others stay as they are.

    The library keeps a token per container until it runs out, and asks again where its service
    falters. A subscription key and another service are taken from the library's own settings
    (``PC_SDK_SUBSCRIPTION_KEY``, ``PC_SDK_SAS_URL``).
    """

    def sign(self, href: str, *, fresh: bool = False) -> str:
        """Return the link with a token; see types.Signer."""
        bare = unsigned(href)
        if fresh:
            TOKEN_CACHE.clear()
        try:
            signed = planetary_computer.sign_url(bare)
        except (requests.RequestException, pydantic.ValidationError) as error:
            raise UnreachableError(
                f"the Planetary Computer does not sign {bare}: {type(error).__name__}. "
                "Try again later"
            ) from None
        return href if signed == bare else signed


def find_signer(sources: Sources) -> Signer:
    """Return who signs the links of a run's scenes, by its providers' tables."""
    signings = {provider.signing for provider in (sources.optical, sources.radar)}
    return PlanetaryComputer() if "planetary-computer" in signings else Unsigned()
