"""The layers hold, the engine knows no plugin, and importing does nothing heavy."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dqpipe
from dqpipe.plugin import registry as registries
from dqpipe.plugin.kinds import KINDS
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Encoder, Stage, View

ROOT = Path(__file__).parents[1]


def test_the_import_contracts_hold() -> None:
    code = (
        "import sys; from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for types count."""
    ours = [p.parent.name for p in (ROOT / "plugins").glob("*/__init__.py")]
    code = (
        f"import grimp; graph = grimp.build_graph('dqpipe', *{ours}, cache_dir=None); "
        "left = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}\n"
        "while done := [m for m in left if not left[m] & left.keys()]:\n"
        "    for m in done: del left[m]\n"
        "print(*sorted(left))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_prefect_is_imported_in_three_files_of_the_engine() -> None:
    using = [
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "dqpipe").rglob("*.py")
        if "import prefect" in (t := p.read_text()) or "from prefect" in t
    ]
    assert sorted(using) == [
        "dqpipe/execution/prefect/tasks.py",
        "dqpipe/flow/messages.py",
        "dqpipe/flow/prefect_flow.py",
    ]


def test_the_engine_imports_no_library_of_a_modality() -> None:
    modality = {"PIL", "albumentations", "cv2", "simplejpeg", "torch"}
    using = {
        (p.relative_to(ROOT).as_posix(), name)
        for p in (ROOT / "dqpipe").rglob("*.py")
        for node in ast.walk(ast.parse(p.read_text(encoding="utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if name.partition(".")[0] in modality
    }
    assert using == {
        ("dqpipe/cli/machine.py", "torch"),  # `dqpipe doctor` says on which device it computes
    }


def test_the_engine_names_no_stage(registry: Registry) -> None:
    from dqpipe.plugin.stage import Stage

    words = {
        "cells",
        "drift",
        "objects",
        "split",
    }  # of gates and history; a column of samples; cells of compared rows; a kind of label
    names = [f'"{name}"' for name in registry.names(Stage) if name not in words]
    guilty = [
        (p.name, name)
        for p in (ROOT / "dqpipe").rglob("*.py")
        for name in names
        if name in p.read_text()
    ]
    assert guilty == []


def test_importing_dqpipe_is_light() -> None:
    code = (
        "import sys, json; before = set(sys.modules); import dqpipe; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    loaded = json.loads(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    )
    assert {"prefect", "torch", "great_expectations", "pandas", "cv2", "sklearn"}.isdisjoint(
        name.split(".")[0] for name in loaded
    )


@pytest.mark.parametrize("command", [["--help"], ["plugins"], ["schema"]])
def test_looking_around_loads_no_heavy_library(command: list[str]) -> None:
    start = (
        f"import sys; sys.argv = ['dqpipe', *{command}]\nfrom dqpipe.cli.main import main\ntry: "
        f"main()\nexcept SystemExit: pass\n"
    )
    code = f"{start}print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


HEAVY = [
    "torch",
    "prefect",
    "great_expectations",
    "albumentations",
    "pandas",
    "scipy",
    "sklearn",
    "cleanlab",
    "cv2",
]


def test_plugins_use_no_insides_of_each_other() -> None:
    ours = {p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").exists()}
    guilty = []
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        own = path.relative_to(ROOT / "plugins").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            guilty += [
                (path.name, name)
                for name in modules
                if "." in name and name.split(".")[0] in ours - {own}
            ]
    assert guilty == []


def test_what_is_exported_is_what_type_checkers_see() -> None:
    block = next(
        node
        for node in ast.parse(Path(dqpipe.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    )
    typed = {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {
        (f"dqpipe.{module}".rstrip("."), name)
        for name, module in (*dqpipe._WHERE.items(), *dqpipe._MODULES.items())
    }
    assert lazy == typed


def test_no_undeclared_name_is_looked_for_on_an_extension() -> None:
    allowed = {"stage.py", "registry.py", "testing.py"}
    looking = re.compile(
        r"(?:getattr|hasattr)\((?:self|cls|stage|extension|section|augment|policy|[a-z_.]*\.(?:extension|stage))\b, "  # noqa: E501
        r"\""
    )
    guilty = [
        (p.name, found.group(0))
        for p in (*(ROOT / "dqpipe").rglob("*.py"), *(ROOT / "plugins").rglob("*.py"))
        for found in looking.finditer(p.read_text())
        if p.name not in allowed
    ]
    assert guilty == []


def test_public_names_are_sorted_complete_and_importable() -> None:
    assert dqpipe.__all__ == sorted(dqpipe.__all__)
    assert [name for name in dqpipe.__all__ if not hasattr(dqpipe, name)] == []


def test_every_extension_says_what_it_does_and_every_option_has_help(registry: Registry) -> None:
    import dataclasses

    silent = [cls.name for cls in registry.extensions.values() if not cls.summary()]
    mute = [
        (cls.name, f.name)
        for cls in registry.extensions.values()
        for f in dataclasses.fields(cls)
        if not f.metadata.get("description")
    ]
    assert (silent, mute) == ([], [])


def type_checked(path: Path) -> subprocess.CompletedProcess[str]:
    """What mypy, as strict as on our own code, says of a file."""
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_stage_of_the_docs_passes_a_strict_type_checker(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "own-stage.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "redness.py").write_text(example)
    done = type_checked(tmp_path / "redness.py")
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n"), (
        done.stdout + done.stderr
    )


def test_the_plugin_of_each_kind_in_the_docs_is_typed_strictly_and_registers(
    tmp_path: Path,
) -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    path = tmp_path / "of_each_kind.py"
    path.write_text(page.partition("```python\n")[2].partition("```")[0])
    done = type_checked(path)
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n"), (
        done.stdout + done.stderr
    )
    spec = importlib.util.spec_from_file_location("of_each_kind", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    brought = registries.load(extra={"docs": module})
    kinds = {kind for (kind, _), plugin in brought.origin.items() if plugin == "docs"}
    assert brought.broken == {}
    assert set(KINDS) - kinds <= {Stage, Encoder, View}
