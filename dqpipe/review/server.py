"""The local web server of the review page.

A request is answered only if its Host header names this machine (another name is DNS rebinding),
its Origin is this page, and it has the token of the URL. It accepts nothing but verdicts, and
serves nothing but the page and samples of the version.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from dqpipe.errors import DatasetError, DqpipeError, MediaError, OutputError
from dqpipe.review.review_queue import ReviewQueue
from dqpipe.review.sample_view import SIDES

LARGEST = 1 << 16
"""Largest body of a request, in bytes."""
NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-NONCE'; "
    "style-src 'nonce-NONCE'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def oversized(headers: Mapping[str, str]) -> str | None:
    """Why a request's body cannot be a verdict; None if it may be one."""
    length, kind = headers.get("content-length", ""), headers.get("content-type", "")
    fine = (
        length.isascii()
        and length.isdecimal()
        and int(length[:12]) <= LARGEST
        and kind.startswith("application/json")
    )
    return None if fine else "what is sent is no verdict"


class Bounded:
    """Read the body of each request up to LARGEST bytes before the application gets it, whatever
    its headers say of its size.
    """

    def __init__(self, app: Any) -> None:  # noqa: ANN401 (ASGI)
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 (ASGI)
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        names = [name.lower() for name, _ in scope["headers"]]
        if b"transfer-encoding" in names or names.count(b"content-length") > 1:
            await _refused(
                send, 400, "the size of what is sent is to be said once, by Content-Length"
            )
            return
        whole, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            whole += message.get("body", b"")
            more = message.get("more_body", False)
            if len(whole) > LARGEST:
                await _refused(send, 413, "what is sent is no verdict: it is too large")
                return
        read = iter([{"type": "http.request", "body": bytes(whole), "more_body": False}])

        async def again() -> Any:  # noqa: ANN401 (ASGI)
            return next(read, None) or await receive()

        await self.app(scope, again, send)


async def _refused(send: Any, status: int, why: str) -> None:  # noqa: ANN401 (ASGI)
    """Answer and close the connection, without reading the rest of the request."""
    headers = [
        (name.lower().encode(), value.encode())
        for name, value in {**HEADERS, "Content-Type": "text/plain", "Connection": "close"}.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})


def refusal(
    headers: dict[str, str], token: str, given: str, names: frozenset[str] = NAMES
) -> str | None:
    """Why a request is refused; None if it is answered."""
    host = headers.get("host", "")
    try:
        name, origin = urlsplit(f"//{host}").hostname, headers.get("origin")
    except ValueError:
        return "this is no host"
    if name not in names:
        return "the host is not this machine"
    if origin is not None and origin != f"http://{host}":
        return "the request comes from another page"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "the request comes from another site"
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "the token is wrong: use the whole URL that dqpipe printed"
    return None


