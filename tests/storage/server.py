"""A real S3 server in a process of its own, and a proxy before it that makes things go wrong."""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
OWNER = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def s3_server() -> Iterator[int]:
    """The port of a moto server."""
    for _ in range(5):  # between being found and being used, a port may be taken by somebody else
        process, port = start_server()
        if process.poll() is None:
            break
    assert process.poll() is None, "moto's server does not start"
    yield port
    process.terminate()
    process.wait()


def start_server() -> tuple["subprocess.Popen[bytes]", int]:
    """Start a server; return when it listens or has ended."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + SECONDS
    while process.poll() is None and not listens(port):
        assert time.monotonic() < end, "moto's server does not answer"
        time.sleep(0.02)
    return process, port


class Bucket(str):
    """The URL of a bucket.

    Attributes:
        port: Where its server is.
    """

    port: int

    @property
    def name(self) -> str:
        return self.removeprefix("s3://")

    def request(self, method: str, path: str = "", body: bytes | None = None) -> tuple[int, bytes]:
        """Speak to the server directly."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request(method, f"/{self.name}{path}", body, OWNER)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def stored(self) -> list[str]:
        """Return what is in it."""
        status, body = self.request("GET", "?list-type=2")
        assert status == 200, body
        text = body.decode()
        return [part.partition("</Key>")[0] for part in text.split("<Key>")[1:]]

    def content(self, key: str) -> bytes:
        status, body = self.request("GET", f"/{key}")
        assert status == 200, body
        return body

    def place(self, key: str, content: bytes) -> None:
        status, body = self.request("PUT", f"/{key}", content)
        assert status == 200, body


_buckets = iter(range(10_000))


@pytest.fixture
def bucket(s3_server: int, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket, which this process and those it starts may use."""
    made = Bucket(f"s3://bucket{next(_buckets)}")
    made.port = s3_server
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_server}")
    status, body = made.request("PUT")
    assert status == 200, body
    return made


# --- faults ---------------------------------------------------------------------------------------

REFUSED = b"""<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code>
<Message>The AWS Access Key Id you provided does not exist in our records.</Message></Error>"""


class Faults:
    """What is to go wrong, and what was asked for.

    Attributes:
        seen: Method and path of every request, in order.
        plan: Faults by method, each of which strikes once, in order; see ``_Handler``.
        always: Faults by method that strike whenever no other does.
        reached: Set when a request was held.
        go_on: Lets what is held go on.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.seen: list[tuple[str, str]] = []
        self.plan: list[tuple[str, str]] = []
        self.always: dict[str, str] = {}
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def next(self, method: str, path: str) -> str:
        with self._lock:
            self.seen.append((method, path))
            for planned in self.plan:
                if planned[0] == method:
                    self.plan.remove(planned)
                    return planned[1]
            return self.always.get(method, "")

    def hold(self) -> None:
        self.reached.set()
        self.go_on.wait(SECONDS)

    def count(self, method: str) -> int:
        return sum(each == method for each, _ in self.seen)


class _Handler(BaseHTTPRequestHandler):
    """Passes requests on, and makes these faults.

    ``500``, ``503``, ``403``: the answer. ``drop``: no answer, before it was passed on. ``lose``:
    no answer, after it was passed on. ``cut``: half an answer. ``flip``: one bit of it is wrong.
    ``slow``: in many pieces. ``hold before``, ``hold within``, ``hold after``: until told to go on.
    """

    protocol_version = "HTTP/1.1"
    faults: Faults

    def _pass_on(self) -> None:
        body = self._body()
        fault = self.faults.next(self.command, self.path)
        self.close_connection = True
        if fault in ("500", "503", "403"):
            self._answer(int(fault), [], REFUSED if fault == "403" else b"")
        elif fault != "drop":
            if fault == "hold before":
                self.faults.hold()
            status, headers, content = self._upstream(body)
            if fault == "hold after":
                self.faults.hold()
            if fault != "lose":
                self._answer(status, headers, content, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.faults.upstream, timeout=SECONDS)
        with contextlib.closing(connection):
            # under the name it was asked for: that is signed
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            headers = [pair for pair in answer.getheaders() if pair[0].lower() not in _OURS]
            if self.command == "HEAD":
                headers.append(("Content-Length", answer.getheader("Content-Length") or "0"))
            return answer.status, headers, answer.read()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, fault: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(content) // 2
        if fault == "flip" and content:
            content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        if fault == "slow":
            step = max(1, len(content) // 20)
            for start in range(0, len(content), step):
                self.wfile.write(content[start : start + step])
                self.wfile.flush()
                time.sleep(0.01)  # what slow means
            return
        self.wfile.write(content[:half])
        if fault == "hold within":
            self.wfile.flush()
            self.faults.hold()
        if fault != "cut":
            self.wfile.write(content[half:])

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


_OURS = ("content-length", "connection", "transfer-encoding", "server", "date")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that are killed are what this is for."""


@pytest.fixture
def faults(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """A proxy before the bucket, through which this process and those it starts go."""
    faults = Faults(bucket.port)
    handler = type("Handler", (_Handler,), {"faults": faults})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield faults
    faults.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()
