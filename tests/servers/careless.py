"""A STAC API that filters and sorts nothing: every search gets every item, shuffled, some twice.

Run as a program by `serve_careless`. Some public APIs ignore what they do not know without an
error; this one ignores all that it is asked but the page.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.pgstac import describe_collection
from tests.servers.processes import get, serve

PAGE = 7
_CONFORMS = [
    f"https://api.stacspec.org/v1.0.0/{part}"
    for part in ("core", "collections", "ogcapi-features", "item-search")
]


@contextmanager
def serve_careless(
    items: Sequence[dict[str, Any]], collections: Sequence[str], folder: Path
) -> Iterator[str]:
    """Yield the address of an API that holds the items, in pages of seven and one more."""
    file = folder / "careless.json"
    file.write_text(json.dumps({"items": list(items), "collections": list(collections)}))
    program = [sys.executable, "-m", "tests.servers.careless"]
    with serve(lambda number: [*program, str(number), str(file)]) as address:
        get(address)  # wait until it answers
        yield address


def make_application(items: list[dict[str, Any]], collections: list[str]) -> Starlette:
    """Return the whole application."""
    random.Random(7).shuffle(items)

    def root(request: Request) -> Response:
        base = str(request.base_url)
        links = [
            {"rel": rel, "href": f"{base}{path}", "type": "application/json"}
            for rel, path in (("self", ""), ("root", ""), ("data", "collections"))
        ]
        search = {"rel": "search", "href": f"{base}search", "type": "application/geo+json"}
        return JSONResponse(
            {
                "type": "Catalog",
                "stac_version": "1.0.0",
                "id": "careless",
                "description": "ignores what it is asked",
                "conformsTo": _CONFORMS,
                "links": [*links, {**search, "method": "GET"}, {**search, "method": "POST"}],
            }
        )

    def list_collections(_: Request) -> Response:
        described = [describe_collection(name) for name in collections]
        return JSONResponse({"collections": described, "links": []})

    async def search(request: Request) -> Response:
        asked = json.loads(await request.body() or b"{}")
        first = int(asked.get("page", 0)) * PAGE
        page = items[first : first + PAGE]
        page += items[first - 1 : first]  # the last one of the page before comes again
        links = []
        if first + PAGE < len(items):
            body = {**asked, "page": first // PAGE + 1}
            href = f"{request.base_url}search"
            links = [{"rel": "next", "href": href, "method": "POST", "body": body}]
        return JSONResponse({"type": "FeatureCollection", "features": page, "links": links})

    return Starlette(
        routes=[
            Route("/", root),
            Route("/collections", list_collections),
            Route("/search", search, methods=["POST"]),
        ]
    )


def main(listening: int, file: str) -> None:
    """Serve on an inherited listening socket until told to end."""
    application = make_application(**json.loads(Path(file).read_text()))
    config = uvicorn.Config(application, log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
