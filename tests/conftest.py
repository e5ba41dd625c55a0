"""What many tests share: quiet surroundings, and a small folder of images with known faults."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from dqpipe_images import imagenet

from dqpipe.execution import library_state
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.registry import Registry
from dqpipe.testing import small_images
from tests import browser as browsers

library_state.WARNINGS_END_IT = True
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell started the suite in the background; what tests start hears Ctrl-C all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)
INSTALLED, PYTHONPATH = imagenet.installed, os.environ.get("PYTHONPATH", "")

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session", autouse=True)
def _filter_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`embedder: auto` means the filter bank, which is quicker, in all tests that are not about the
    network, and in the processes they start.
    """
    folder = tmp_path_factory.mktemp("without")
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.modules[{imagenet.PACKAGE.replace('-', '_')!r}] = None\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dqpipe_images.imagenet.installed", lambda: False)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [PYTHONPATH])]))
        yield


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests marked so see what is installed."""
    if "imagenet" in request.keywords:
        monkeypatch.setattr("dqpipe_images.imagenet.installed", INSTALLED)
        monkeypatch.setenv("PYTHONPATH", PYTHONPATH)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Every installed plugin."""
    return plugins.load()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """60 photograph tiles in two classes, with faults, in a folder of their own."""
    folder = tmp_path / "images"
    small_images(folder)
    return folder


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """One embedded Prefect server for all tests of flows: the URL of its API."""
    from dqpipe.flow import prefect_flow

    with prefect_flow._server(logs=False):
        yield prefect_flow.PREFECT_API_URL.value()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """One S3 server on loopback for all tests: its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A new bucket on that server, as s3://…; the environment says where it is and who asks."""
    from dqpipe.storage.location import filesystem

    settings = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in (settings | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    url = f"s3://b{os.urandom(8).hex()}"
    filesystem(url).mkdir(url)
    return url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless browser for the tests of a module.

    They are skipped where none is installed (`make browser`).
    """
    pytest.importorskip(
        "playwright.sync_api", reason="no client for a browser: pip install playwright"
    )
    if browsers.executable() is None:
        pytest.skip("no browser is installed: make browser")
    with browsers.opened() as one:
        yield one


@pytest.fixture
def page(browser: Browser) -> Iterator[browsers.Watched]:
    """A new page of it, with what it complains of and asks for."""
    with browsers.watched(browser) as one:
        yield one


@pytest.fixture(scope="session", autouse=True)
def _no_leftover_workers() -> Iterator[None]:
    yield
    from dqpipe.execution.worker_pool import dismiss

    dismiss()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-install",
        action="store_true",
        help="install the wheel with all its dependencies from the index",
    )
