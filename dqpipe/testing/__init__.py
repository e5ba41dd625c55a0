"""For plugin authors: `check_stage`, the contract as a test, a small dataset with known faults, and
fixtures for pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dqpipe.testing.contract import ContractError as ContractError
    from dqpipe.testing.contract import check_stage as check_stage
    from dqpipe.testing.contract import small_images as small_images

__all__ = ["ContractError", "check_stage", "small_images"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (pytest loads this package at start-up: nothing heavy until it is used)
    if name not in __all__:
        raise AttributeError(f"module 'dqpipe.testing' has no attribute {name!r}")
    from dqpipe.testing import contract

    return getattr(contract, name)
