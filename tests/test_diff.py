"""What changed between two versions and why, and an older one published again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.data.tables import Decisions, Samples, table_of
from dqpipe.errors import DatasetError, OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import versions
from dqpipe.results.diff import KINDS, Side, compare
from dqpipe.results.outcome import Outcome
from dqpipe.results.rollback import roll_back
from dqpipe.results.versions import Version
from dqpipe.storage.location import place
from dqpipe.storage.lock import Lock
from tests import faulty

STAGES = "stages: [files, {image_quality: {}}, duplicates]\n"


def run(
    registry: Registry,
    images: Path,
    out: str | Path,
    stages: str = STAGES,
    *,
    keep: int = 9,
    more: str = "",
    reports: str = "json",
) -> Outcome:
    outputs = (
        f"{{path: {str(out)!r}, store: {images.parent / 'store'}, reports: [{reports}], "
        f"keep_versions: {keep}}}"
    )
    text = f"dataset: {{path: {images}}}\noutputs: {outputs}\n{stages}{more}"
    return Pipeline.from_text(text, registry=registry).drive(Serial(), force=True)


def side(
    rows: list[tuple[str, str, str, str, list[str]]],
    record: dict[str, object] | None = None,
    labels: dict[str, str] | None = None,
) -> Side:
    """Rows of (id, content, label, decision, because)."""
    ids = [row[0] for row in rows]
    samples = Samples(
        pa.table(
            {"id": ids, "content": [row[1] for row in rows], "label": [row[2] for row in rows]}
        )
    )
    frame = pd.DataFrame(
        {"id": ids, "decision": [row[3] for row in rows], "because": [row[4] for row in rows]}
    )
    kept = [row for row in rows if row[3] != "drop"]
    curated = {
        "id": [row[0] for row in kept],
        "label": [(labels or {}).get(row[0], row[2]) for row in kept],
        "parent": pa.nulls(len(kept), pa.string()),
    }
    return Side(
        samples,
        Samples(pa.table(curated)),
        Decisions(table_of(Decisions.columns, frame)),
        record or {},
    )


def stage(name: str, version: int = 1, **options: object) -> dict[str, object]:
    return {"name": name, "stage": name, "version": version, "options": options}


def test_each_kind_of_change_is_told_with_its_reason() -> None:
    plan = {"stages": [stage("blur", above=3), stage("policy", max_drop=0.2)]}
    before = side(
        [
            ("a", "1", "x", "keep", []),
            ("b", "2", "x", "keep", []),
            ("c", "3", "x", "keep", []),
            ("d", "4", "x", "keep", []),
            ("e", "5", "x", "keep", []),
            ("f", "6", "x", "keep", []),
            ("same", "7", "x", "drop", ["dup.exact"]),
        ],
        plan,
    )
    changed = {"stages": [stage("blur", 2, above=4), stage("policy", max_drop=0.2)]}
    after = side(
        [
            ("a", "1", "x", "drop", ["blur.soft"]),
            ("b2", "2", "x", "keep", []),
            ("c", "33", "x", "keep", []),
            ("d", "4", "x", "relabel", ["noise.wrong"]),
            ("e", "5", "x", "review", ["odd.far"]),
            ("g", "9", "x", "keep", []),
            ("same", "7", "x", "drop", ["dup.exact"]),
        ],
        changed,
        {"d": "y"},
    )
    found = compare(before, after)
    told = {row["id"]: (row["kinds"], row["why"]) for row in found.rows}
    assert told == {
        "a": (
            ["out"],
            [
                "now blur.soft",
                "stage blur changed: blur version 1 → blur version 2",
                "option blur.above changed: 3 → 4",
            ],
        ),
        "b2": (["renamed"], ["same content, other name"]),
        "c": (["replaced"], ["its content changed"]),
        "d": (["relabelled"], ["now noise.wrong"]),
        "e": (["decided"], ["now odd.far"]),
        "f": (["out"], ["gone from the input"]),
        "g": (["in"], ["new in the input"]),
    }
    assert found.counts == {
        "in": 1,
        "out": 2,
        "relabelled": 1,
        "decided": 1,
        "replaced": 1,
        "renamed": 1,
        "new": 1,
        "gone": 1,
        "added": 0,
        "removed": 0,
    }
    labels = {row["id"]: row["label"] for row in found.rows}
    assert labels["d"] == ["x", "y"]
    assert next(row for row in found.rows if row["id"] == "b2")["before"] == "b"


def test_nothing_changed_is_nothing_told() -> None:
    one = side([("a", "1", "x", "keep", []), ("b", "1", "x", "drop", ["dup.exact"])])
    assert compare(one, one).record() == {
        "counts": dict.fromkeys([*KINDS, "new", "gone", "added", "removed"], 0),
        "plan": [],
        "rows": [],
    }


def test_a_swap_of_names_among_equal_files_is_no_rename_and_a_label_of_the_input_is_a_reason() -> (
    None
):
    one = side([("a", "1", "x", "keep", []), ("b", "1", "x", "keep", [])])
    other = side([("a", "1", "z", "keep", []), ("c", "1", "x", "keep", [])])
    rows = compare(one, other).rows
    assert [(row["id"], row["before"], row["kinds"], row["why"]) for row in rows] == [
        ("a", None, ["relabelled"], ["its label changed in the input"]),
        ("c", "b", ["renamed"], ["same content, other name"]),
    ]


def test_versions_diff_and_roll_back_from_the_command_line(
    registry: Registry,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dqpipe(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["dqpipe", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    out = tmp_path / "out"
    first = run(registry, images, out)
    assert dqpipe("diff", "--out", str(out))[0] == 2
    (images / "china" / "05.png").unlink()
    hostile = "china/\x1b[31m<b>new.png"
    faulty.picture(images / hostile, seed=1)
    (images / "china" / "06.png").rename(images / "china" / "moved.png")
    second = run(registry, images, out, reports="html, json")
    code, said = dqpipe("diff", "--out", str(out))
    assert code == 0
    assert f"{first.version} → {second.version}" in said
    for line in (
        "china/05.png: gone from the input",
        "china/06.png → china/moved.png: same content, other name",
        "new.png: new in the input",
    ):
        assert line in said
    assert "\x1b" not in said
    told = json.loads(dqpipe("diff", first.version, second.version, "--out", str(out), "--json")[1])
    assert (told["counts"]["in"], told["counts"]["out"], told["counts"]["renamed"]) == (1, 1, 1)
    recorded = Version.open(out).record["diff"]
    assert (recorded["before"], recorded["counts"]) == (first.version, told["counts"])
    assert second.published is not None
    page = (Path(second.published) / "report.html").read_text(encoding="utf-8")
    assert "Since the last version" in page
    assert "<b>new.png" not in page
    listed = json.loads(dqpipe("versions", str(out), "--json")[1])
    assert [(row["version"], row["state"]) for row in listed] == [
        (second.version, "published"),
        (first.version, ""),
    ]
    assert second.version in dqpipe("versions", str(out))[1]
    assert dqpipe("rollback", str(out)) == (
        0,
        f"published is {first.version} (was {second.version})\n",
    )
    assert versions.published(out) == first.version
    assert (out / "curated").resolve().parent.name == first.version
    assert {"rolled_back": first.version, "from": second.version}.items() <= versions.journal(out)[
        -1
    ].items()
    code, said = dqpipe("rollback", str(out), "nonsense")
    assert (code, first.version in said, "Traceback" in said) == (2, True, False)


def test_a_version_that_failed_its_gates_or_is_not_whole_is_not_published_again(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = run(registry, images, out, "stages: [files]\n")
    failed = run(
        registry, images, out, "stages: [files]\n", more="gates: ['files.unreadable > 0']\n"
    )
    second = run(registry, images, out, "stages: [files]\n")
    with pytest.raises(
        DatasetError, match=f"did not pass its gates; versions that can: {first.version}"
    ):
        roll_back(out, failed.version)
    (out / "versions" / first.version / "relabel.csv").unlink()
    with pytest.raises(DatasetError, match="is not whole"):
        roll_back(out)
    with pytest.raises(DatasetError, match="is the published one"):
        roll_back(out, "published")
    with Lock(place(out), "run 7"), pytest.raises(OutputError, match="in use by run 7"):
        roll_back(out)
    assert versions.published(out) == second.version


def test_what_was_rolled_back_to_stays_whatever_is_published_later(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = [run(registry, images, out, "stages: [files]\n", keep=2) for _ in range(2)]
    roll_back(out, ran[0].version)
    later = [run(registry, images, out, "stages: [files]\n", keep=1) for _ in range(2)]
    assert later[0].parent == ran[0].version
    assert versions.versions(out) == [ran[0].version, later[1].version]


def test_rolling_back_works_on_an_object_store(
    registry: Registry, images: Path, bucket: str
) -> None:
    out = f"{bucket}/out"
    ran = [run(registry, images, out, "stages: [files]\n") for _ in range(2)]
    assert roll_back(out) == (ran[1].version, ran[0].version)
    assert versions.published(out) == ran[0].version
    place(out).remove(f"versions/{ran[1].version}/relabel.csv")
    with pytest.raises(DatasetError, match="is not whole"):
        roll_back(out, ran[1].version)
