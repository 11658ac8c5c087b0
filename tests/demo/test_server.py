"""The page's addresses, without a network card or browser."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from werkzeug.test import Client, TestResponse

from headposekit.demo.compare import Comparison
from headposekit.demo.examples import Example
from headposekit.demo.server import MAX_CONNECTIONS, STATIC, Page, Server, serve
from headposekit.errors import InputError

PICTURE = np.full((8, 9, 3), 77, dtype=np.uint8)


class Echo(Comparison):
    """Says what it was asked; refuses `b"bad"`, fails at `b"worse"`."""

    def __call__(self, raw: bytes, detector: str, draw: str = "axes", name: str = "", field_of_view: float | None = None):
        if raw == b"bad":
            raise InputError("no picture")
        if raw == b"worse":
            raise RuntimeError("a fault")
        return {"asked": [len(raw), detector, draw, name, field_of_view]}


@pytest.fixture
def page() -> Page:
    return Page(Echo({}, {"first": None, "second": None}), [Example(PICTURE, [{"pose": [1.0, 2.0, 3.0]}])], max_megabytes=0.001)


@pytest.fixture
def client(page: Page) -> Client:
    return Client(page)


def answer(response: TestResponse, status: int = 200) -> dict:
    assert response.status_code == status, response.text
    return response.get_json()


def test_page_needs_nothing_from_elsewhere(client: Client) -> None:
    for address in ("/", "/page.css", "/page.js"):
        response = client.get(address)
        assert response.status_code == 200
        assert not re.search(r"(https?:)?//[a-z]|@import|url\(", response.text)
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"
    assert set(re.findall(r'(?:src|href)="([^"]+)"', client.get("/").text)) == {"data:,", *(set(STATIC) - {"page.html"})}


def test_setup_and_examples(client: Client) -> None:
    setup = answer(client.get("/setup"))
    assert setup["detectors"] == ["first", "second"]
    assert setup["examples"] == [[{"pose": [1.0, 2.0, 3.0]}]]
    assert setup["max_megabytes"] == 0.001
    assert client.get("/examples/0").data.startswith(b"\xff\xd8")
    assert "no example 1" in answer(client.get("/examples/1"), 422)["error"]


def test_options_reach_the_comparison(client: Client) -> None:
    assert answer(client.post("/poses", data=b"1234"))["asked"] == [4, "first", "axes", "", None]
    asked = "/poses?detector=second&draw=cube&name=a%20b.png&field_of_view=62.5"
    assert answer(client.post(asked, data=b"12"))["asked"] == [2, "second", "cube", "a b.png", 62.5]


@pytest.mark.parametrize(
    ("address", "raw", "status", "message"),
    [
        ("/poses", b"bad", 422, "no picture"),
        ("/poses?field_of_view=wide", b"1", 422, "field_of_view=wide is not a number of degrees; correct it"),
        ("/poses", bytes(1001), 413, "a file of more than 0.001 MB; make the picture smaller"),
        ("/poses", b"worse", 500, "a fault of the program; the terminal it was started from says more"),
        ("/setup/../server.py", b"1", 404, "404 Not Found"),
        ("/examples/-1", b"1", 404, "404 Not Found"),
    ],
    ids=["refused", "number", "large", "fault", "path", "negative"],
)
def test_whatever_is_wrong_is_one_line(client: Client, address: str, raw: bytes, status: int, message: str) -> None:
    assert answer(client.post(address, data=raw), status) == {"error": message}


def test_other_methods_are_refused(client: Client) -> None:
    assert answer(client.get("/poses"), 405) == {"error": "405 Method Not Allowed"}


@pytest.mark.parametrize(
    ("host", "names", "foreign"),
    [
        (
            "127.0.0.1",
            ["127.0.0.1:7860", "localhost", "LocalHost:7860"],
            ["evil.example", "10.0.0.9:7860", "0.0.0.0", "[", "[::1]x"],
        ),
        ("localhost", ["127.0.0.1:7860", "localhost"], ["evil.example:7860"]),
        ("::1", ["[::1]:7860", "[::1]"], ["evil.example", "[::2]:7860"]),
        ("0.0.0.0", ["10.0.0.9:7860", "localhost", "[fe80::1]", socket.gethostname()], ["evil.example:7860", "256", "1.2.3"]),
        ("::", ["10.0.0.9:7860", "[fe80::1]:80"], ["evil.example"]),
        ("lab.example", ["lab.example:7860", "10.0.0.9"], ["evil.example", "lab.example.evil.example"]),
    ],
)
def test_a_foreign_site_cannot_take_this_page_for_itself(host: str, names: list[str], foreign: list[str]) -> None:
    """A site may have its own name point to this computer, and its scripts then ask for pages from here."""
    client = Client(Page(Echo({}, {}), [], host=host))
    for name in names:
        assert client.get("/setup", headers={"Host": name}).status_code == 200, name
    for name in foreign:
        assert "open this page as" in answer(client.get("/setup", headers={"Host": name}), 400)["error"], name


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:7861"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:7860", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_what_another_site_posts_is_refused(client: Client, headers: dict[str, str]) -> None:
    refused = client.post("/poses", data=b"1", headers={"Host": "localhost:7860", **headers})
    assert answer(refused, 403) == {"error": "403 Forbidden"}
    own = {"Origin": "http://localhost:7860", "Sec-Fetch-Site": "same-origin"}
    assert answer(client.post("/poses", data=b"1", headers={"Host": "localhost:7860", **own}))["asked"][0] == 1


@pytest.mark.parametrize(
    "host", ["", None, 0, 256, "256", "0", "0x7f000001", " ", "127.1", "1.2.3.4.5", "a b", "-x", True, 1.5], ids=repr
)
def test_what_is_no_address(host: object) -> None:
    with pytest.raises(InputError, match=r"^host=.*(is empty|neither an address nor a name); give 127\.0\.0\.1 for this"):
        Page(Echo({}, {}), [], host=host)  # type: ignore[arg-type]


@pytest.fixture
def served(page: Page) -> Iterator[Server]:
    """The page on a free port, with half a second for each request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, page, seconds=0.5)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
        server.server_close()


