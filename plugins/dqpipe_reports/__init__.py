"""The account as one HTML page and as JSON.

Other plugins may use `environment`: the Jinja environment of the page's sections, with its filters.
"""

from collections.abc import Iterable

from dqpipe import Extension, discover, hookimpl
from dqpipe_reports.page import environment as environment


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """Every extension in this package's modules."""
    return discover(__name__)
