"""dqpipe: from raw data to a curated, explained, leak-free training set."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Augment": "stages", "Claim": "stages", "ConfigError": "errors", "DatasetError": "errors", "Dataset": "model", "Decide": "stages",
    "Decisions": "model", "Decoder": "stages", "DqpipeError": "errors", "Embedder": "stages", "Fact": "stages", "Facts": "model",
    "Figure": "stages", "Figures": "model", "Findings": "model", "GateError": "errors", "Header": "media", "MediaError": "errors",
    "OutputError": "errors", "Picture": "media", "Pipeline": "pipeline", "PlanError": "errors", "PluginError": "errors",
    "Processes": "execution.local", "Reader": "stages", "Recipe": "stages", "Report": "stages", "Result": "pipeline", "Samples": "model",
    "Section": "stages", "Serial": "execution.local", "Shard": "stages", "Stage": "stages", "StageError": "errors", "Writer": "stages",
    "check": "pipeline", "claim": "model", "curate": "pipeline", "discover": "plugins", "extension": "stages", "figure": "model",
    "hookimpl": "hookspecs", "option": "stages",
}  # fmt: skip
__all__ = sorted(["__version__", *_PUBLIC])  # noqa: PLE0605 (a list, made of what there is)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (importing dqpipe must load nothing heavy)
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dqpipe' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"dqpipe.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
