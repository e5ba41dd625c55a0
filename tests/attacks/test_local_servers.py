"""The servers that a run starts on this machine answer to nobody but the run.

Another user of it could run code as this one.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import websockets
from distributed import Client, Security
from prefect.settings import PREFECT_API_AUTH_STRING

from dqpipe.execution.by_name import Cluster
from dqpipe.execution.prefect import tasks
from dqpipe.execution.prefect.server import Embedded

SECONDS = 2
PATIENCE = 60
"""Seconds until a busy server is held to be silent."""


def test_the_embedded_server_answers_to_nobody_without_its_secret(prefect_server: str) -> None:
    secret = PREFECT_API_AUTH_STRING.value()
    user, _, word = secret.partition(":")
    asked = [
        ("flow_runs/filter", {}),
        ("deployments/filter", {}),
        ("flows/", {"name": "theirs"}),
        ("variables/", {"name": "a", "value": 1}),
    ]
    for what, body in asked:
        for auth in (None, ("dqpipe", ""), (user, word[:-1])):
            assert (
                httpx.post(f"{prefect_server}/{what}", json=body, auth=auth).status_code
                == httpx.codes.UNAUTHORIZED
            ), what
    assert httpx.get(f"{prefect_server}/admin/settings").status_code == httpx.codes.UNAUTHORIZED
    assert (
        httpx.post(f"{prefect_server}/flow_runs/filter", json={}, auth=(user, word)).status_code
        == httpx.codes.OK
    )
    assert word not in repr(Embedded(prefect_server, secret, Path()))


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_the_embedded_server_closes_a_socket_without_its_secret(
    prefect_server: str, path: str
) -> None:
    async def told() -> None:
        async with websockets.connect(
            f"{prefect_server.replace('http', 'ws', 1)}/{path}",
            subprotocols=["prefect"],
            open_timeout=PATIENCE,
        ) as socket:
            await socket.send('{"type": "auth", "token": "guessed"}')
            async with asyncio.timeout(PATIENCE):
                while '"auth_success"' not in str(await socket.recv()):
                    pass

    with pytest.raises((websockets.ConnectionClosed, websockets.InvalidStatus)):
        asyncio.run(told())


@pytest.fixture(scope="module")
def scheduler(prefect_server: str) -> Iterator[str]:
    """The address of the scheduler of a Dask cluster as a run starts it."""
    assert prefect_server
    runner = tasks.started(Cluster("dask", workers=1))
    try:
        yield runner.client.scheduler.address
    finally:
        runner.__exit__(None, None, None)


@pytest.mark.parametrize("how", ["no certificate", "another one", "in the clear"])
def test_a_scheduler_of_dask_answers_to_nobody_without_its_certificate(
    scheduler: str, how: str
) -> None:
    # a client that failed waits, when it is collected while another one starts, for a lock that
    # this one holds
    gc.collect()
    security = Security.temporary() if how == "another one" else None
    address = scheduler.replace("tls://", "tcp://") if how == "in the clear" else scheduler
    with (
        pytest.raises((OSError, TypeError, ValueError)),
        Client(address, security=security, timeout=SECONDS, set_as_default=False) as client,
    ):
        client.submit(str, 1).result(SECONDS)


def test_nothing_of_a_dask_cluster_listens_in_the_clear_or_to_other_machines(
    scheduler: str,
) -> None:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ports: dict[int, str] = {}
    for process in processes:
        with suppress(psutil.Error):
            ports |= {
                one.laddr.port: one.laddr.ip
                for one in process.net_connections("tcp")
                if one.status == psutil.CONN_LISTEN
            }
    assert int(scheduler.rpartition(":")[2]) in ports
    assert set(ports.values()) == {"127.0.0.1"}
