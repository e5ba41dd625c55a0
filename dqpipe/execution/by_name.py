"""Executors by name, as the command line and the Python interface take them.

    serial · threads[:N] · processes[:N]        this machine
    dask[:N] · ray[:N]                          a cluster of N workers on this machine, for the time
                                                of the run
    dask:ADDRESS · ray:ADDRESS                  a cluster that is there (dask:tcp://10.0.0.5:8786,
                                                ray:ray://head:10001, ray:auto)

A run on a cluster is a flow, as it is reached through Prefect's task runners.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dqpipe.errors import ConfigError, nearest
from dqpipe.execution.local import Processes, Serial, Threads
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.kinds import Executor, Workers
from dqpipe.plugin.registry import Registry

NAMES = "serial | threads:4 | processes:4 | dask | dask:tcp://HOST:PORT | ray | ray:ADDRESS"
LOCAL = {"serial": Serial, "threads": Threads, "processes": Processes}
PACKAGES = {"dask": ("distributed", "prefect_dask"), "ray": ("ray", "prefect_ray")}
HERE = {"dask": ("cryptography",), "ray": ()}
"""What a cluster of this machine needs beside: the certificate of a run is made with it."""


@dataclass(frozen=True)
class Cluster:
    """A Dask or Ray cluster: at an address, or a local one for the duration of a run."""

    engine: str
    address: str = ""
    workers: int = 0

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[Any]:
        """Raises ConfigError: a cluster is used through `PrefectTasks` only."""
        raise ConfigError(
            f"{self.engine} runs through a flow: give its name to Pipeline.run, `dqpipe run "
            f"--executor` or run_flow"
        )


def executor_named(text: str, registry: Registry | None = None) -> Executor:
    """The executor of a name, ours or that of a plugin's `Workers`.

    Raises ConfigError, also where its packages are missing.
    """
    name, _, rest = text.partition(":")
    count = int(rest) if rest.isdecimal() else 0
    if name in LOCAL and (not rest or (count and name != "serial")):
        return LOCAL[name](count) if count else LOCAL[name]()
    if name in PACKAGES and (count or not rest.isdecimal()):
        wanted = PACKAGES[name] if rest and not count else PACKAGES[name] + HERE[name]
        missing = [package for package in wanted if importlib.util.find_spec(package) is None]
        if missing:
            raise ConfigError(
                f"executor {name!r} needs {' and '.join(missing).replace('_', '-')}: pip install "
                f"'dqpipe[{name}]'"
            )
        return Cluster(name, "" if count else rest, count)
    brought = {cls.name: cls for cls in (registry or plugins.load()).all(Workers)}
    if name in brought:
        return brought[name]().executor(rest)
    guess = (
        "" if name in (*LOCAL, *PACKAGES) else f": {nearest(name, [*LOCAL, *PACKAGES, *brought])}"
    )
    raise ConfigError(f"executor {text!r} is none of {NAMES}{guess}")
