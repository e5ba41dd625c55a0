"""`dqpipe review`: look at samples on a page, and say what is to become of them."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqpipe.errors import ConfigError

if TYPE_CHECKING:
    from dqpipe.review.desk import Desk
    from dqpipe.stages import Decoder

Out = Annotated[str, typer.Argument(help="The output folder of a run.", show_default=False)]


def review(
    out: Out = "out",
    reviewer: Annotated[str | None, typer.Option(help="Whose verdicts these are; the page can change it.", show_default="your login")] = None,
    code: Annotated[str | None, typer.Option(help="Only samples of which this is claimed.")] = None,
    second: Annotated[bool, typer.Option("--second", help="Second opinions: what others looked at, without what they said.")] = False,
    disagreed: Annotated[bool, typer.Option("--disagreed", help="Only samples on which reviewers disagree, with what they said.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on; anything but 127.0.0.1 lets other machines ask (they need the token).")] = "127.0.0.1",
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Look at samples on a page of your own machine, the most telling first, and say what is to become of them.

    What you say is on disk at once (verdicts.jsonl), and outranks every stage from the next run on. Ctrl-C ends it.
    """
    from dqpipe.places import is_url
    from dqpipe.versions import Version

    if is_url(out):
        raise ConfigError("a review needs an output on a disk, where verdicts can be appended: copy it here")
    if second and disagreed:
        raise ConfigError("--second or --disagreed, not both")
    version = Version.open(out)
    which = "second" if second else "disagreed" if disagreed else "open"

    from dqpipe.review.desk import Desk
    from dqpipe.review.sight import Sight

    desk = Desk(Path(out).absolute(), Sight(version, _decoders()), which=which, code=code)
    serve(desk, reviewer or _login(), host, port, browse=browse)


def serve(desk: Desk, reviewer: str, host: str, port: int, *, browse: bool) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    from dqpipe.review.server import Serving

    try:
        serving = Serving(desk, host=host, port=port, reviewer=reviewer)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
    serving.start()
    try:
        typer.echo(f"{desk.progress(reviewer)['left']:,} samples to look at; the page (Ctrl-C ends it):\n{serving.url}")
        sys.stdout.flush()
        if browse:
            import webbrowser

            webbrowser.open(serving.url)
        while serving.thread.is_alive():
            serving.thread.join(1)
    except KeyboardInterrupt:
        pass
    finally:
        serving.stop()
    progress = desk.progress(reviewer)
    typer.echo(f"\n{progress['done']:,} of {progress['total']:,} looked at; the next run goes by it.")


def _decoders() -> tuple[Decoder, ...]:
    from dqpipe import plugins
    from dqpipe.stages import Decoder

    registry = plugins.load(())
    return tuple(cls() for cls in registry.all(Decoder))


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
