"""Decoding, quality, duplicates and embeddings of images."""

from collections.abc import Iterable

from dqpipe import Extension, discover, hookimpl
from dqpipe_images.copies import equal as equal
from dqpipe_images.copies import label_conflicts as label_conflicts
from dqpipe_images.copies import leaks as leaks
from dqpipe_images.copies import of_others as of_others
from dqpipe_images.copies import split_rank as split_rank
from dqpipe_images.picture import Header as Header
from dqpipe_images.picture import Picture as Picture
from dqpipe_images.sizes import shown_size as shown_size


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
