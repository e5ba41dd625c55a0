"""Files of a user's that lie around and inside every path that dqpipe is told.

None of them is ever changed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dqpipe.api import Pipeline
from dqpipe.cli import main
from dqpipe.engine.run import Run
from dqpipe.errors import DqpipeError, OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import versions
from dqpipe.results.outcome import Outcome
from dqpipe.results.rollback import roll_back
from dqpipe.storage import jsonl
from dqpipe.storage.location import place
from tests import faulty

HEX = "0123456789abcdef" * 2
NAMES = (
    ".git/config",
    ".git/objects/ab/cdef",
    ".venv/bin/python",
    ".env",
    ".gitattributes",
    "README.md",
    "src/a.py",
    "data/a.png",
    "notes.txt",
    "runs/exp1/run.json",
    "runs/exp1/model.pt",
    "runs/20260101-000000-000000abcd/model.pt",
    "runs/.hidden/x",
    "facts/notes.txt",
    f"facts/{HEX}/mine.arrow",
    f"facts/{HEX}/.mine.arrow.0123abcd",
    "relations/x.arrow",
    "artifacts/model.npz",
    "used/a.json",
    "versions/1.0/run.json",
    "versions/2020/run.json",
    "versions/2020/a.bin",
    "versions/.hidden/a",
    "versions/.git/HEAD",
    "versions/20260101-000000-000000-0123abcd/x",
    "versions/.20260101-000000-000000abcd/x",
    f"versions/.20260101-000000-000000abcd.{HEX}/x",
    "store/runs/x/y",
    "store/readme.md",
    "store/.git/HEAD",
    "store/facts/readme.md",
    "store/src/a.py",
    "store/.tmp/x",
    "store/relations/.cache",
    ".version.0123abcd",
    ".curated.0123abcd/x",
    ".probe-1/x",
    "dqpipe/x",
    "dqpipe/mirrors/x",
    "handover/a",
    "tasks.json",
    "curated/x.png",
    "report.html",
    "ledger.parquet",
    "verdicts.jsonl.bak",
)
"""What people, and other programs, may have in a folder."""
IN_A_VERSION = (
    "notes.txt",
    "curated/labels.cache",
    "curated/.cache/x",
    ".DS_Store.mine",
    "tables/mine.arrow",
    "more/deep/er",
)
SEEN = [
    ".git/config",
    ".venv/bin/python",
    ".env",
    "README.md",
    "src/a.py",
    "runs/exp1/model.pt",
    "artifacts/model.npz",
    "versions/1.0/run.json",
    "versions/2020/run.json",
    "versions/.hidden/a",
    "versions/.git/HEAD",
    "store/runs/x/y",
]
"""Names of files that were deleted once; tried each time, not by chance."""
FILES = 4552
"""A seed by which each of them is a plain file."""
LONG_AGO = time.time() - 30 * 86_400


def dqpipe(*words: object) -> Any:
    return CliRunner().invoke(main.app, [str(word) for word in words])


def code(told: Any) -> int:
    """The exit code of the command line."""
    return told.exception.exit_code if isinstance(told.exception, DqpipeError) else told.exit_code


def state(root: Path) -> dict[str, tuple[int, str]]:
    """Each name below a folder, with its mode and what it holds."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        held = (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes().hex()
            if path.is_file()
            else ""
        )
        found[path.relative_to(root).as_posix()] = (status.st_mode, held)
    return found


def kept(before: dict[str, tuple[int, str]], root: Path) -> None:
    after = state(root)
    assert {name: after.get(name) for name in before} == before


