"""The example automation: what Prefect does by itself when a gate fails.

    python flows/automations.py --notify slack-webhook/data-team      tells somebody: any
                                                                      notification block of Prefect
    python flows/automations.py --run relabel/relabel                 starts another deployment,
                                                                      told which version and why

It may be run again: the automation of the same name is replaced. Without a block yet: `prefect
block register -m prefect.blocks.notifications`, then make one on Prefect's page, under Blocks.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta
from typing import Any

os.environ.setdefault(
    "DO_NOT_TRACK", "1"
)  # Prefect tells its makers that it is imported, unless it is told not to

from prefect import get_client
from prefect.automations import Automation
from prefect.events import RunDeployment, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from dqpipe.cli.terminal import complain, say
from dqpipe.errors import DqpipeError
from dqpipe.flow import standing_server

NAME = "dqpipe: a gate failed"
BODY = """The gate of {{ event.payload.out }} failed: {{ event.payload.gates | join('; ') }}.
What was published before stays. Report: {{ event.payload.report }}"""


def gate_failed(actions: list[Any]) -> Automation:
    """Replace the automation: on each event `dqpipe.gate.failed`, do these."""
    trigger = EventTrigger(
        expect={"dqpipe.gate.failed"}, posture=Posture.Reactive, threshold=1, within=timedelta(0)
    )
    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(NAME):
            client.delete_automation(old.id)
    return Automation(
        name=NAME,
        description="Reacts to the event that a run of dqpipe emits.",
        trigger=trigger,
        actions=actions,
    ).create()


def notification(block: str) -> SendNotification:
    """Tell somebody, through a notification block such as slack-webhook/data-team.

    Raises ObjectNotFound.
    """
    kind, _, name = block.partition("/")
    with get_client(sync_client=True) as client:
        found = client.read_block_document_by_name(name, kind, include_secrets=False)
    return SendNotification(block_document_id=found.id, subject=NAME, body=BODY)


def deployment(name: str) -> RunDeployment:
    """Start a deployment with the parameters `version` and `reasons`. Raises ObjectNotFound."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(name)
    reasons = {
        "version": "{{ event.payload.version }}",
        "reasons": "{{ event.payload.gates | join('; ') }}",
    }
    told = {key: {"__prefect_kind": "jinja", "template": text} for key, text in reasons.items()}
    return RunDeployment(deployment_id=found.id, parameters=told)


def main() -> int:
    """Register the automation."""
    parser = argparse.ArgumentParser(description="Let Prefect react to a failed gate.")
    parser.add_argument("--notify", metavar="BLOCK", help="a notification block: type/name")
    parser.add_argument(
        "--run",
        metavar="DEPLOYMENT",
        help="a deployment: flow/name; it takes `version` and `reasons`",
    )
    given = parser.parse_args()
    if not (given.notify or given.run):
        parser.error("say --notify BLOCK, --run DEPLOYMENT, or both")
    try:
        standing_server("an automation")
        actions = [
            make(name)
            for make, name in ((notification, given.notify), (deployment, given.run))
            if name
        ]
        made = gate_failed(actions)
    except (DqpipeError, ValueError, ObjectNotFound) as error:
        complain(f"error: {error}")
        return 2
    say(f"registered: {made.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
