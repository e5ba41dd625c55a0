"""From nothing to a scheduled run, as the documentation says it: a real server and worker,
a schedule, and what Prefect shows and does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dqpipe.flow.artifacts import key_of
from dqpipe.results import versions
from dqpipe.testing import small_images

ROOT = Path(__file__).parents[2]
WITHIN = 240
"""Seconds; a worker that shares two cores with everything else needs some."""


class Site:
    """A folder like the repository's, a Prefect server of its own, and the programs that were
    started there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, ExitStack()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{port}/api"
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
            },
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
            "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        }

    def dataset(self, name: str) -> Path:
        """A folder with a few images and their pipeline.yaml."""
        small_images(self.folder / name / "images")
        (self.folder / name / "pipeline.yaml").write_text(
            "dataset: {path: images}\nstages: [files, image_quality]\noutputs: {path: ../out-"
            + name
            + "}\n"
        )
        return self.folder / name / "pipeline.yaml"

    def do(self, *command: str) -> str:
        """What a program prints that ends by itself, and well."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, *command: str) -> Path:
        """Start a program that stays; what it prints goes to the file that is returned."""
        log = self.folder / f"{name}.log"
        self.started.enter_context(
            running([sys.executable, *command], self.folder, self.environment, log)
        )
        return log

    def ask(self, what: str, method: str = "POST", **body: Any) -> Any:
        for _ in range(60):  # a busy server's SQLite is locked for moments
            answer = httpx.request(method, f"{self.api}/{what}", json=body, timeout=90)
            if not answer.is_server_error:
                break
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def states(self, deployment: str) -> list[dict[str, Any]]:
        """The flow runs of a deployment that have ended, the oldest first."""
        runs = self.ask(
            "flow_runs/filter",
            deployments={"name": {"any_": [deployment]}},
            sort="EXPECTED_START_TIME_ASC",
        )
        return [run for run in runs if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED")]

    def until(self, deployment: str, tag: str) -> dict[str, Any]:
        """The first run of a deployment that ended with this tag."""
        return eventually(
            lambda: next((run for run in self.states(deployment) if tag in run["tags"]), None),
            self.logs,
        )

    def logs(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text()[-3000:]}" for log in self.folder.glob("*.log")
        )


@contextmanager
def running(
    command: list[str], folder: Path, environment: dict[str, str], log: Path
) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def eventually(ask: Callable[[], Any], otherwise: Callable[[], str]) -> Any:
    """The first answer that is not None or empty."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.2)
    raise AssertionError(otherwise())