def plant(root: Path, names: list[str], seed: int, outside: Path) -> None:
    """A user's files, links and folders; none in the place of what is there."""
    draw = random.Random(seed)
    outside.mkdir(exist_ok=True)
    (outside / "precious.txt").write_text("mine\n" * 100)
    for name in names:
        path = root / name
        if os.path.lexists(path) or any(
            parent.is_symlink() or parent.is_file()
            for parent in path.parents
            if parent != root and root in parent.parents
        ):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = draw.randrange(6)
        if kind == 0:
            path.symlink_to(outside / "precious.txt")
        elif kind == 1:
            path.symlink_to(outside)
        elif kind == 2 and not name.startswith("versions/20"):
            path.mkdir()
            (path / "inner").write_bytes(draw.randbytes(20))
        else:
            path.write_bytes(
                draw.choice([b"", b"{}", b'{"run": 1, "host": "x", "pid": 1}', draw.randbytes(50)])
            )
            path.chmod(draw.choice([0o600, 0o644, 0o755]))
        if not path.is_symlink():
            os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for label in ("a", "b"):
        (folder / label).mkdir()
        for number in range(3):
            faulty.picture(folder / label / f"{number}.png", seed=number + 10 * (label == "b"))
    return folder


def yaml(
    folder: Path,
    pictures: Path,
    out: object,
    store: object = None,
    keep: int = 1,
    stages: str = "[files, duplicates]",
) -> Path:
    path = folder / f"{uuid.uuid4().hex[:6]}.yaml"
    kept = "" if store is None else f", store: '{store}'"
    path.write_text(
        f"dataset: {{path: {pictures}}}\nstages: {stages}\noutputs: {{path: '{out}', reports: [], "
        f"keep_versions: {keep}{kept}}}\n"
    )
    return path


def run(
    registry: Registry, pictures: Path, out: object, *, keep: int = 5, **outputs: object
) -> Outcome:
    more = "".join(f", {name}: '{value}'" for name, value in outputs.items())
    text = (
        f"dataset: {{path: {pictures}}}\nstages: [files, duplicates]\noutputs: {{path: '{out}', "
        f"reports: [], keep_versions: {keep}{more}}}\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    return Run(made.config, registry, Serial(), force=True).run()


@pytest.fixture(scope="module")
def output(registry: Registry, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with three versions, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "out"
    for _ in range(3):
        run(registry, pictures, folder)
    return folder


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(names=SEEN, seed=FILES)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=12, unique=True),
    seed=st.integers(0, 2**32),
)
def test_a_folder_that_dqpipe_did_not_make_is_taken_under_no_flag(
    pictures: Path, tmp_path_factory: pytest.TempPathFactory, names: list[str], seed: int
) -> None:
    top = tmp_path_factory.mktemp("foreign")
    mine, outside = top / "mine", top / "outside"
    mine.mkdir()
    plant(mine, names, seed, outside)
    before, around = state(mine), state(outside)
    paths = [yaml(top, pictures, mine), yaml(top, pictures, top / "out", mine)]
    told = [dqpipe("run", path, "--force", "--executor", "serial") for path in paths]
    told += [dqpipe("store", "prune", where, "--older-than", 0) for where in (mine, paths[1])]
    told += [dqpipe("store", "verify", "--repair", where) for where in (mine, paths[1])]
    told += [dqpipe("rollback", mine), dqpipe("versions", mine)]
    assert state(mine) == before
    assert state(outside) == around
    assert [code(one) for one in told[:-1]] == [2] * 7, [
        (one.exception, one.output) for one in told
    ]


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(names=SEEN, seed=FILES, inside=[])
@given(
    names=st.lists(st.sampled_from(NAMES), max_size=12, unique=True),
    seed=st.integers(0, 2**32),
    inside=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(IN_A_VERSION)), max_size=4, unique=True
    ),
)
def test_nothing_of_a_users_in_an_output_of_dqpipes_changes(
    pictures: Path,
    output: Path,
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    seed: int,
    inside: list[tuple[int, str]],
) -> None:
    top = tmp_path_factory.mktemp("own")
    out, outside = top / "out", top / "outside"
    shutil.copytree(output, out, symlinks=True)
    made = state(out)
    stand = versions.versions(out)
    plant(
        out,
        [*names, *(f"versions/{stand[number]}/{name}" for number, name in inside)],
        seed,
        outside,
    )
    before, around = (
        {name: told for name, told in state(out).items() if name not in made},
        state(outside),
    )
    path = yaml(top, pictures, out)
    for words in (
        ("run", path, "--force", "--executor", "serial"),
        ("store", "prune", out, "--older-than", 0),
        ("store", "verify", out, "--repair"),
        ("rollback", out),
        ("run", path, "--force", "--executor", "serial"),
    ):
        told = dqpipe(*words)
        assert code(told) in {0, 1, 2}, told.exception
    kept(before, out)
    assert state(outside) == around
    assert versions.published(out) not in stand


