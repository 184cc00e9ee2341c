"""Object stores in their own processes, each with one empty bucket."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from tests import needs
from tests.servers.processes import get, serve

BUCKET = "products"
KEY, SECRET = "TESTKEYID", "swordfish/of+the/seven=seas"
_START_S = 60


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running S3 server."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process needs to write to it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
        }

    def told(self) -> dict[str, dict[str, int] | int]:
        """Return its requests and faults by kind, and how many objects it holds."""
        return json.loads(get(f"{self.address}/told"))


@contextmanager
def serve_s3(*, fault_share: float = 0.0, seed: int = 0) -> Iterator[S3Server]:
    """Yield a server that fails a share of its requests with 500 or 503."""
    program = [str(needs.s3_python()), "-m", "tests.servers.objects"]
    arguments = [KEY, BUCKET, str(fault_share), str(seed)]
    with serve(lambda number: [*program, str(number), "s3", *arguments]) as address:
        get(f"{address}/told")  # wait until it answers
        yield S3Server(address=address)


@contextmanager
def serve_google(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment that a process needs to write to a store of Google's dialect.

    Nothing is signed: the file of credentials that it needs is written to ``folder``.
    """
    program = [str(needs.s3_python()), "-m", "tests.servers.objects"]
    with serve(lambda number: [*program, str(number), "gs", KEY, BUCKET, "0", "0"]) as address:
        get(f"{address}/told")  # wait until it answers
        account = {"gcs_base_url": address, "disable_oauth": True, "client_email": "",
                   "private_key": "", "private_key_id": ""}  # fmt: skip
        (folder / "account.json").write_text(json.dumps(account))
        yield {
            "GOOGLE_SERVICE_ACCOUNT": str(folder / "account.json"),
            "GOOGLE_ALLOW_HTTP": "true",
        }


@contextmanager
def serve_azure() -> Iterator[dict[str, str]]:
    """Yield the environment that a process needs to write to an Azure store."""
    azurite = needs.azurite()
    account, key = "products", "c3dvcmRmaXNoc3dvcmRmaXNoc3dvcmRmaXNo"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [azurite, "--blobPort", "0", "--location", folder, "--disableTelemetry"],
                env={"AZURITE_ACCOUNTS": f"{account}:{key}", "PATH": "/usr/bin:/usr/local/bin"},
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            address = f"{_find_address(log, process)}/{account}"
            _make_container(address, account, key)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": account,
                "AZURE_STORAGE_ACCOUNT_KEY": key,
                "AZURE_ENDPOINT": address,
                "AZURE_ALLOW_HTTP": "true",
            }
        finally:
            process.kill()
            process.wait(timeout=30)


def _make_container(address: str, account: str, key: str) -> None:
    """Make the bucket, by a request signed with the account's key (Azure's Shared Key)."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = f"PUT{12 * chr(10)}{signed}/{account}/{account}/{BUCKET}\nrestype:container"
    digest = hmac.digest(base64.b64decode(key), text.encode(), "sha256")
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(
        f"{address}/{BUCKET}?restype=container", method="PUT", headers=headers
    )
    urllib.request.urlopen(request, timeout=_START_S).close()


def _find_address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the address that a server says it listens on."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if "successfully listening" in line or "successfully listens" in line:
                return line.split()[-1]
        time.sleep(0.05)
    raise RuntimeError(f"azurite did not start: {log.read_text()}")
