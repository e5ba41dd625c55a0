"""Default process-wide settings of other libraries while the engine computes, so that no result
depends on the user's settings.

One counter for the process: the first that enters sets them, the last that leaves puts the user's
back, so that threads may overlap. What they set is theirs again afterwards.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

WARNINGS_END_IT = False
"""Whether warnings that somebody has turned into errors stay errors meanwhile.

Only where this program itself is tested.
"""


class Shared:
    """A reentrant change of process-wide state, shared by threads and nested blocks."""

    def __init__(self, enter: Callable[[ExitStack], None]) -> None:
        self.enter = enter
        self.lock, self.inside, self.stack = threading.RLock(), 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Apply the change until the last block ends."""
        with self.lock:
            if not self.inside:
                self.stack = ExitStack()
                self.enter(self.stack)
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if not self.inside:
                    self.stack.close()


def put(stack: ExitStack, owner: Any, name: str, value: Any) -> None:  # noqa: ANN401
    """Set an attribute until the stack closes, if the library has it."""
    if hasattr(owner, name):
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)


def _enter(stack: ExitStack) -> None:
    if not WARNINGS_END_IT:
        stack.enter_context(warnings.catch_warnings())
        warnings.filters[:] = [one for one in warnings.filters if one[0] != "error"]  # type: ignore[index]
    torch = sys.modules.get("torch")
    if torch is not None:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
    sklearn = sys.modules.get("sklearn")
    if sklearn is not None:
        stack.enter_context(sklearn.config_context(transform_output="default", assume_finite=False))


_processwide = Shared(_enter)


@contextmanager
def as_they_come() -> Iterator[None]:
    """Defaults of NumPy's floating-point errors, of warnings, of torch's types and of
    scikit-learn's output.
    """
    import numpy as np

    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"), _processwide():
        yield