class Pages:
    """The requests of the page."""

    def __init__(self, queue: ReviewQueue, reviewer: str) -> None:
        self.queue, self.reviewer = queue, reviewer
        self.page = files("dqpipe.review").joinpath("page.html").read_text(encoding="utf-8")

    def whole(self) -> Any:  # noqa: ANN401
        """The page itself."""
        from fastapi.responses import HTMLResponse

        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(
            self.page.replace("NONCE", nonce),
            headers={"Content-Security-Policy": POLICY.replace("NONCE", nonce)},
        )

    def picture(self, row: int, side: int) -> Any:  # noqa: ANN401
        """A sample's picture."""
        from fastapi.responses import PlainTextResponse, Response

        if side not in SIDES or not 0 <= row < len(self.queue.view.ids):
            return PlainTextResponse("there is no such picture\n", status_code=404)
        try:
            shown = self.queue.view.picture(row, side)
        except (MediaError, OSError) as error:
            return PlainTextResponse(f"{error}\n", status_code=404)
        return Response(
            shown.data, media_type=shown.type, headers={"Cache-Control": "private, max-age=3600"}
        )

    def about(self) -> dict[str, Any]:
        """What the page shows for every sample."""
        version = self.queue.view.version
        return {
            "version": version.id,
            "out": self.queue.out.name,
            "labels": self.queue.labels(),
            "reviewer": self.reviewer,
        }

    def next(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The next samples. Raises BadRequest."""
        return self._told(*self._page(asked))

    def verdict(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The next samples, after a verdict that is on disk.

        Raises BadRequest, DatasetError, OutputError.
        """
        label, row, kind, page = (
            asked.get("label"),
            asked.get("row"),
            _text(asked, "verdict", 20),
            self._page(asked),
        )
        if not isinstance(row, int) or isinstance(row, bool):
            raise BadRequest("row is the number of a sample")
        if label is not None and not isinstance(label, str):
            raise BadRequest("label is a text, or null")
        self.queue.say(
            row, kind, page[1], label if label is None else _text(asked, "label", LARGEST)
        )
        return self._told(*page)

    def undo(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Undo the last verdict and return its sample. Raises BadRequest, OutputError."""
        session, name = self._page(asked)
        row = self.queue.undo(name)
        return self._told(session, name, row) | {"undone": row is not None}

    def _told(self, session: str, name: str, first: int | None = None) -> dict[str, Any]:
        return {
            "items": self.queue.next(session, name, first),
            "progress": self.queue.progress(name),
        }

    def _page(self, asked: dict[str, Any]) -> tuple[str, str]:
        """The session of a page, and its reviewer."""
        return _text(asked, "session", 64), (
            _text(asked, "reviewer", 100) if asked.get("reviewer") else self.reviewer
        ).strip()


class BadRequest(DqpipeError):  # noqa: N818 (it is what is asked that is unfit)
    """A request with invalid values."""


def _text(asked: dict[str, Any], name: str, letters: int) -> str:
    """A text of a request.

    Raises BadRequest where it is missing, too long, or has control characters.
    """
    value = asked.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name} is a text")
    if len(value) > letters:
        raise BadRequest(f"{name} has more than {letters:,} letters")
    if any(unicodedata.category(char) in ("Cs", "Cc") for char in value if not char.isprintable()):
        raise BadRequest(f"{name} holds a control character, or half of a letter")
    return value


STATUS: Mapping[type[DqpipeError], int] = {BadRequest: 422, DatasetError: 400, OutputError: 507}


def application(
    queue: ReviewQueue, token: str, names: frozenset[str] = NAMES, reviewer: str = ""
) -> Any:  # noqa: ANN401 (FastAPI)
    """The web application of a review queue."""
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, PlainTextResponse, Response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(queue, reviewer)
    shown: dict[str, Callable[..., Any]] = {
        "/": pages.whole,
        "/picture/{row}/{side}": pages.picture,
        "/about": pages.about,
    }
    asked: dict[str, Callable[..., Any]] = {
        "/next": pages.next,
        "/verdict": pages.verdict,
        "/undo": pages.undo,
    }
    for method, answers in (("GET", shown), ("POST", asked)):
        for path, answer in answers.items():
            app.add_api_route(path, answer, methods=[method], response_model=None)

    async def guarded(
        request: Request, proceed: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.headers.get("x-token") or request.query_params.get("token", "")
        why = refusal(dict(request.headers), token, given, names) or (
            oversized(request.headers) if request.method == "POST" else None
        )
        response = (
            await proceed(request)
            if why is None
            else PlainTextResponse(f"{why}\n", status_code=403)
        )
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def failed(_: Request, error: Exception) -> Response:
        return JSONResponse(
            {"error": str(error)},
            status_code=next(status for kind, status in STATUS.items() if isinstance(error, kind)),
        )

    app.middleware("http")(guarded)
    app.add_middleware(Bounded)
    for kind in STATUS:
        app.add_exception_handler(kind, failed)
    return app


class Serving:
    """A server in a thread of its own, from `start` to `stop`."""

    def __init__(
        self, queue: ReviewQueue, *, host: str = "127.0.0.1", port: int = 0, reviewer: str = ""
    ) -> None:
        import uvicorn

        self.token = secrets.token_urlsafe(18)
        self.socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.socket.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # an answer goes out at once; asyncio sets this on its own sockets only
        names = NAMES | {host}
        app = application(queue, self.token, names, reviewer)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.host = host
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where the page is, with its token."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.socket.getsockname()[1]}/?token={self.token}"

    def start(self) -> None:
        """Wait until the server listens."""
        self.thread.start()

    def stop(self) -> None:
        """Wait until the server has stopped."""
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
