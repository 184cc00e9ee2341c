"""A file server with HTTP ranges and drawn faults; run as a program by `processes.serve_files`.

Faults are drawn per request from a seed, by the order in which requests come. With signed links a
request needs ``?sig=TOKEN``; a token from ``/token`` is good for a number of requests.
``/told`` says how many requests came and what went wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import struct
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong; shares of all requests for files."""

    unavailable: float = 0.0
    """Answered with 503."""
    throttled: float = 0.0
    """Answered with 429 and Retry-After."""
    truncated: float = 0.0
    """Half of the body, then the connection is closed."""
    shortened: float = 0.0
    """Half of the body, and headers that call it the whole, as from a bad cache on the way."""
    hanging: float = 0.0
    """No answer for ``hang_s``, then the connection is closed."""
    reset: float = 0.0
    """The connection is reset."""
    token_uses: int = 0
    """Requests that a signature is good for; 0: links are not signed."""
    delay_s: float = 0.0
    """Every answer takes at least so long."""
    hang_s: float = 30.0
    retry_after_s: int = 1
    seed: int = 0

    def draw(self, chance: random.Random) -> str | None:
        """Return the name of a fault, or None."""
        names = ("unavailable", "throttled", "truncated", "shortened", "hanging", "reset")
        shares = [getattr(self, name) for name in names]
        return chance.choices([*names, None], [*shares, 1 - sum(shares)])[0]


class Connection(H11Protocol):
    """Lets the application reach the socket: a reset is nothing that HTTP can say."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Hand the connection to the application's state."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class FaultyFiles:
    """An application that serves what ``files`` does, when it does not fail."""

    def __init__(self, files: ASGIApp, faults: Faults) -> None:
        self.files = files
        self.faults = faults
        self.chance = random.Random(faults.seed)
        self.made: Counter[str] = Counter()
        self.requests = 0
        self.clients: set[tuple[str, int]] = set()
        self.uses: dict[str, int] = {}
        self.numbers = itertools.count()

    def make_token(self, _: Request) -> Response:
        """Return a fresh signature."""
        token = f"{next(self.numbers)}-{self.chance.getrandbits(64):x}"
        self.uses[token] = self.faults.token_uses
        return PlainTextResponse(token)

    def tell(self, _: Request) -> Response:
        """Return how many requests and connections came, and what went wrong, by kind."""
        return JSONResponse(
            {
                "requests": self.requests,
                "connections": len(self.clients),
                "faults": self.made,
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a file, or fail."""
        self.requests += 1
        self.clients.add(scope["client"])
        await asyncio.sleep(self.faults.delay_s)
        fault = self.faults.draw(self.chance)
        if fault is None and not self._is_signed(scope):
            fault = "expired"
        if fault is None:
            await self.files(scope, receive, send)
            return
        self.made[fault] += 1
        transport = scope["state"]["transport"]
        if fault == "unavailable":
            await PlainTextResponse("busy", 503)(scope, receive, send)
        elif fault == "throttled":
            wait = {"Retry-After": str(self.faults.retry_after_s)}
            await PlainTextResponse("too many", 429, wait)(scope, receive, send)
        elif fault == "expired":
            await PlainTextResponse("signature expired", 403)(scope, receive, send)
        elif fault == "truncated":
            await self.files(scope, receive, _Half(send, transport))
        elif fault == "shortened":
            await self.files(scope, receive, _Shortened(send))
        else:
            if fault == "hanging":
                await asyncio.sleep(self.faults.hang_s)
            else:  # no lingering: the kernel sends RST and not FIN
                raw: socket.socket = transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    def _is_signed(self, scope: Scope) -> bool:
        if not self.faults.token_uses:
            return True
        token = Request(scope).query_params.get("sig", "")
        self.uses[token] = self.uses.get(token, 0) - 1
        return self.uses[token] >= 0


class _Half:
    """Sends the first half of a body and closes the connection."""

    def __init__(self, send: Send, transport: asyncio.Transport) -> None:
        self.send = send
        self.transport = transport

    async def __call__(self, message: Message) -> None:
        if self.transport.is_closing():
            return
        if message["type"] != "http.response.body":
            await self.send(message)
            return
        body = message.get("body", b"")
        await self.send({**message, "body": body[: len(body) // 2], "more_body": True})
        self.transport.close()


class _Shortened:
    """Sends the first half of a body as if it were the whole."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.left = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            self.left = int(headers["content-length"]) // 2
            headers["content-length"] = str(self.left)
        else:
            body = message.get("body", b"")[: self.left]
            self.left -= len(body)
            message = {**message, "body": body}
        await self.send(message)


def make_application(folder: str, faults: Faults) -> Starlette:
    """Return the whole application: files under ``/files``, signatures and what happened."""
    files = FaultyFiles(StaticFiles(directory=folder), faults)
    return Starlette(
        routes=[
            Route("/token", files.make_token),
            Route("/told", files.tell),
            Mount("/files", files),
        ]
    )


def as_argument(faults: Faults) -> str:
    """Return faults as the program takes them."""
    return json.dumps(asdict(faults))


def main(listening: int, folder: str, faults: dict[str, Any]) -> None:
    """Serve on an inherited listening socket until told to end."""
    config = uvicorn.Config(
        make_application(folder, Faults(**faults)),
        http=Connection,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
