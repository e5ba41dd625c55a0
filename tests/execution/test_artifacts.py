"""What is shown of the history of an output, whatever its lines look like.

Keys that tell two outputs apart.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dqpipe.flow.artifacts import key_of, series, series_markdown, series_rows

FULL = {
    "run": "1",
    "version": "1",
    "published": True,
    "time": "2026-01-01T00:00:00+00:00",
    "samples": 64,
    "kept": 60,
    "dropped": 4,
    "relabelled": 0,
    "review": 1,
    "added": 0,
    "findings": {"files.unreadable": {"samples": 2, "share": 0.03}},
    "figures": {},
    "gates": [],
    "seconds": 1.0,
    "drift": {"image_quality.width": {"p": 0.5, "p_adjusted": 1.0, "effect": 0.1, "whole": 0.0}},
}
SHAPES: dict[str, dict[str, Any]] = {
    "full": FULL,
    "few new samples": FULL | {"drift": {"image_quality.width": {"whole": 0.2}}},
    "nothing new": FULL | {"drift": {}},
    "failed": FULL | {"published": False, "gates": [{"gate": "g", "passed": False, "said": "s"}]},
    "old": {"run": "2", "version": "2"},
    "empty": {},
    "short": {
        "run": "3",
        "findings": {"files.unreadable": {}},
        "drift": {"image_quality.width": None},
    },
    "foreign": {
        "run": 4,
        "time": [1],
        "published": {},
        "samples": "many",
        "kept": True,
        "findings": ["a"],
        "drift": {"x": 3, "y": {"effect": "big"}},
    },
    "no numbers": FULL
    | {
        "samples": float("nan"),
        "findings": {"a.b": {"samples": 1, "share": float("inf")}},
        "drift": None,
    },
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("first", ["full", "few new samples"])
def test_a_history_of_every_shape_is_shown(name: str, first: str) -> None:
    history = [SHAPES[first], SHAPES[name], SHAPES["full"]]
    rows = series_rows(history)
    json.dumps(rows, allow_nan=False)
    assert len(rows) == 3
    assert series(history)["drift of image_quality.width"][-1] == 0.1
    assert "share of files.unreadable" in series_markdown(history)
    assert series_rows([SHAPES[name]])


def test_all_shapes_together_are_shown_and_what_a_line_does_not_say_is_none() -> None:
    told = series(list(SHAPES.values()))
    assert told["drift of image_quality.width"] == [
        0.1,
        None,
        None,
        0.1,
        None,
        None,
        None,
        None,
        None,
    ]
    assert told["share of files.unreadable"] == [
        0.03,
        0.03,
        0.03,
        0.03,
        None,
        None,
        None,
        None,
        0.0,
    ]
    assert told["samples"] == [64, 64, 64, 64, None, None, None, None, None]
    assert len(series_markdown(list(SHAPES.values())).splitlines()) > 8


def test_keys_of_two_outputs_differ_and_are_allowed_in_prefect() -> None:
    places = [
        "/data/a/photos/out",
        "/data/b/photos/out",
        "s3://a/photos/out",
        "s3://b/photos/out",
        "/data/a/photos-out",
        "/",
        "/é/ü",
        "/" + "x" * 300,
    ]
    keys = [key_of(place) for place in places]
    assert len(set(keys)) == len(keys)
    assert all(
        set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(key) < 60 for key in keys
    )
    assert keys[0].startswith("photos-out-")
