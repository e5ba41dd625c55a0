"""What is different from the last published version: drift, labels that are new or gone, copies of what was there."""

from collections.abc import Iterable

from dqpipe.hookspecs import hookimpl
from dqpipe.plugins import discover
from dqpipe.stages import Extension


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
