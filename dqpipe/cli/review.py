"""The command `dqpipe review`.

Review samples on a local page, audit a finding code, fit a threshold.
"""

from __future__ import annotations

import getpass
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqpipe.cli.terminal import say
from dqpipe.data.wording import many
from dqpipe.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from dqpipe.plugin.stage import Decoder, View
    from dqpipe.results.versions import Version
    from dqpipe.review.review_queue import ReviewQueue

Out = Annotated[str, typer.Argument(help="The output folder of a run.", show_default=False)]


def review(
    out: Out = "out",
    reviewer: Annotated[
        str | None,
        typer.Option(
            help="The reviewer's name; the page can change it.", show_default="your login"
        ),
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only samples with this finding code.")] = None,
    second: Annotated[
        bool,
        typer.Option(
            "--second",
            help="Second opinions: samples that others reviewed, without their verdicts.",
        ),
    ] = False,
    disagreed: Annotated[
        bool,
        typer.Option(
            "--disagreed", help="Only samples on which reviewers disagree, with their verdicts."
        ),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    host: Annotated[
        str,
        typer.Option(
            help=(
                "The address to listen on; any but 127.0.0.1 admits other machines (they need the "
                "token)."
            )
        ),
    ] = "127.0.0.1",
    audit: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Review a blind random sample of this finding code, and certify its precision.",
        ),
    ] = None,
    number: Annotated[
        int,
        typer.Option(
            "--n",
            min=1,
            help="How many findings to review; half as many other samples are mixed in.",
        ),
    ] = 80,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Fit a threshold to the answers of an audit; no page is served."
        ),
    ] = None,
    precision: Annotated[
        float, typer.Option(min=0, max=1, help="The precision that the threshold must reach.")
    ] = 0.95,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Review samples on a page of your own machine, those most worth a look first.

    Each verdict is written to verdicts.jsonl at once, and overrides every stage from the next run
    on. Ctrl-C ends it.
    """
    from dqpipe.review.explain import version_of
    from dqpipe.storage.location import is_url

    if is_url(out):
        raise ConfigError(
            "a review needs an output on a disk, where verdicts can be appended: copy it here"
        )
    if second and disagreed:
        raise ConfigError("--second or --disagreed, not both")
    place = Path(out).absolute()
    if fit is not None:
        return tell_fit(place, fit, precision)
    version = version_of(out)
    which = "second" if second else "disagreed" if disagreed else "open"

    from dqpipe.review import audit_queue
    from dqpipe.review.review_queue import ReviewQueue
    from dqpipe.review.sample_view import SampleView

    view = SampleView(version, *_modalities())
    if audit is None:
        return serve(
            ReviewQueue(place, view, which=which, code=code),
            reviewer or _login(),
            host,
            port,
            browse=browse,
        )
    queue = audit_queue.AuditQueue(
        place, view, audit_queue.opened(place, view, audit, number), which=which
    )
    serve(queue, reviewer or _login(), host, port, browse=browse)
    made = queue.certificate()
    if made is not None:
        say(made.said)
        say("run again to have it in run.json, in the report and in gates")
    return None


def tell_fit(out: Path, code: str, precision: float) -> None:
    """Print the threshold that reaches a precision, its recall, and the lines for pipeline.yaml.

    Raises DatasetError.
    """
    from dqpipe.results import verdicts
    from dqpipe.review import audits, threshold_fit
    from dqpipe.review.explain import version_of

    known = [one for one in audits.audits(out) if one.code == code]
    if not known:
        raise DatasetError(
            f"no claim of {code} was looked at yet: dqpipe review {out} --audit {code}"
        )
    said = verdicts.verdicts(out)
    answered = [one for one in known if audits.certify(one, said)]
    audit = (answered or known)[-1]
    found, certain = (
        threshold_fit.fit(audit, said, precision),
        threshold_fit.sure(audit, said, precision),
    )
    whole = audits.certify(audit, said)
    say(whole.said if whole else code)
    if found is None:
        say(f"no threshold reaches a precision of {precision:g}")
        raise typer.Exit(1)
    for name, one in (("estimated", found), ("sure (95 %)", certain)):
        if one is None:
            say(
                f"{name}: not with so few looks; {threshold_fit.needed(precision):,} above one "
                f"threshold, all of them right, would do"
            )
        else:
            above = (
                f"precision {one.precision:.2f} [{one.low:.2f}, {one.high:.2f}] on {one.looked:,} "
                f"looked at"
            )
            say(
                f"{name}: confidence of at least {one.at_least:.4g}: {above}; keeps "
                f"{100 * one.recall:.0f} % of the claims that hold"
            )
    say()
    for line in setting(version_of(out), code, found.at_least).split("\n"):
        say(line)


def setting(version: Version, code: str, confidence: float) -> str:
    """The lines of pipeline.yaml for a threshold.

    The stage's own option on the confidence if it has one, else a rule of the policy.
    """
    from dqpipe.review.audits import claimed

    threshold = math.floor(confidence * 1e6) / 1e6
    stage = code.rpartition(".")[0]
    options: dict[str, Any] = next(
        (one["options"] for one in version.record["stages"] if one["name"] == stage), {}
    )
    found = claimed(version.findings, code).values()
    if "at_least" in options and all(row["value"] == row["confidence"] for row in found):
        return f"stages:\n  - {stage}: {{at_least: {threshold:g}}}"
    return (
        f"policy:\n  rules:\n    {code}: {{decision: {_decision(version, code)}, at_least: "
        f"{threshold:g}, otherwise: review}}"
    )


def _decision(version: Version, code: str) -> str:
    """The most frequent decision on samples with this finding code."""
    decisions = [
        row["decision"]
        for row in version.decisions.table.to_pylist()
        if (row["because"] or [""])[0] == code
    ]
    return max(sorted(set(decisions) - {"keep"}), key=decisions.count, default="review")


def serve(queue: ReviewQueue, reviewer: str, host: str, port: int, *, browse: bool) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    from dqpipe.review.server import Serving

    if not (host.isascii() and host.isprintable()):
        raise ConfigError(f"{host!r} is no address to listen on")
    try:
        serving = Serving(queue, host=host, port=port, reviewer=reviewer)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}"
        ) from None
    serving.start()
    try:
        say(
            f"{many(queue.progress(reviewer)['left'], 'sample')} to look at; the page (Ctrl-C ends "
            f"it):"
        )
        say(serving.url)
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
    progress = queue.progress(reviewer)
    say()
    say(f"{progress['done']:,} of {progress['total']:,} looked at; the next run goes by it.")


def _modalities() -> tuple[tuple[Decoder, ...], tuple[View, ...]]:
    """What decodes media, and what shows them."""
    from dqpipe.plugin import registry as plugins
    from dqpipe.plugin.stage import Decoder, View

    registry = plugins.load(())
    return registry.instances(Decoder), registry.instances(View)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