def talk(server: Server, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send some bytes after one another; all that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(2**16):
                received += part
    return received


HEAD = b"POST /poses HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (HEAD + b"Content-Length: 4\r\n\r\n1234", b'{"asked": [4, '),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n1234", b" 413 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n", b" 411 "),
        (HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n", b" 411 "),
        (HEAD + b"\r\n", b" 411 "),
        (HEAD + b"Content-Length: -4\r\n\r\n1234", b" 4"),
        (HEAD + b"Content-Length: four\r\n\r\n1234", b" 4"),
        (b"\0\xff\r\n\r\n", b" 400 "),
    ],
    ids=["whole", "too large", "chunks", "both", "no length", "negative", "no number", "no HTTP"],
)
def test_the_size_of_a_request_is_known_before_it_is_read(
    served: Server, request_bytes: bytes, expected: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert expected in talk(served, request_bytes)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "parts",
    [[b""], [b"POST"], [b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 30], [HEAD + b"Content-Length: 900\r\n\r\n", *[b"1"] * 30]],
    ids=["nothing", "half a line", "a header at a time", "a byte at a time"],
)
def test_whoever_takes_too_long_is_dropped(served: Server, parts: list[bytes], capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    assert b" 200 " not in talk(served, *parts, pause=0.05)
    assert time.monotonic() - start < 3
    assert b'"asked"' in talk(served, HEAD + b"Content-Length: 1\r\n\r\n1")  # others are served
    assert capfd.readouterr().err == ""


def test_no_time_counts_while_poses_are_estimated(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "__call__", lambda *_, **__: time.sleep(1.2) or {"slow": True})
    assert b'{"slow": true}' in talk(served, HEAD + b"Content-Length: 1\r\n\r\n1")


def test_connections_are_counted(served: Server) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(MAX_CONNECTIONS)]
        deadline = time.monotonic() + 5
        while len(served.ends) < len(idle) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert talk(served, HEAD + b"Content-Length: 1\r\n\r\n1") == b""
        assert len(served.ends) <= MAX_CONNECTIONS
    while served.ends and time.monotonic() < deadline:
        time.sleep(0.01)
    assert b'"asked"' in talk(served, HEAD + b"Content-Length: 1\r\n\r\n1")


def test_taken_or_foreign_address(page: Page) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(InputError, match=r"cannot be listened on \(Address already in use\); give another"),
    ):
        serve(page, taken.getsockname()[1], browser=False)
    with pytest.raises(InputError, match=r"192\.0\.2\.1:0 cannot be listened on"):
        serve(Page(Echo({}, {}), [], host="192.0.2.1"), 0, browser=False)
