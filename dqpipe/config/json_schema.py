"""The JSON Schemas: of pipeline.yaml with everything that is installed, for editors.

Of report.json, for programs that read it.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import typing
from typing import Any

import pydantic

from dqpipe.config.pipeline_file import (
    LARGEST_SEED,
    UNJUDGED,
    DatasetSection,
    OutputsSection,
    nested_kinds,
    plain,
)
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Augment, Extension, Stage

BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
}
"""Pydantic's names of an option's bounds → those of JSON Schema."""


def schema(registry: Registry) -> dict[str, Any]:
    """The schema of the whole file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dqpipe pipeline",
        "type": "object",
        "additionalProperties": False,
        "required": ["stages"],
        "not": {"required": ["gates", "fail_on"]},
        "properties": {
            "dataset": DatasetSection.model_json_schema(),
            "stages": {
                "type": "array",
                "minItems": 1,
                "items": _choice(registry, (Stage, Augment)),
            },
            "policy": {"type": "object", "description": "what to do about what was found"},
            "gates": {
                "type": "array",
                "items": {"type": "string"},
                "description": "conditions that fail the run; left away: the default ones, []: none",  # noqa: E501
            },
            "fail_on": {
                "type": ["string", "array"],
                "items": {"type": "string"},
                "description": "another name for gates; one condition, or a list",
            },
            "unjudged": {
                "enum": list(UNJUDGED),
                "default": UNJUDGED[0],
                "description": "what a gate does that compares with the last version and cannot",
            },
            "approve": {
                "type": "array",
                "items": {"type": "string"},
                "description": "conditions under which a person is asked before publishing",
            },
            "outputs": OutputsSection.model_json_schema(),
            "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED, "default": 0},
        },
    }


def of_report() -> dict[str, Any]:
    """The schema of report.json, as shipped: dqpipe/report/schema.json."""
    text = (importlib.resources.files("dqpipe.results.report") / "schema.json").read_text(
        encoding="utf-8"
    )
    return dict(json.loads(text))


def _choice(registry: Registry, kinds: tuple[type[Extension], ...]) -> dict[str, Any]:
    classes = [cls for kind in kinds for cls in registry.all(kind)]
    named = {cls.name: options_schema(registry, cls) for cls in classes}
    for options in named.values():
        options["properties"]["as"] = {
            "type": "string",
            "description": "another name for this use of the stage",
        }
    return {
        "oneOf": [
            {"type": "string", "enum": list(named)},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": named,
            },
        ]
    }


def options_schema(registry: Registry, cls: type[Extension]) -> dict[str, Any]:
    """The JSON Schema of one extension's options.

    A nested extension is a name, or a name with options.
    """
    nested = nested_kinds(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    properties: dict[str, Any] = {}
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.name in nested:
            names = registry.names(nested[f.name])
            shape: dict[str, Any] = {
                "anyOf": [
                    {"type": "string", "enum": names},
                    {"type": "object", "maxProperties": 1, "minProperties": 1},
                ]
            }
            made = f.default_factory
            if isinstance(made, type) and issubclass(made, Extension):
                shape["default"] = made.name
        else:
            shape = pydantic.TypeAdapter(hints[f.name]).json_schema()
        if f.default is not dataclasses.MISSING:
            shape["default"] = plain(f.default)
        shape |= {BOUNDS[key]: value for key, value in f.metadata.items() if key in BOUNDS}
        properties[f.name] = {**shape, "description": f.metadata.get("description", "")}
    return {
        "type": "object",
        "description": cls.summary(),
        "additionalProperties": False,
        "properties": properties,
    }
