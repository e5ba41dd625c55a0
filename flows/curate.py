"""The flow that a team deploys: raw data in, a curated set, its report and its ledger out.

By hand:  python flows/curate.py [pipeline.yaml] [--force]
On a schedule, or from Prefect's page: see prefect.yaml and README.md beside this file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dqpipe.api import Pipeline
from dqpipe.cli.terminal import complain, say
from dqpipe.errors import DqpipeError
from dqpipe.flow import curate, run_flow
from dqpipe.results.report import account

__all__ = ["curate"]
SAMPLE = Path(__file__).resolve().parents[1] / "sample_data" / "pipeline.yaml"


def main() -> int:
    """Run the flow once and print its account; the exit codes are those of `dqpipe run`."""
    parser = argparse.ArgumentParser(description="Curate a dataset as a Prefect flow.")
    parser.add_argument(
        "pipeline",
        nargs="?",
        default=str(SAMPLE),
        help="the pipeline.yaml; default: the sample data's",
    )
    parser.add_argument(
        "--force", action="store_true", help="publish beside what the output holds, then switch"
    )
    given = parser.parse_args()
    try:
        run = run_flow(Pipeline.from_yaml(given.pipeline), force=given.force, logs=True)
        for line in (*account(run.record), "", f"in {run.published}"):
            say(line)
        run.raise_for_gates()
    except DqpipeError as error:
        complain(f"error: {error}")
        return error.exit_code
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
