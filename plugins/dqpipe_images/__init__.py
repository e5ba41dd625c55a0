"""Decoding, quality, duplicates and embeddings of images."""

from collections.abc import Iterable

from dqpipe import Extension, discover, hookimpl
from dqpipe_images.picture import Header as Header
from dqpipe_images.picture import Picture as Picture
from dqpipe_images.sizes import shown_size as shown_size


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