CACHED = (
    "dqpipe",
    "dqpipe/x",
    "dqpipe/mirrors",
    "dqpipe/mirrors/x",
    f"dqpipe/mirrors/{HEX}/index.arrow",
    f"dqpipe/mirrors/{HEX}/facts/{HEX}/{HEX}.arrow",
    f"dqpipe/mirrors/{HEX}/copies/x",
    "dqpipe/.git/HEAD",
    "pip/http/a",
    "mesa",
    ".probe-0123abcd",
)
"""What may lie in a cache of a user's."""
SPARE = (
    f"dqpipe-{os.getuid()}",
    f"dqpipe-{os.getuid()}/mirrors/x",
    "dqpipe-20260101-000000-000000abcd-x/curated/a.png",
    "dqpipe-verify-x/0/a.arrow",
    "dqpipe-prefect-x/mine.db",
    ".handover-x/a",
    "pytest/a",
    "a.tmp",
    "tmpabcd/x",
)
HANDED = (
    "README.md",
    ".dqpipe.json",
    "samples.csv",
    "tasks.json",
    "config.xml",
    "labels.json",
    "annotations.xml",
    "manifest.jsonl",
    "tag.py",
    "samples.json",
    ".handover-x/a",
    ".git/HEAD",
    "versions/1/run.json",
)
BESIDE = (
    "verdicts.jsonl",
    "audits.jsonl",
    "notes.txt",
    "verdicts.jsonl.bak",
    "review/x",
    "curated.zip",
    "audits/x",
    ".git/config",
    "versions/.hidden/a",
)


