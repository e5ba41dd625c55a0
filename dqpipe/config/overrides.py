"""Overrides of options on the command line: `-o label_noise.at_least=0.9`.

    NAME.OPTION=VALUE          a stage by the name it goes by, or dataset, policy, outputs
    NAME.OPTION.KEY=VALUE      one entry of an option that is a mapping; KEY is all that is left of
                               the =, dots too
    seed=VALUE   gates=VALUE   unjudged=VALUE

VALUE is YAML. It replaces the value of the file, and is checked in the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import yaml

from dqpipe.errors import ConfigError, nearest

WHOLE = ("seed", "gates", "unjudged")
SECTIONS = ("dataset", "policy", "outputs")
Place = tuple[str | int, ...]


def changed(
    values: dict[str, Any], changes: Iterable[str]
) -> tuple[dict[str, Any], dict[Place, str]]:
    """The values of a pipeline.yaml with overrides, and a name for messages of each overridden
    place. Raises ConfigError.
    """
    values, said = copy.deepcopy(values), {}
    for text in changes:
        place = _change(values, text)
        said[place] = f"-o {text}"
    return values, said


def _change(values: dict[str, Any], text: str) -> Place:
    where = f"-o {text}"
    path, equals, given = text.partition("=")
    name, *rest = path.strip().split(".", 2)
    if not equals or not all((name, *rest)):
        raise ConfigError("NAME.OPTION=VALUE is wanted, such as label_noise.at_least=0.9", where)
    try:
        value = yaml.safe_load(given)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"the value is not valid YAML: {getattr(error, 'problem', None) or error}", where
        ) from None
    if name in WHOLE:
        if rest:
            raise ConfigError(f"{name} has no options: {name}=VALUE is wanted", where)
        values[name] = value
        return (name,)
    place = _options(values, name, where)
    if not rest:
        raise ConfigError(f"an option of {name} is wanted: {name}.OPTION=VALUE", where)
    _put(values, (*place, *rest), value, where)
    return (*place, *rest)


def _options(values: dict[str, Any], name: str, where: str) -> Place:
    """The place of the options of a section or a stage, created if the file has none."""
    if name in SECTIONS:
        return (name,)
    stages = values.get("stages")
    stages = stages if isinstance(stages, list) else []
    known = []
    for number, entry in enumerate(stages):
        stage, options = (
            next(iter(entry.items()))
            if isinstance(entry, dict) and len(entry) == 1
            else (entry, None)
        )
        alias = options.get("as", stage) if isinstance(options, dict) else stage
        known.append(str(alias))
        if alias == name:
            stages[number] = {stage: options}
            return ("stages", number, stage)
    raise ConfigError(
        f"no stage of this pipeline is called {name!r}: "
        f"{nearest(name, [*known, *SECTIONS, *WHOLE])}",
        where,
    )


def _put(values: Any, place: Place, value: object, where: str) -> None:  # noqa: ANN401 (mappings and lists)
    """Set a value at a place, creating mappings on the way.

    Raises ConfigError where another kind of value is in the way.
    """
    for step in place[:-1]:
        if isinstance(values, dict) and values.get(step) is None:
            values[step] = {}
        values = values[step]
        if not isinstance(values, (dict, list)):
            raise ConfigError(
                f"{step} is {values!r}, which has no options: give it as a whole", where
            )
    values[place[-1]] = value
