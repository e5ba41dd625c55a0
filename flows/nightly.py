"""The flow that runs by itself.

Only what is new is measured, gates are judged, and nothing is published where nothing changed.

On a worker:     prefect.yaml beside this file deploys it, with its schedule. Without worker:
python flows/nightly.py [pipeline.yaml] --cron "0 2 * * *"     serves it from this process, as long
as it lives.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault(
    "DO_NOT_TRACK", "1"
)  # Prefect tells its makers that it is imported, unless it is told not to

from prefect import flow
from prefect.states import State

from dqpipe.cli.terminal import complain
from dqpipe.errors import DqpipeError
from dqpipe.flow import FlowResult, Options, name_of_run, run_pipeline, standing_server
from dqpipe.flow.artifacts import key_of

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data" / "pipeline.yaml"


@flow(name="nightly", persist_result=False, flow_run_name=name_of_run)
def nightly(
    pipeline: str = "pipeline.yaml",
    options: Options = Options(),  # noqa: B008 (what the form shows)
    anyway: bool = False,
) -> State[FlowResult]:
    """Curate what a dataset holds tonight; publish beside the last version, then switch.

    Facts of samples that were there before come from the store. The run is Completed (tagged
    published or unchanged), Failed (gate-failed, or failed by an error), or Cancelled (busy) where
    another run has the output; the message says what changed, or what to do.

    Args:
        pipeline: the pipeline.yaml: absolute, or relative to the flow's working directory
        options: how the run goes; what it does is in the pipeline.yaml
        anyway: publish also where nothing changed since the published version

    """
    return run_pipeline(pipeline, options, force=True, anyway=anyway, yields=True)


def main() -> int:
    """Serve the flow on a schedule, until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Curate a dataset every night, from this process.")
    parser.add_argument(
        "pipeline",
        nargs="?",
        default=str(SAMPLE),
        help="the pipeline.yaml; default: the sample data's",
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--cron", default="0 2 * * *", help="when, as cron says it (default: %(default)s, in UTC)"
    )
    when.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="or: so many seconds from one run to the next",
    )
    given = parser.parse_args()
    schedule: dict[str, Any] = (
        {"cron": given.cron} if given.every is None else {"interval": given.every}
    )
    try:
        standing_server("serving a schedule")
        pipeline = Path(given.pipeline).resolve()
        nightly.serve(
            f"nightly-served-{key_of(pipeline)}", parameters={"pipeline": str(pipeline)}, **schedule
        )
    except (DqpipeError, ValueError) as error:
        complain(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
