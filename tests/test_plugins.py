"""Plugins: names claimed twice, hooks that object, observers that fail, broken ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import dqpipe
from dqpipe.api import Pipeline
from dqpipe.errors import PlanError, PluginError
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.stage import (
    Decide,
    Decoder,
    Extension,
    Fact,
    Shard,
    Stage,
    extension,
    option,
)


@extension
class Width(Stage):
    """The width of each picture."""

    name = "width"
    rendition = "header"
    gives = (Fact("pixels", "int64", "width in pixels"),)

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        return {"pixels": [header.width for header in shard.headers]}


class Brings:
    """A plugin that brings one stage."""

    @dqpipe.hookimpl
    def dqpipe_register(self) -> Iterable[type[Extension]]:
        return [Width]


class Objects:
    """A plugin that allows no plan without `files`."""

    @dqpipe.hookimpl
    def dqpipe_plan(self, plan: Mapping[str, Any]) -> str | None:
        return (
            None
            if "files" in {stage["name"] for stage in plan["stages"]}
            else "a plan without files is none"
        )


class Stumbles:
    """A plugin that cannot even look at a plan."""

    @dqpipe.hookimpl
    def dqpipe_plan(self, plan: Mapping[str, Any]) -> str | None:
        raise RuntimeError("no eyes")


class Watches:
    """An observer that notes what it is told, and raises at every shard."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.told: dict[str, Any] = {}

    @dqpipe.hookimpl
    def dqpipe_run_started(self, run: Mapping[str, Any]) -> None:
        self.seen.append(f"started with {run['samples']}")

    @dqpipe.hookimpl
    def dqpipe_shard_finished(self, shard: Mapping[str, Any]) -> None:
        shard["samples"] = 0  # type: ignore[index]

    @dqpipe.hookimpl
    def dqpipe_run_finished(self, run: Mapping[str, Any]) -> None:
        self.seen.append(f"finished with {run['error']}")
        self.told = dict(run)


def pipeline(images: Path, registry: plugins.Registry, stages: str) -> Pipeline:
    return Pipeline.from_text(
        f"dataset: {{path: {images}}}\nstages: {stages}\noutputs: {{path: "
        f"{images.parent / 'out'}, reports: []}}\n",
        registry=registry,
    )


def test_a_name_claimed_twice_names_both_claimants() -> None:
    with pytest.raises(
        PluginError, match="stage 'width' is claimed by plugin one and by plugin two"
    ):
        plugins.load(extra={"one": Brings(), "two": Brings()})


def test_a_planning_hook_objects(images: Path) -> None:
    registry = plugins.load(extra={"brings": Brings(), "objects": Objects()})
    with pytest.raises(PlanError, match="plugin objects: a plan without files is none"):
        pipeline(images, registry, "[width]").check("serial")
    assert pipeline(images, registry, "[files, width]").check("serial").passed


def test_a_planning_hook_that_fails_is_named(images: Path) -> None:
    registry = plugins.load(extra={"stumbles": Stumbles()})
    with pytest.raises(
        PluginError,
        match="plugin stumbles failed while it looked at the plan: RuntimeError: no eyes",
    ):
        pipeline(images, registry, "[files]").check("serial")


def test_an_observer_sees_runs_changes_nothing_and_may_fail(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watches = Watches()
    registry = plugins.load(extra={"watches": watches})
    with caplog.at_level(logging.ERROR):
        result = pipeline(images, registry, "[files]").check("serial")
    assert len(result.samples) == 64
    assert watches.seen == ["started with 64", "finished with None"]
    assert "observer dqpipe_shard_finished of plugin watches raised" in caplog.text


def test_an_observer_of_a_finished_run_is_told_where_it_came_from_where_it_went_and_of_its_gates(
    images: Path,
) -> None:
    watches = Watches()
    result = pipeline(
        images, plugins.load(extra={"watches": watches}), "[files]\ngates: ['samples < 3']"
    ).run("serial")
    told = watches.told
    assert (told["source"], told["out"], told["path"]) == (
        str(images),
        str(images.parent / "out"),
        str(result.path),
    )
    assert (told["published"], [gate["gate"] for gate in told["gates"]], told["asks"]) == (
        True,
        ["samples < 3"],
        (),
    )


def test_one_registry_serves_several_runs_and_a_stage_from_a_script(images: Path) -> None:
    registry = plugins.load(extra={"brings": Brings()})
    made = pipeline(images, registry, "[files, width]")
    first, second = made.run("processes:2", shard_size=16), made.run("serial", force=True)
    assert first.facts["width.pixels"].equals(second.facts["width.pixels"])
    assert "64 samples in 2 classes" in repr(first)


def test_a_plugin_left_out_is_gone_and_a_wrong_name_is_refused() -> None:
    assert "image_quality" not in plugins.load(without=["images"]).names(Stage)
    with pytest.raises(PluginError, match="did you mean 'images'"):
        plugins.load(without=["imags"])


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(Stage, "order", 3), (Stage, "needs", ()), (Decoder, "modality", "x"), (Stage, "check", 1)],
)
def test_what_a_kind_declares_is_no_option(kind: type[Extension], name: str, value: Any) -> None:
    body = {"__annotations__": {name: type(value)}, name: option(value, "help")}
    with pytest.raises(TypeError, match=f"{name} is no option"):
        extension(type("Mine", (kind,), body))


def test_what_another_kind_declares_may_be_an_option_and_so_may_hold() -> None:
    class Mine(Decide):
        name = "mine"
        hold: bool = option(default=True, help="keep them out")
        order: int = option(3, "of no meaning to a policy")

    made = extension(Mine)()
    assert (made.hold, made.order) == (True, 3)
