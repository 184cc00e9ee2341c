"""An S3 server for tests: moto's, that fails now and then by a seeded draw, and counts.

python -m tests.servers.objects SOCKET DIALECT KEY BUCKET SHARE SEED, in the environment .venv-s3.
With dialect ``gs`` it takes what differs in Google's XML interface: no signature, generations.
Every second fault does what was asked and then says that it failed, as a lost answer does.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

Answer = Iterable[bytes]
Start = Callable[..., Any]


class Faulty:
    """A WSGI layer that refuses strangers, fails a share of requests and counts."""

    def __init__(
        self, inner: Callable[..., Answer], objects: Callable[[], int], *, key: str, share: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.inner, self.objects, self.key, self.share = inner, objects, key, share
        self.draw = random.Random(seed)
        self.lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start: Start) -> Answer:
        """Answer a request, or fail it."""
        if environ["PATH_INFO"] == "/told":
            start("200 OK", [("Content-Type", "application/json")])
            told = {"requests": self.requests, "faults": self.faults, "objects": self.objects()}
            return [json.dumps(told).encode()]
        if self.key not in environ.get("HTTP_AUTHORIZATION", ""):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        with self.lock:
            self.requests[environ["REQUEST_METHOD"]] += 1
            fails, late = self.draw.random() < self.share, self.draw.random() < 0.5
            status = self.draw.choice(("500 Internal Server Error", "503 Slow Down"))
            self.faults[status] += fails
        if not fails:
            return self.inner(environ, start)
        if late:
            list(self.inner(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(status, [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code></Error>"]


class Google:
    """A WSGI layer that turns Google's requests into Amazon's: generations for entity tags."""

    def __init__(self, inner: Callable[..., Answer], key: str) -> None:
        self.inner = inner
        self.credential = (
            f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, "
            "SignedHeaders=host, Signature=0"
        )
        self.lock = threading.Lock()
        self.generations: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start: Start) -> Answer:
        """Answer a request; one at a time, so that a condition holds until the write."""
        if environ["PATH_INFO"] == "/told":
            return self.inner(environ, start)
        environ["HTTP_AUTHORIZATION"] = self.credential
        path = environ["PATH_INFO"]
        wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        with self.lock:
            if wanted is not None and int(wanted) != self.generations[path]:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("412 Precondition Failed", [("Content-Type", "application/xml")])
                return [b"<Error><Code>PreconditionFailed</Code></Error>"]

            def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                if status.startswith("20"):
                    if environ["REQUEST_METHOD"] == "PUT":
                        self.generations[path] = 1 + max(self.generations.values(), default=0)
                    if environ["REQUEST_METHOD"] == "DELETE":
                        del self.generations[path]
                    headers = [*headers, ("x-goog-generation", str(self.generations[path]))]
                return start(status, headers, *more)

            return list(self.inner(environ, answer))


def main() -> None:
    """Serve until stopped."""
    # inside: only this process runs in the environment that has them
    from moto.core import DEFAULT_ACCOUNT_ID  # noqa: PLC0415
    from moto.s3.models import s3_backends  # noqa: PLC0415
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    number, dialect, key, name, share, seed = sys.argv[1:]
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(name, "us-east-1")
    app: Callable[..., Answer] = Faulty(
        DomainDispatcherApplication(create_backend_app),
        lambda: sum(1 for _ in bucket.keys.items()),
        key=key, share=float(share), seed=int(seed),
    )  # fmt: skip
    if dialect == "gs":
        app = Google(app, key)
    make_server("127.0.0.1", 0, app, threaded=True, fd=int(number)).serve_forever()


if __name__ == "__main__":
    main()
