"""dqpipe: from raw data to a curated, explained, leak-free training set."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Augment": "plugin.stage", "Claim": "plugin.stage", "ConfigError": "errors", "DatasetError": "errors", "Dataset": "data.tables", "Decide": "plugin.stage",
    "Decisions": "data.tables", "Decoder": "plugin.stage", "DqpipeError": "errors", "Embedder": "plugin.stage", "Fact": "plugin.stage", "Facts": "data.tables",
    "Figure": "plugin.stage", "Figures": "data.tables", "Findings": "data.tables", "GateError": "errors", "Header": "data.media", "MediaError": "errors",
    "OutputError": "errors", "Picture": "data.media", "Pipeline": "api", "PlanError": "errors", "PluginError": "errors",
    "Processes": "execution.local", "Reader": "plugin.stage", "Recipe": "plugin.stage", "Report": "plugin.stage", "Result": "api", "Samples": "data.tables",
    "Section": "plugin.stage", "Serial": "execution.local", "Shard": "plugin.stage", "Stage": "plugin.stage", "StageError": "errors", "Writer": "plugin.stage",
    "check": "api", "claim": "data.tables", "curate": "api", "discover": "plugin.registry", "extension": "plugin.stage", "figure": "data.tables",
    "hookimpl": "plugin.hooks", "option": "plugin.stage",
}  # fmt: skip
__all__ = sorted(["__version__", *_PUBLIC])  # noqa: PLE0605 (a list, made of what there is)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (importing dqpipe must load nothing heavy)
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dqpipe' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"dqpipe.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
