"""The page itself: a few addresses on this computer, nothing from anywhere else."""

import json
import logging
import os
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError
from werkzeug.routing import Map, Rule
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from headpose.demo.compare import Comparison, jpeg
from headpose.demo.examples import Example
from headpose.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The browser itself refuses requests to other servers, other sites' frames, and to keep a picture."""
STATIC = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
log = logging.getLogger(__name__)


class Page:
    """The page as a WSGI application. Nothing that it is sent is written anywhere.

    Args:
        compare: what it shows.
        examples: pictures to try it with.
        host: it listens on; on this computer's own, requests under another name (of a site that has its name point here)
            are refused.
        max_megabytes: size of a file from which it is refused.
    """

    def __init__(
        self, compare: Comparison, examples: Sequence[Example], host: str = "127.0.0.1", max_megabytes: float = 20.0
    ) -> None:
        self.compare, self.examples = compare, examples
        self.trusted_hosts = list(LOOPBACK) if host in LOOPBACK else None
        self.max_megabytes = max_megabytes
        self.pictures = [jpeg(example.picture) for example in examples]
        self.files = {name: resources.files(__package__).joinpath(name).read_bytes() for name in STATIC}
        self.addresses = Map(
            [
                Rule("/", endpoint=lambda _: self._file("page.html")),
                Rule("/page.css", endpoint=lambda _: self._file("page.css")),
                Rule("/page.js", endpoint=lambda _: self._file("page.js")),
                Rule("/setup", endpoint=self._setup),
                Rule("/examples/<int:number>", endpoint=self._example),
                Rule("/poses", endpoint=self._poses, methods=["POST"]),
            ]
        )

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer one request; whatever goes wrong is one line in `error`."""
        request = Request(environ)
        request.trusted_hosts = self.trusted_hosts
        request.max_content_length = round(1e6 * self.max_megabytes)
        try:
            answer: Callable[..., Response]
            request.host  # noqa: B018  refused here, if it is not one of `trusted_hosts`
            answer, values = self.addresses.bind_to_environ(environ).match()
            response = answer(request, **values)
        except RequestEntityTooLarge:
            response = _json({"error": f"a file of more than {self.max_megabytes:g} MB; make the picture smaller"}, 413)
        except SecurityError:
            response = _json({"error": f"open this page as {LOOPBACK[0]}"}, 400)
        except HTTPException as error:
            response = _json({"error": f"{error.code} {error.name}"}, error.code or 500)
        except InputError as error:
            response = _json({"error": str(error)}, 422)
        except Exception:
            log.exception("a fault of the program")
            response = _json({"error": "a fault of the program; the terminal it was started from says more"}, 500)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _file(self, name: str) -> Response:
        return Response(self.files[name], mimetype=STATIC[name])

    def _setup(self, request: Request) -> Response:
        truths = [example.truth for example in self.examples]
        return _json({**self.compare.describe(), "examples": truths, "max_megabytes": self.max_megabytes})

    def _example(self, request: Request, number: int) -> Response:
        if number >= len(self.pictures):
            raise InputError(f"no example {number}; there are {len(self.pictures)}")
        return Response(self.pictures[number], mimetype="image/jpeg")

    def _poses(self, request: Request) -> Response:
        asked: dict[str, Any] = {key: request.args[key] for key in ("detector", "draw", "name") if key in request.args}
        if angle := request.args.get("field_of_view"):
            try:
                asked["field_of_view"] = float(angle)
            except ValueError as error:
                raise InputError(f"field_of_view={angle} is not a number of degrees; correct it") from error
        return _json(self.compare(request.get_data(), **{"detector": next(iter(self.compare.detectors)), **asked}))


def serve(page: Page, host: str, port: int, browser: bool) -> None:
    """Show a page until the process is interrupted.

    Raises:
        InputError: an address that cannot be listened on.
        KeyboardInterrupt: at the end.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not a line for every frame of a camera
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = str(error.strerror).split(" (", maxsplit=1)[0]
        raise InputError(f"{host}:{port} cannot be listened on ({reason}); give another host= or port=") from error
    with listener:
        server = make_server(host, listener.getsockname()[1], page, threaded=True, fd=listener.fileno())
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}"
    print(f"{url} shows {', '.join(page.compare.networks)}; Ctrl-C ends it", flush=True)
    if browser and (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        webbrowser.open(url)
    server.serve_forever()  # takes the interruption for its end
    raise KeyboardInterrupt


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")
