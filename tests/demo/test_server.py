"""The page's addresses, without a network card or browser."""

import re
import socket

import numpy as np
import pytest
from werkzeug.test import Client, TestResponse

from headpose.demo.compare import Comparison
from headpose.demo.examples import Example
from headpose.demo.server import STATIC, Page, serve
from headpose.errors import InputError

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


def test_a_foreign_site_cannot_take_this_page_for_itself(client: Client) -> None:
    """A site may have its own name point to 127.0.0.1, and its scripts then ask for pages from there."""
    assert answer(client.get("/setup", headers={"Host": "evil.example:7860"}), 400) == {"error": "open this page as 127.0.0.1"}
    assert client.get("/setup", headers={"Host": "localhost:7860"}).status_code == 200
    wide = Client(Page(Echo({}, {}), [], host="0.0.0.0"))  # whoever asks for that is reached by any name
    assert wide.get("/setup", headers={"Host": "lab.example"}).status_code == 200


def test_taken_or_foreign_address(page: Page) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(InputError, match=r"cannot be listened on \(Address already in use\); give another"),
    ):
        serve(page, "127.0.0.1", taken.getsockname()[1], browser=False)
    with pytest.raises(InputError, match=r"192\.0\.2\.1:0 cannot be listened on"):
        serve(page, "192.0.2.1", 0, browser=False)