@pytest.fixture(scope="module")
def judged(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with two findings, beside its pictures."""
    top = tmp_path_factory.mktemp("judged")
    for number in range(4):
        (top / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        faulty.picture(top / "images" / "ab"[number % 2] / f"{number}.png", seed=number)
    for number in range(2):
        (top / "images" / "a" / f"text{number}.png").write_text(f"no picture {number}\n")
    run(registry, top / "images", top / "out")
    return top


def reviewed(desk: Any, *_: object, **__: object) -> None:
    """Instead of a page: somebody says something, and takes it back."""
    said = "yes" if hasattr(desk, "audit") else "keep"
    for row in desk.order:
        desk.say(row, said, "ann")
    desk.undo("ann")


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    beside=st.lists(st.sampled_from(BESIDE), max_size=5, unique=True),
    handed=st.lists(st.sampled_from(HANDED), min_size=1, max_size=6, unique=True),
    cached=st.lists(st.sampled_from(CACHED), max_size=6, unique=True),
    spare=st.lists(st.sampled_from(SPARE), max_size=6, unique=True),
    seed=st.integers(0, 2**32),
)
def test_what_people_say_and_hand_over_and_every_cache_leave_a_users_files_alone(
    judged: Path,
    tmp_path_factory: pytest.TempPathFactory,
    beside: list[str],
    handed: list[str],
    cached: list[str],
    spare: list[str],
    seed: int,
) -> None:
    top = tmp_path_factory.mktemp("said")
    shutil.copytree(judged / "out", top / "out", symlinks=True)
    made, outside = set(state(top / "out")), top / "outside"
    for number, (folder, names) in enumerate(
        {"out": beside, "handed": handed, "cache": cached, "tmp": spare}.items()
    ):
        (top / folder).mkdir(exist_ok=True)
        plant(top / folder, names, seed + number, outside)
    before = {
        folder: {
            name: told
            for name, told in state(top / folder).items()
            if folder != "out" or name not in made
        }
        for folder in ("out", "handed", "cache", "tmp", "outside")
    }
    before["out"] = {
        name: told
        for name, told in before["out"].items()
        if told[1] or name not in {"verdicts.jsonl", "audits.jsonl"}
    }  # an empty one is taken
    out, url = top / "out", f"memory://{uuid.uuid4().hex}"
    elsewhere = yaml(top, judged / "images", f"{url}/out", f"{url}/store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(top / "cache"))
        patch.setenv("TMPDIR", str(top / "tmp"))
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr("dqpipe.cli.review.serve", reviewed)
        answers = top / "fresh" / "samples.csv"
        for words in (
            ("review", out),
            ("review", out, "--audit", "files.unreadable", "--n", 2),
            ("review", out, "--fit", "files.unreadable"),
            ("handover", "csv", top / "fresh", "--out", out, "--all"),
            ("takeover", answers, "--out", out, "--reviewer", "bob"),
            *(
                ("handover", kind, top / "handed", "--out", out, "--all", *force)
                for kind in ("csv", "label-studio", "cvat")
                for force in ((), ("--force",))
            ),
            ("run", elsewhere, "--force", "--executor", "serial"),
            ("store", "prune", f"{url}/store", "--older-than", 0),
            ("store", "verify", f"{url}/store", "--repair"),
            ("versions", f"{url}/out"),
        ):
            told = dqpipe(*words)
            assert isinstance(told.exception, (DqpipeError, SystemExit, type(None))), (
                words,
                told.exception,
            )
            assert code(told) in {0, 1, 2}, (words, told.output)
    assert answers.exists() or (out / "verdicts.jsonl").is_dir()  # which is no log, and is said
    for folder, then in before.items():
        kept(then, top / folder)


def test_files_for_another_tool_do_not_take_the_marker_of_an_output(
    judged: Path, tmp_path: Path
) -> None:
    shutil.copytree(judged / "out", tmp_path / "out", symlinks=True)
    marker = (tmp_path / "out" / ".dqpipe.json").read_bytes()
    assert (
        code(
            dqpipe(
                "handover", "csv", tmp_path / "out", "--out", tmp_path / "out", "--all", "--force"
            )
        )
        == 2
    )
    assert (tmp_path / "out" / ".dqpipe.json").read_bytes() == marker


@pytest.mark.parametrize("name", ["verdicts.jsonl", "audits.jsonl", "history.jsonl"])
def test_nothing_is_added_to_a_file_that_somebody_else_wrote(tmp_path: Path, name: str) -> None:
    for held in (
        b"mine\n",
        b"\x89PNG",
        b"- a: 1\n",
        b"[]",
        b"{}\n",
        b'{"host": "x"}\n',
        b"[" * 10_000,
    ):
        (tmp_path / name).write_bytes(held)
        refused(tmp_path, name)
        assert (tmp_path / name).read_bytes() == held
    for held in (b"", b"\n", b'{"a": 0}\n', b'{"a":', b'{"a": "' + b"x" * 10_000 + b'"}\n'):
        (tmp_path / name).write_bytes(held)
        jsonl.append(tmp_path, name, {"a": 1})
        assert [row["a"] for row in jsonl.rows(tmp_path, name)][-1] == 1


def refused(out: Path, name: str) -> None:
    with pytest.raises(OutputError, match="is not of dqpipe's making"):
        jsonl.append(out, name, {"a": 1})


@pytest.mark.parametrize(
    "name",
    [
        ".lock",
        "history.jsonl",
        "verdicts.jsonl",
        "audits.jsonl",
        "version",
        "versions",
        ".dqpipe.json",
        ".publishing",
    ],
)
def test_what_is_written_is_never_written_through_a_link(
    registry: Registry, pictures: Path, output: Path, tmp_path: Path, name: str
) -> None:
    out, target = tmp_path / "out", tmp_path / "target"
    shutil.copytree(output, out, symlinks=True)
    if name == "versions":
        (out / name).rename(target)
    else:
        target.write_text("precious\n")
        (out / name).unlink(missing_ok=True)
    before = state(target) or target.read_bytes()
    (out / name).symlink_to(target)
    with pytest.raises(OutputError, match="is a link"):
        run(registry, pictures, out)
    assert (state(target) or target.read_bytes()) == before
    if name.endswith("jsonl"):
        with pytest.raises(OutputError, match="is a link"):
            jsonl.append(out, name, {"a": 1})
        assert target.read_bytes() == before


def test_a_lock_file_that_is_somebody_elses_is_not_emptied(
    registry: Registry, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("precious\n")
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "mine", tmp_path / "out" / ".lock")
    with pytest.raises(OutputError, match="is not a lock of dqpipe"):
        run(registry, pictures, tmp_path / "out")
    assert (tmp_path / "mine").read_text() == "precious\n"


def test_links_of_a_user_beside_the_versions_stay(
    registry: Registry, pictures: Path, output: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(output, out, symlinks=True)
    for name in ("curated", "ledger.parquet"):
        (out / name).unlink()
        (out / name).symlink_to(tmp_path / "elsewhere")
    run(registry, pictures, out)
    assert [str((out / name).readlink()) for name in ("curated", "ledger.parquet")] == [
        str(tmp_path / "elsewhere")
    ] * 2


def test_versions_of_this_and_of_the_last_format_are_removed_and_a_users_files_in_them_stay(
    registry: Registry, pictures: Path, output: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(output, out, symlinks=True)
    first, second, third = versions.versions(out)
    (out / ".dqpipe.json").unlink()  # as an earlier version left it
    for version in (first, second, third):
        (out / "versions" / version / "tables" / "files.arrow").unlink()
        record = json.loads((out / "versions" / version / "run.json").read_text())
        files = [
            path
            for path in (out / "versions" / version).rglob("*")
            if path.is_file() and path.name != "run.json"
        ]
        record["holds"] = {"count": len(files), "bytes": sum(path.stat().st_size for path in files)}
        (out / "versions" / version / "run.json").write_text(json.dumps(record))
    mine = out / "versions" / second / "curated" / "mine.cache"
    mine.write_text("mine")
    fourth = run(registry, pictures, out, keep=3).version
    fifth = run(registry, pictures, out, keep=1).version
    assert set(versions.versions(out)) == {
        second,
        fifth,
    }  # what was added to it is not known to be dqpipe's
    assert mine.read_text() == "mine"
    yours = out / "versions" / fifth / "curated" / "yours.cache"
    yours.write_text("yours")
    sixth = run(registry, pictures, out, keep=1).version
    assert not (out / "versions" / fourth).exists()
    assert state(out / "versions" / fifth).keys() == {"curated", "curated/yours.cache"}
    assert set(versions.versions(out)) == {second, sixth}


def test_a_version_of_another_output_is_not_removed(
    registry: Registry, pictures: Path, output: Path, tmp_path: Path
) -> None:
    run(registry, pictures, tmp_path / "out")
    first = versions.versions(output)[0]
    shutil.copytree(output / "versions" / first, tmp_path / "out" / "versions" / first)
    with (tmp_path / "out" / "history.jsonl").open("a") as file:
        file.write(json.dumps({"run": "x", "version": first, "published": True}) + "\n")
    before = state(tmp_path / "out" / "versions" / first)
    for _ in range(2):
        run(registry, pictures, tmp_path / "out", keep=1)
    assert state(tmp_path / "out" / "versions" / first) == before


def killed_before_the_switch(
    registry: Registry, pictures: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a kill: nothing after it is done."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dqpipe.results.publish.switch", kill)
        with pytest.raises(Killed):
            run(registry, pictures, out)


def test_a_version_of_a_run_that_was_killed_counts_for_nothing(
    registry: Registry, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = run(registry, pictures, out, keep=2).version
    killed_before_the_switch(registry, pictures, out, monkeypatch)
    assert len([path for path in (out / "versions").iterdir() if (path / "run.json").exists()]) == 2
    assert versions.versions(out) == [first]
    second = run(registry, pictures, out, keep=2).version
    assert sorted(path.name for path in (out / "versions").iterdir()) == [first, second]
    assert versions.versions(out) == [first, second]
    assert roll_back(out) == (second, first)
    assert not (out / ".publishing").exists()


def test_versions_stay_though_their_history_is_lost(
    registry: Registry, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = [run(registry, pictures, out).version for _ in range(3)]
    (out / "history.jsonl").unlink()
    assert versions.versions(out) == made
    last = run(registry, pictures, out).version
    assert [path.name for path in sorted((out / "versions").iterdir())] == [*made, last]
    assert roll_back(out) == (last, made[2])


def test_spare_files_of_killed_runs_go(
    registry: Registry, pictures: Path, output: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(output, out, symlinks=True)
    version = versions.published(out)
    (out / ".version.0123abcd").write_text(f"{version}\n")
    (out / ".version.0123abce").write_text("a user's\n")
    (out / ".curated.0123abcd").symlink_to(f"versions/{version}/curated")
    (out / ".curated.0123abce").symlink_to("elsewhere")
    (out / "..lock.0123abcd").write_text("")
    run(registry, pictures, out)
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == {
        ".dqpipe.json",
        ".lock",
        ".version.0123abce",
        ".curated.0123abce",
    }


def test_runs_that_start_at_once_on_a_fresh_output_do_not_sweep_each_others_probes(
    tmp_path: Path,
) -> None:
    from dqpipe.results import publish

    failed: list[BaseException] = []

    def start(number: int) -> None:
        try:
            for turn in range(30):
                where = place(tmp_path / f"out{turn}")
                publish.create(where)
                publish.sweep(where, publish.claim(where))
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


USING = """
import sys
from dqpipe.storage.fact_store import Store
store = Store(__import__("pathlib").Path(sys.argv[1]))
lock = store.begin_run(sys.argv[2])
print("using", flush=True)
sys.stdin.read()
"""
NIGHT = "20260101-000000-000000abcd"


@pytest.mark.parametrize("around", [[], ["unshare", "-rpf", "--mount-proc"]])
def test_a_store_that_a_run_uses_is_not_cleaned_up_from_another_container(
    pictures: Path, output: Path, tmp_path: Path, around: list[str]
) -> None:
    if around and subprocess.run([*around, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here")
    store = tmp_path / "store"
    shutil.copytree(output / "store", store)
    process = subprocess.Popen(
        [*around, sys.executable, "-c", USING, str(store), NIGHT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "using\n"
        note = store / "runs" / NIGHT / "run.json"
        note.write_text(
            json.dumps({**json.loads(note.read_text()), "pid": 2**22 + 1})
        )  # a number of another namespace says nothing here
        (store / ".lock").touch()  # whoever asks for the store leaves it
        before = state(store)
        for words in (("prune", store, "--older-than", 0), ("verify", store, "--repair")):
            broken = next(store.glob("facts/*/*.arrow"))
            data = broken.read_bytes()
            if words[0] == "verify":
                broken.write_bytes(data[:-1] + b"x")
            told = dqpipe("store", *words)
            broken.write_bytes(data)
            assert code(told) == 2, told.output
        assert state(store) == before
    finally:
        process.communicate("")
    told = dqpipe("store", "prune", store, "--older-than", 0)
    assert told.exit_code == 0
    assert not list(store.glob("facts/*/*.arrow"))


def test_a_lock_of_another_machine_on_a_shared_disk_is_seen(tmp_path: Path) -> None:
    from dqpipe.storage.lock import Lock

    lock = Lock(place(tmp_path), "run 1", stale=60)
    (tmp_path / ".lock").write_text(
        json.dumps({**lock.me, "boot": "another", "host": "far", "beat": time.time()})
    )
    assert (lock.holder() or {})["host"] == "far"
    (tmp_path / ".lock").write_text(
        json.dumps({**lock.me, "beat": time.time()})
    )  # of this machine: its kernel would know
    assert lock.holder() is None


def test_relations_of_earlier_nights_go_when_a_version_is_published(
    registry: Registry, pictures: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(pictures, images)
    counts = []
    for night in range(4):
        faulty.picture(images / "a" / f"new{night}.png", seed=100 + night)
        run(registry, images, tmp_path / "out")
        counts.append(len(list((tmp_path / "out" / "store" / "relations").iterdir())))
    assert len(set(counts)) == 1


def test_an_object_store_that_holds_something_else_is_not_taken(
    registry: Registry, pictures: Path, tmp_path: Path
) -> None:
    where = place(f"memory://{uuid.uuid4().hex}/mine")
    for name in ("README.md", "runs/exp/a.bin", ".env"):
        where.write(name, b"mine")
    for outputs in ({"out": where.url}, {"out": tmp_path / "out", "store": where.url}):
        with pytest.raises(OutputError, match="dqpipe did not make it"):
            run(registry, pictures, outputs.pop("out"), **outputs)
    assert {name: where.read(name) for name in where.names()} == dict.fromkeys(
        ("README.md", "runs/exp/a.bin", ".env"), b"mine"
    )


@pytest.mark.parametrize(
    "line",
    [
        b'{"reviewer": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe{}",
        b"[" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"9" * 400 + b"}",
        b'{"a": 1e999}',
        b'{"a": NaN}',
        b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}",
        b"17",
        b'{"a": 1',
        b"\0\0",
    ],
)
def test_a_line_that_cannot_be_read_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    said: list[str] = []
    monkeypatch.setattr(jsonl.log, "warning", lambda text, *told: said.append(text % told))
    jsonl.append(tmp_path, "history.jsonl", {"run": "1"})
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(line + b"\n")
    jsonl.append(tmp_path, "history.jsonl", {"run": "2"})
    assert [row["run"] for row in versions.history(tmp_path)] == ["1", "2"]
    assert "line 2 is left out" in said[0]


def test_what_could_not_be_read_back_is_not_added(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for value in ("\ud800", deep, 10**30, 10**5000, float("nan")):
        with pytest.raises(DqpipeError, match="could not be read back"):
            jsonl.append(tmp_path, "verdicts.jsonl", {"fine": 1}, {"reviewer": value})
    assert not (tmp_path / "verdicts.jsonl").exists()


def test_the_folder_that_the_environment_names_is_no_servers_to_remove(tmp_path: Path) -> None:
    from dqpipe.execution.prefect import server

    (tmp_path / "prefect" / "inner").mkdir(parents=True)
    (tmp_path / "prefect" / "inner" / "mine.db").write_text("mine")
    server.remove_home(tmp_path / "prefect", "0" * 32)
    assert (tmp_path / "prefect" / "inner" / "mine.db").exists()
    (tmp_path / "prefect" / ".dqpipe.json").write_text("0" * 32)
    server.remove_home(tmp_path / "prefect", "0" * 32)
    assert not (tmp_path / "prefect").exists()


def test_files_that_are_named_to_be_written_replace_nobody_elses(
    pictures: Path, output: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "README.md"
    mine.write_text("mine\n")
    path = yaml(tmp_path, pictures, tmp_path / "out")
    for words in (
        ("run", path, "--badge", mine),
        ("run", path, "--junit", mine),
        ("ledger", output, "--csv", mine),
        ("ledger", output, "--csv", "/dev/null"),
    ):
        assert code(dqpipe(*words)) == 2, words
    assert mine.read_text() == "mine\n"
    assert not (tmp_path / "out").exists()
    assert not Path("/dev/null").is_file()
    for _ in range(2):
        assert code(dqpipe("ledger", output, "--csv", tmp_path / "ledger.csv")) == 0
    target = tmp_path / "handed"
    for _ in range(2):
        assert code(dqpipe("handover", "csv", target, "--out", output, "--all", "--force")) == 0
    written = next(file for file in target.iterdir() if file.suffix == ".csv")
    written.write_text(written.read_text() + "what people said\n")
    before = state(target)
    assert code(dqpipe("handover", "csv", target, "--out", output, "--all", "--force")) == 2
    assert state(target) == before


def test_a_store_whose_files_vanish_under_a_run_is_said(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    pictures = images

    class Meddling(Serial):
        def map(self, function: Any, items: Any, names: Any) -> Any:
            yield from Serial.map(self, function, items, names)
            for file in (tmp_path / "out" / "store" / "facts").rglob(
                "*.arrow" if self.scalars else "*.vectors"
            ):
                file.unlink()

    run(registry, pictures, tmp_path / "out")
    for scalars in (True, False):
        faulty.picture(
            pictures / "china" / "new.png", seed=500 + scalars
        )  # something is left to measure
        executor = Meddling()
        executor.scalars = scalars
        text = (
            f"dataset: {{path: {pictures}}}\nstages: [files, duplicates]\noutputs: {{path: "
            f"'{tmp_path / 'out'}', reports: []}}\n"
        )
        made = Pipeline.from_text(text, registry=registry)
        with pytest.raises(OutputError, match="vanished while a run used them"):
            Run(made.config, registry, executor, force=True).run()
