"""The page itself: a few addresses on this computer, nothing from anywhere else."""

import contextlib
import functools
import ipaddress
import json
import logging
import math
import os
import re
import socket
import sys
import time
import webbrowser
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from werkzeug.exceptions import Forbidden, HTTPException, LengthRequired, RequestEntityTooLarge, SecurityError
from werkzeug.routing import Map, Rule
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from headposekit.demo.compare import Comparison
from headposekit.demo.examples import Example
from headposekit.errors import InputError
from headposekit.files import encode_picture

LOOPBACK = ("127.0.0.1", "localhost")
MAX_CONNECTIONS = 16
"""At once; each has a thread, and a picture's file in memory. More are closed unanswered."""
REQUEST_SECONDS = 30.0
"""In which a whole request has to arrive, and then the whole answer to be fetched."""
WORKING = "headposekit.working"
"""Key of the WSGI environment: what makes the context in which no time counts but ours."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The browser itself refuses requests to other servers, other sites' frames, and to keep a picture."""
NUMBERS = {
    "field_of_view": " of degrees",
    "camera_pitch": " of degrees",
    "camera_roll": " of degrees",
    "calibrate": " of seconds",
}
"""Options of a picture that are numbers, and their units."""
STATIC = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
log = logging.getLogger(__name__)


class Page:
    """The page as a WSGI application. Nothing that it is sent is written anywhere.

    Requests under other names than that of `host` (of a site that has its name point here) are refused: on this computer's own
    address all but that, on others all but addresses and this computer's name.
    """

    def __init__(
        self, compare: Comparison, examples: Sequence[Example], host: str = "127.0.0.1", max_megabytes: float = 20.0
    ) -> None:
        self.compare, self.examples, self.host, self.max_megabytes = compare, examples, check_host(host), max_megabytes
        address = _address(self.host)
        self.is_open = self.host.lower() != "localhost" and not (address and address.is_loopback)
        self.names = {*LOOPBACK, "::1", self.host.lower()}
        if self.is_open:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self.pictures = [encode_picture(Path("example.jpg"), example.picture) for example in examples]
        self.files = {name: resources.files(__package__).joinpath(name).read_bytes() for name in STATIC}
        self.addresses = Map(
            [
                Rule("/", endpoint=self._file),
                Rule("/<any('page.css', 'page.js'):name>", endpoint=self._file),
                Rule("/setup", endpoint=self._setup),
                Rule("/examples/<int:number>", endpoint=self._example),
                Rule("/poses", endpoint=self._poses, methods=["POST"]),
            ]
        )

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer one request; whatever goes wrong is one line in `error`."""
        request = Request(environ)
        request.max_content_length = round(1e6 * self.max_megabytes)
        try:
            self._check_origin(request)
            answer, values = self.addresses.bind_to_environ(environ).match()
            response = answer(request, **values)
        except RequestEntityTooLarge:
            response = _json({"error": f"a file of more than {self.max_megabytes:g} MB; make the picture smaller"}, 413)
        except SecurityError:
            response = _json({"error": f"open this page as {self.host if self.is_open else LOOPBACK[0]}"}, 400)
        except HTTPException as error:
            response = _json({"error": f"{error.code} {error.name}"}, error.code or 500)
        except InputError as error:
            response = _json({"error": str(error)}, 422)
        except Exception:
            log.exception("a fault of the program")
            response = _json({"error": "a fault of the program; the terminal it was started from says more"}, 500)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _check_origin(self, request: Request) -> None:
        """Refuse what another site makes a browser ask here; a browser says so, and other programs say nothing."""
        name = re.sub(r":\d+$", "", request.host).strip("[]").lower()
        if name not in self.names and not (self.is_open and _address(name)):
            raise SecurityError
        origin = request.headers.get("Origin", f"http://{request.host}").partition("://")[2]
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.method == "POST" and (origin.lower() != request.host.lower() or site not in ("same-origin", "none")):
            raise Forbidden

    def _file(self, request: Request, name: str = "page.html") -> Response:
        return Response(self.files[name], mimetype=STATIC[name])

    def _setup(self, request: Request) -> Response:
        truths = [example.truth for example in self.examples]
        return _json({**self.compare.describe(), "examples": truths, "max_megabytes": self.max_megabytes})

    def _example(self, request: Request, number: int) -> Response:
        if number >= len(self.pictures):
            raise InputError(f"no example {number}; there are {len(self.pictures)}")
        return Response(self.pictures[number], mimetype="image/jpeg")

    def _poses(self, request: Request) -> Response:
        if request.content_length is None:  # nor is a body in chunks taken, whose size nobody knows
            raise LengthRequired
        raw = request.get_data()
        options: dict[str, Any] = {"detector": next(iter(self.compare.detectors))}
        options |= {key: request.args[key] for key in ("detector", "draw", "name", "live") if key in request.args}
        for key in NUMBERS:
            if given := request.args.get(key):
                try:
                    options[key] = float(given)
                except ValueError as error:
                    raise InputError(f"{key}={given} is not a number{NUMBERS[key]}; correct it") from error
        with request.environ.get(WORKING, contextlib.nullcontext)():
            return _json(self.compare(raw, **options))


class Server(ThreadedWSGIServer):
    """Serves a page with a bounded number of threads, and drops whoever takes too long to ask or to listen."""

    def __init__(self, listener: socket.socket, page: Page, seconds: float = REQUEST_SECONDS) -> None:
        self.seconds = seconds
        self.ends: dict[socket.socket, float] = {}  # connection to the time at which it is dropped
        super().__init__(page.host, listener.getsockname()[1], page, _Handler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, or close it."""
        if len(self.ends) >= MAX_CONNECTIONS:
            self.shutdown_request(request)
            return
        self.ends[request] = time.monotonic() + self.seconds
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Drop those whose time is over; called twice a second."""
        for request, end in list(self.ends.items()):
            if time.monotonic() > end:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection."""
        self.ends.pop(request, None)
        super().shutdown_request(request)

    @contextlib.contextmanager
    def working(self, connection: socket.socket) -> Iterator[None]:
        """The other side waits for us; afterwards it has its time again."""
        self.ends[connection] = math.inf
        try:
            yield
        finally:
            self.ends[connection] = time.monotonic() + self.seconds


