"""Curation: the policy, which decides on samples, and augmentation, which adds samples to small
classes.
"""

from collections.abc import Iterable

from dqpipe import Extension, discover, hookimpl


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
