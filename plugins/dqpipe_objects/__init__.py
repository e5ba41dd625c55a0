"""Objects of pictures: faults of boxes, polygons and keypoints."""

from collections.abc import Iterable

from dqpipe import Extension, discover, hookimpl


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
