"""A provider's signatures, as the file server of the tests gives them."""

from __future__ import annotations

from tests.servers.processes import get


class TokenSigner:
    """A Signer that keeps its token until the server refuses it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.token = ""

    def sign(self, href: str, *, fresh: bool = False) -> str:
        """Return the link with the token that is kept, or with a fresh one."""
        if fresh or not self.token:
            self.token = get(f"{self.address}/token").decode()
        return f"{href}?sig={self.token}"
