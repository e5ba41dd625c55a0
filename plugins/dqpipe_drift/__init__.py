"""What is different from the last published version: drift, labels that are new or gone, copies of what was there."""

from collections.abc import Iterable

from dqpipe import Extension, discover, hookimpl


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