def commands() -> list[list[str]]:
    """The five commands of the documentation, without `prefect` and what a shell would take
    for a comment.
    """
    section = (ROOT / "docs" / "flows.md").read_text()
    found = re.findall(r"^prefect (.+)$", section.partition("\n## ")[0], re.MULTILINE)
    return [["-m", "prefect", *shlex.split(line, comments=True)] for line in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    shutil.copytree(ROOT / "flows", made.folder / "flows")
    plan = made.folder / "flows" / "prefect.yaml"
    asked = yaml.safe_load(plan.read_text())
    assert asked["deployments"][1]["schedules"] == [{"cron": "0 2 * * *", "timezone": "UTC"}]
    asked["deployments"][1]["schedules"] = [{"interval": 15}]  # nobody waits for two in the morning
    plan.write_text(yaml.safe_dump(asked))
    made.dataset("sample_data")
    with made.started:
        made.start("server", *commands()[0])
        eventually(lambda: _healthy(made.api), made.logs)
        made.start("served", "flows/nightly.py", str(made.dataset("served")), "--every", "60")
        yield made


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A place that notes what is posted to it: its URL, and the notes."""
    notes: list[dict[str, Any]] = []

    class Note(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notes.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Note) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", notes
        server.shutdown()


def test_from_nothing_to_a_scheduled_run_that_publishes_once_and_tells_of_a_failed_gate(
    site: Site, told: tuple[str, list[dict[str, Any]]]
) -> None:
    _, pool, worker, deploy, look = commands()
    site.do(*pool)
    site.ask("work_pools/dqpipe", "PATCH", concurrency_limit=1)  # a small machine
    site.start("worker", *worker)
    site.do(*deploy)
    out = site.folder / "out-sample_data"

    published = site.until("nightly", "published")
    assert (published["auto_scheduled"], published["work_pool_name"]) == (True, "dqpipe")
    version = versions.published(out)
    assert published["state"]["name"] == "Completed"
    assert re.fullmatch(r"sample_data/images \d{4}-\d\d-\d\d \d\d:\d\d", published["name"])
    assert published["state"]["message"].startswith(
        f"published version {version}: 61 of 64 samples kept, 0 relabelled"
    )
    assert (
        site.until("nightly", "unchanged")["state"]["message"]
        == f"nothing changed since version {version}, which stays published"
    )
    assert versions.versions(out) == [version]
    assert published["name"] in site.do(*look)

    url, notes = told
    block = {
        "name": "team",
        "data": {"name": "team", "url": url, "json_data": {"text": "{{body}}"}},
    }
    kind = site.ask("block_types/filter", block_types={"name": {"like_": "Custom Webhook"}})[0][
        "id"
    ]
    schema = site.ask("block_schemas/filter", block_schemas={"block_type_id": {"any_": [kind]}})[0][
        "id"
    ]
    site.ask("block_documents/", **block, block_type_id=kind, block_schema_id=schema)
    assert (
        site.do("flows/automations.py", "--notify", "custom-webhook/team")
        == "registered: dqpipe: a gate failed\n"
    )
    with (site.folder / "sample_data" / "pipeline.yaml").open("a") as file:
        file.write('gates: ["files.unreadable > 0%"]\n')
    failed = site.until("nightly", "gate-failed")
    site.ask(f"deployments/{failed['deployment_id']}/pause_deployment")  # three nights suffice
    assert failed["state"]["name"] == "Failed"
    assert failed["state"]["message"].startswith(
        f"files.unreadable is 3.125% (2 of 64); it must not be > 0%. Version {version} stays "
        f"published. Read {out}/"
    )
    usual = eventually(
        lambda: site.ask("events/filter", filter={"event": {"name": ["prefect.flow-run.Failed"]}})[
            "events"
        ],
        site.logs,
    )
    assert f"prefect.flow-run.{failed['id']}" in {
        event["resource"]["prefect.resource.id"] for event in usual
    }
    assert versions.published(out) == version
    note = eventually(lambda: notes, site.logs)[0]["text"]
    assert "files.unreadable is 3.125% (2 of 64); it must not be > 0%" in note
    emitted = eventually(
        lambda: site.ask("events/filter", filter={"event": {"name": ["dqpipe.gate.failed"]}})[
            "events"
        ],
        site.logs,
    )[0]
    assert emitted["resource"]["prefect.resource.name"] == str(out)
    assert {"version", "dataset", "flow-run", "flow", "deployment"} <= {
        one["prefect.resource.role"] for one in emitted["related"]
    }
    assert {**emitted["payload"]["counts"], "review": 0} == {
        "samples": 64,
        "kept": 61,
        "dropped": 3,
        "relabelled": 0,
        "review": 0,
        "added": 0,
    }
    # Prefect's own worker shows one where it meets a run that pausing the deployment has just
    # removed
    assert not re.search(
        rf'File "({ROOT}/(dqpipe|plugins)|{site.folder})/', (site.folder / "worker.log").read_text()
    )


def test_without_a_worker_the_flow_serves_itself_on_a_schedule(site: Site) -> None:
    served = f"nightly-served-{key_of((site.folder / 'served' / 'pipeline.yaml').resolve())}"
    published = site.until(served, "published")
    assert (published["auto_scheduled"], published["work_pool_name"]) == (True, None)
    assert (
        f"published version {versions.published(site.folder / 'out-served')}: "
        in published["state"]["message"]
    )


def test_a_person_is_asked_on_prefects_page_and_the_version_is_published_then(site: Site) -> None:
    asking = site.dataset("asking")
    with asking.open("a") as file:
        file.write('approve: ["samples >= 0"]\n')
    site.start("asking", "-c", f"from dqpipe.flow import curate; curate({str(asking)!r})")

    def asked(*kinds: str) -> dict[str, Any] | None:
        runs = site.ask(
            "flow_runs/filter",
            flow_runs={
                "tags": {"all_": ["asking/images"]},
                "state": {"type": {"any_": list(kinds)}},
            },
        )
        return runs[0] if runs else None

    paused = eventually(lambda: asked("PAUSED"), site.logs)
    out = site.folder / "out-asking"
    version = versions.waiting(out)
    assert (versions.published(out), "waiting" in paused["tags"]) == (None, True)
    site.ask(f"flow_runs/{paused['id']}/resume", run_input={"publish": True, "by": "ann"})
    ended = eventually(lambda: asked("COMPLETED", "FAILED", "CRASHED"), site.logs)
    assert (ended["state"]["name"], "published" in ended["tags"], versions.published(out)) == (
        "Completed",
        True,
        version,
    )
    assert "approved by ann" in ended["state"]["message"]
