"""dqpipe: from raw data to a curated, explained, leak-free training set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dqpipe.version import __version__ as __version__

if TYPE_CHECKING:
    from dqpipe.api import Pipeline as Pipeline
    from dqpipe.api import Result as Result
    from dqpipe.api import check as check
    from dqpipe.api import curate as curate
    from dqpipe.data.dataset import Dataset as Dataset
    from dqpipe.data.media import Header as Header
    from dqpipe.data.media import Picture as Picture
    from dqpipe.data.tables import Decisions as Decisions
    from dqpipe.data.tables import Facts as Facts
    from dqpipe.data.tables import Figures as Figures
    from dqpipe.data.tables import Findings as Findings
    from dqpipe.data.tables import Samples as Samples
    from dqpipe.data.tables import claim as claim
    from dqpipe.data.tables import figure as figure
    from dqpipe.errors import ConfigError as ConfigError
    from dqpipe.errors import DatasetError as DatasetError
    from dqpipe.errors import DqpipeError as DqpipeError
    from dqpipe.errors import GateError as GateError
    from dqpipe.errors import MediaError as MediaError
    from dqpipe.errors import OutputError as OutputError
    from dqpipe.errors import PlanError as PlanError
    from dqpipe.errors import PluginError as PluginError
    from dqpipe.errors import StageError as StageError
    from dqpipe.execution.local import Processes as Processes
    from dqpipe.execution.local import Serial as Serial
    from dqpipe.plugin.hooks import hookimpl as hookimpl
    from dqpipe.plugin.registry import discover as discover
    from dqpipe.plugin.stage import Augment as Augment
    from dqpipe.plugin.stage import Claim as Claim
    from dqpipe.plugin.stage import Decide as Decide
    from dqpipe.plugin.stage import Decoder as Decoder
    from dqpipe.plugin.stage import Embedder as Embedder
    from dqpipe.plugin.stage import Extension as Extension
    from dqpipe.plugin.stage import Fact as Fact
    from dqpipe.plugin.stage import Figure as Figure
    from dqpipe.plugin.stage import Reader as Reader
    from dqpipe.plugin.stage import Recipe as Recipe
    from dqpipe.plugin.stage import Recognition as Recognition
    from dqpipe.plugin.stage import Report as Report
    from dqpipe.plugin.stage import Section as Section
    from dqpipe.plugin.stage import Shard as Shard
    from dqpipe.plugin.stage import Stage as Stage
    from dqpipe.plugin.stage import Writer as Writer
    from dqpipe.plugin.stage import extension as extension
    from dqpipe.plugin.stage import option as option

_PUBLIC = {
    "Augment": "plugin.stage", "check": "api", "Claim": "plugin.stage", "claim": "data.tables", "ConfigError": "errors", "curate": "api",
    "Dataset": "data.dataset", "DatasetError": "errors", "Decide": "plugin.stage", "Decisions": "data.tables", "Decoder": "plugin.stage",
    "discover": "plugin.registry", "DqpipeError": "errors", "Embedder": "plugin.stage", "Extension": "plugin.stage", "extension": "plugin.stage",
    "Fact": "plugin.stage", "Facts": "data.tables", "Figure": "plugin.stage", "figure": "data.tables", "Figures": "data.tables",
    "Findings": "data.tables", "GateError": "errors", "Header": "data.media", "hookimpl": "plugin.hooks", "MediaError": "errors",
    "option": "plugin.stage", "OutputError": "errors", "Picture": "data.media", "Pipeline": "api", "PlanError": "errors", "PluginError": "errors",
    "Processes": "execution.local", "Reader": "plugin.stage", "Recipe": "plugin.stage", "Recognition": "plugin.stage", "Report": "plugin.stage",
    "Result": "api", "Samples": "data.tables", "Section": "plugin.stage", "Serial": "execution.local", "Shard": "plugin.stage", "Stage": "plugin.stage",
    "StageError": "errors", "Writer": "plugin.stage",
}  # fmt: skip
__all__ = sorted(["__version__", *_PUBLIC])  # noqa: PLE0605 (a list, made of what there is)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (importing dqpipe must load nothing heavy)
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dqpipe' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"dqpipe.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