class _Handler(WSGIRequestHandler):
    """One connection, with one request."""

    server: Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.seconds)

    def make_environ(self) -> Any:
        return super().make_environ() | {WORKING: functools.partial(self.server.working, self.connection)}

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing of what others send."""


def check_host(host: object) -> str:
    """An address or name to listen on; InputError for anything else, such as the empty value of an unset variable."""
    if isinstance(host, str) and (_address(host) or re.fullmatch(r"[A-Za-z]([A-Za-z0-9.-]*[A-Za-z0-9])?", host)):
        return host
    given = f"host={host} is neither an address nor a name" if host not in (None, "") else "host= is empty"
    raise InputError(f"{given}; give 127.0.0.1 for this computer alone, or 0.0.0.0 for every computer that reaches it")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A complete IP address, else None; the system would take 0 and 256 for one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def serve(page: Page, port: int, browser: bool) -> None:
    """Show a page until a KeyboardInterrupt, which it raises; InputError for an address that cannot be listened on."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not a line for every frame of a camera
    host, is_version6 = page.host, ":" in page.host
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if is_version6 else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", error)).split(" (", maxsplit=1)[0]
        raise InputError(f"{host}:{port} cannot be listened on ({reason}); give another host= or port=") from error
    with listener:
        server = Server(listener, page)
    url = f"http://{f'[{host}]' if is_version6 else host}:{server.port}"
    print(f"{url} shows {', '.join(page.compare.networks)}; Ctrl-C ends it", flush=True)
    if browser and (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        webbrowser.open(url)
    server.serve_forever()  # takes the interruption for its end
    raise KeyboardInterrupt


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")
