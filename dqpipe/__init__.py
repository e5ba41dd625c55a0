"""dqpipe: from raw data to a curated, explained, leak-free training set.

What is exported here is what scripts and plugins use: nothing inside the packages below is theirs.
Importing it loads nothing; a name loads its module when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dqpipe.version import __version__ as __version__

if TYPE_CHECKING:
    from dqpipe import stages as stages
    from dqpipe.api import Pipeline as Pipeline
    from dqpipe.api import Result as Result
    from dqpipe.api import check as check
    from dqpipe.api import curate as curate
    from dqpipe.data import labels as labels
    from dqpipe.data import objects as objects
    from dqpipe.data import splits as splits
    from dqpipe.data.dataset import Dataset as Dataset
    from dqpipe.data.intervals import clopper_pearson as clopper_pearson
    from dqpipe.data.intervals import more_than_others as more_than_others
    from dqpipe.data.labels import Classes as Classes
    from dqpipe.data.labels import classes_of as classes_of
    from dqpipe.data.labels import filled as filled
    from dqpipe.data.labels import label_text as label_text
    from dqpipe.data.media import Rendition as Rendition
    from dqpipe.data.nearest import Index as Index
    from dqpipe.data.nearest import spherical_k_means as spherical_k_means
    from dqpipe.data.nearest import unit as unit
    from dqpipe.data.row_content import row_contents as row_contents
    from dqpipe.data.tables import DECISIONS as DECISIONS
    from dqpipe.data.tables import SEVERITIES as SEVERITIES
    from dqpipe.data.tables import Decisions as Decisions
    from dqpipe.data.tables import Facts as Facts
    from dqpipe.data.tables import Figures as Figures
    from dqpipe.data.tables import Findings as Findings
    from dqpipe.data.tables import Samples as Samples
    from dqpipe.data.tables import as_numpy as as_numpy
    from dqpipe.data.tables import claim as claim
    from dqpipe.data.tables import figure as figure
    from dqpipe.data.version_comparison import Since as Since
    from dqpipe.data.wording import IN_BACKTICKS as IN_BACKTICKS
    from dqpipe.data.wording import many as many
    from dqpipe.data.wording import plural as plural
    from dqpipe.errors import OUTSIDE as OUTSIDE
    from dqpipe.errors import ChangedError as ChangedError
    from dqpipe.errors import ConfigError as ConfigError
    from dqpipe.errors import DatasetError as DatasetError
    from dqpipe.errors import DqpipeError as DqpipeError
    from dqpipe.errors import GateError as GateError
    from dqpipe.errors import MediaError as MediaError
    from dqpipe.errors import OutputError as OutputError
    from dqpipe.errors import OutsideError as OutsideError
    from dqpipe.errors import PlanError as PlanError
    from dqpipe.errors import PluginError as PluginError
    from dqpipe.errors import StageError as StageError
    from dqpipe.errors import listed as listed
    from dqpipe.errors import nearest as nearest
    from dqpipe.execution import library_state as library_state
    from dqpipe.execution.decoding import LARGEST_FILE as LARGEST_FILE
    from dqpipe.execution.decoding import content_of as content_of
    from dqpipe.execution.decoding import read_bytes as read_bytes
    from dqpipe.execution.local import Processes as Processes
    from dqpipe.execution.local import Serial as Serial
    from dqpipe.plugin.exchange import Answer as Answer
    from dqpipe.plugin.exchange import Exchange as Exchange
    from dqpipe.plugin.exchange import Handed as Handed
    from dqpipe.plugin.exchange import HandedOver as HandedOver
    from dqpipe.plugin.exchange import Media as Media
    from dqpipe.plugin.exchange import Ruling as Ruling
    from dqpipe.plugin.exchange import Written as Written
    from dqpipe.plugin.hooks import hookimpl as hookimpl
    from dqpipe.plugin.kinds import Commands as Commands
    from dqpipe.plugin.kinds import Executor as Executor
    from dqpipe.plugin.kinds import Workers as Workers
    from dqpipe.plugin.registry import discover as discover
    from dqpipe.plugin.stage import EVERY as EVERY
    from dqpipe.plugin.stage import Augment as Augment
    from dqpipe.plugin.stage import Claim as Claim
    from dqpipe.plugin.stage import Decide as Decide
    from dqpipe.plugin.stage import Decoder as Decoder
    from dqpipe.plugin.stage import Embedder as Embedder
    from dqpipe.plugin.stage import Encoder as Encoder
    from dqpipe.plugin.stage import Extension as Extension
    from dqpipe.plugin.stage import Fact as Fact
    from dqpipe.plugin.stage import Figure as Figure
    from dqpipe.plugin.stage import Gift as Gift
    from dqpipe.plugin.stage import Pixels as Pixels
    from dqpipe.plugin.stage import Preview as Preview
    from dqpipe.plugin.stage import Reader as Reader
    from dqpipe.plugin.stage import Recipe as Recipe
    from dqpipe.plugin.stage import Recognition as Recognition
    from dqpipe.plugin.stage import Report as Report
    from dqpipe.plugin.stage import Section as Section
    from dqpipe.plugin.stage import Shard as Shard
    from dqpipe.plugin.stage import Stage as Stage
    from dqpipe.plugin.stage import View as View
    from dqpipe.plugin.stage import Writer as Writer
    from dqpipe.plugin.stage import extension as extension
    from dqpipe.plugin.stage import option as option
    from dqpipe.results import diff as diff
    from dqpipe.results.report import sentences as sentences
    from dqpipe.storage import containers as containers
    from dqpipe.storage import media_bytes as media_bytes
    from dqpipe.storage import spreadsheet as spreadsheet
    from dqpipe.storage import strict_json as strict_json
    from dqpipe.storage.checked_files import Inside as Inside
    from dqpipe.storage.checked_files import Within as Within
    from dqpipe.storage.checked_files import opened as opened
    from dqpipe.storage.checked_files import refuse_url as refuse_url
    from dqpipe.storage.fact_store import shuffle_key as shuffle_key
    from dqpipe.storage.location import filesystem as filesystem
    from dqpipe.storage.location import is_url as is_url
    from dqpipe.storage.location import place as place
    from dqpipe.storage.location import url_below as url_below
    from dqpipe.storage.paths import media_path as media_path
    from dqpipe.storage.paths import path_text as path_text

_PUBLIC = {
    "api": "Pipeline Result check curate",
    "data.dataset": "Dataset",
    "data.intervals": "clopper_pearson more_than_others",
    "data.labels": "Classes classes_of filled label_text",
    "data.media": "Rendition",
    "data.nearest": "Index spherical_k_means unit",
    "data.row_content": "row_contents",
    "data.tables": (
        "DECISIONS Decisions Facts Figures Findings SEVERITIES Samples as_numpy claim figure"
    ),
    "data.version_comparison": "Since",
    "data.wording": "IN_BACKTICKS many plural",
    "errors": (
        "ChangedError ConfigError DatasetError DqpipeError GateError MediaError OUTSIDE "
        "OutputError OutsideError PlanError PluginError StageError listed nearest"
    ),
    "execution.decoding": "LARGEST_FILE content_of read_bytes",
    "execution.local": "Processes Serial",
    "plugin.exchange": "Answer Exchange Handed HandedOver Media Ruling Written",
    "plugin.hooks": "hookimpl",
    "plugin.kinds": "Commands Executor Workers",
    "plugin.registry": "discover",
    "plugin.stage": (
        "Augment Claim Decide Decoder EVERY Embedder Encoder Extension Fact Figure Gift "
        "Pixels Preview Reader Recipe Recognition Report Section Shard Stage View Writer "
        "extension option"
    ),
    "storage.checked_files": "Inside Within opened refuse_url",
    "storage.fact_store": "shuffle_key",
    "storage.location": "filesystem is_url place url_below",
    "storage.paths": "media_path path_text",
}
"""The module of each name."""
_MODULES = {
    "containers": "storage",
    "diff": "results",
    "labels": "data",
    "library_state": "execution",
    "media_bytes": "storage",
    "objects": "data",
    "sentences": "results.report",
    "splits": "data",
    "stages": "",
    "spreadsheet": "storage",
    "strict_json": "storage",
}
"""Modules that are public as they are, and where they lie."""
_WHERE = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = sorted(["__version__", *_WHERE, *_MODULES])  # noqa: PLE0605 (a list, made of what there is)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (importing dqpipe must load nothing heavy)
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"dqpipe.{_MODULES[name]}.{name}".replace("..", "."))
    if name not in _WHERE:
        raise AttributeError(f"module 'dqpipe' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dqpipe.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
