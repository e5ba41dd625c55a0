"""An embedded Prefect server for flows without a server: quiet, private, and removed after use.

It is the server that Prefect itself would start, with four differences: it answers to nobody
without the run's own secret (whoever speaks with it could run code as this user), nothing it says
reaches the terminal, an interrupt from the keyboard reaches the flow and not the server under it,
and it ends with the process that started it, however that ends. Its database lives in a folder of
the run's own and goes with it: what a run leaves behind is run.json and the ledger.
"""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dqpipe.errors import DqpipeError
from dqpipe.storage import no_links, ownership

STARTS_WITHIN = 120
"""Seconds; a machine with a busy disk needs some for a new database."""
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_UI_ENABLED": "false",
    # no flow of ours uses one, and it takes half a second
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


@dataclass(frozen=True)
class Embedded:
    """A server: the URL of its API, the secret of its clients (`PREFECT_API_AUTH_STRING`), and its
    folder.
    """

    url: str
    secret: str = field(repr=False)
    home: Path


@contextmanager
def embedded() -> Iterator[Embedded]:
    """Start a server without waiting; clients wait until it is ready."""
    secret = f"dqpipe:{secrets.token_urlsafe(32)}"
    with tempfile.TemporaryDirectory(prefix="dqpipe-prefect-", ignore_cleanup_errors=True) as home:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            process = _start(listening, Path(home), secret)
        try:
            yield Embedded(f"http://127.0.0.1:{port}/api", secret, Path(home))
        finally:
            process.kill()  # nothing is left to be told, and its database goes with it
            process.communicate()


def wait_until_ready(server: Embedded) -> None:
    """Wait until the server answers. Raises DqpipeError with its last output if it does not."""
    connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=STARTS_WITHIN)
    try:
        connection.request("GET", "/api/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        said = (
            (server.home / "server.log")
            .read_text(encoding="utf-8", errors="replace")
            .strip()
            .splitlines()
        )
        raise DqpipeError(
            f"Prefect's embedded server did not start: {said[-1] if said else error}"
        ) from None
    finally:
        connection.close()
    if status != http.client.OK:
        raise DqpipeError(f"Prefect's embedded server is not well: it answers with status {status}")


def _start(listening: socket.socket, home: Path, secret: str) -> subprocess.Popen[bytes]:
    mine = secrets.token_hex(16)
    (home / ownership.MARKER).write_text(mine, encoding="ascii")
    keep = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with (home / "server.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 (this module, under this Python)
            [sys.executable, "-m", __name__, str(listening.fileno()), mine],
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={
                **keep,
                **QUIET,
                "PREFECT_HOME": str(home),
                "PREFECT_SERVER_API_AUTH_STRING": secret,
            },
        )


def serve(descriptor: int, mine: str) -> None:
    """Serve on an open socket until stdin closes, also because the parent process was killed.

    Then remove the folder.
    """
    import uvicorn

    def end_with_stdin() -> None:
        sys.stdin.buffer.read()
        remove_home(Path(os.environ["PREFECT_HOME"]), mine)
        os._exit(0)

    threading.Thread(target=end_with_stdin, daemon=True).start()
    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, lifespan="on", log_level="error"
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def remove_home(home: Path, mine: str) -> None:
    """Remove the folder of a server, if it is the one that was made for it."""
    with suppress(OSError):
        if no_links.read_below(home, ownership.MARKER) == mine.encode():
            no_links.remove_tree(home.parent, home.name)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
