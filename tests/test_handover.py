"""What is handed to other tools is what their documentation describes, and what people say there
comes back, or is refused.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_exchange.csv_file import CsvFile
from dqpipe_exchange.cvat import Cvat
from dqpipe_exchange.label_studio import LabelStudio
from hypothesis import given, settings
from hypothesis import strategies as st

from dqpipe.cli import exchange
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Decisions, Figures, Findings, Samples
from dqpipe.errors import ConfigError, DatasetError
from dqpipe.plugin import registry as registries
from dqpipe.plugin.exchange import HandedOver, Media
from dqpipe.results import verdicts
from dqpipe.results.verdicts import Verdict
from dqpipe.results.versions import Version, write_shown, write_tables
from dqpipe.review.exchange import answers, by_ending, formats, named
from dqpipe.review.exchange.matching import Taken, take
from dqpipe.review.exchange.queue import Wanted, queue
from dqpipe.storage import spreadsheet

CSV, CVAT, LABEL_STUDIO = CsvFile(), Cvat(), LabelStudio()
BACK = ("label-studio", "cvat", "csv")
HOSTILE = "evil/<script>&\"'=cmd|calc.png"
"""A file name that is markup and a formula."""
ROWS = (
    ("cats/a.png", "c-a", "cat", "keep", None),
    ("cats/b.png", "c-b", "cat", "review", None),
    ("dogs/c.png", "c-c", "dog", "relabel", "cat"),
    ("dogs/same.png", "c-s", "dog", "keep", None),
    ("dogs/same2.png", "c-s", "dog", "keep", None),
    (HOSTILE, "c-h", "=dog", "drop", None),
    ("new.png", "c-n", None, "keep", None),
)
CLAIMS = (
    ("cats/b.png", "label_noise.likely_wrong", 0.9, "dog"),
    ("dogs/c.png", "label_noise.likely_wrong", 0.95, "cat"),
    (HOSTILE, "duplicates.exact", 1.0, None),
)


def version(
    out: Path,
    rows=ROWS,
    claims=CLAIMS,
    *,
    root: Path | None = None,
    media: bool = True,
    labels: pa.Array | None = None,
    **more,
) -> Version:
    """A published version of these samples, as a run leaves it."""
    ids, contents, given, decided, new = (list(column) for column in zip(*rows, strict=True))
    table = pa.table(
        {
            "id": ids,
            "content": contents,
            "label": pa.array(given, pa.string()) if labels is None else labels,
            **more,
        }
    )
    shown = table.append_column("media", pa.array(ids)) if media else table
    none = dict.fromkeys(Findings.columns)
    found = [
        none | {"id": i, "code": code, "severity": "warning", "confidence": p, "suggestion": label}
        for i, code, p, label in claims
    ]
    findings = Findings(pa.Table.from_pylist(found, pa.schema(list(Findings.columns.items()))))
    decisions = pa.table(
        {
            "id": ids,
            "decision": decided,
            "new_label": pa.array(new, pa.string()),
            "because": pa.array([[]] * len(ids), pa.list_(pa.string())),
        }
    )
    folder = out / "versions" / "2026-a"
    folder.mkdir(parents=True)
    figures = Figures(
        pa.table({name: pa.array([], kind) for name, kind in Figures.columns.items()})
    )
    write_tables(folder, Samples(table), Samples(table), findings, Decisions(decisions), figures)
    write_shown(folder, Dataset(Samples(shown), root=str(root or out.parent / "data")))
    codes = {code: {"help": "it is"} for _, code, _, _ in claims}
    (folder / "run.json").write_text(
        json.dumps({"version": "2026-a", "stages": [{"name": "x", "claims": codes}]})
    )
    (out / "version").write_text("2026-a")
    return Version.open(out)


@pytest.fixture
def one(tmp_path: Path) -> Version:
    return version(tmp_path / "out")


def out_of(made: Version) -> Path:
    assert made.place.local is not None
    return made.place.local


def wanted(made: Version, **which: Any) -> HandedOver:
    return queue(out_of(made), made, Wanted(**which))


def said(made: Version) -> list[tuple[str, str, Any, str]]:
    return [(v.id, v.verdict, v.label, v.reviewer) for v in verdicts.verdicts(out_of(made))]


def took(made: Version, data: bytes, name: str, reviewer: str | None = "ann", **more: Any) -> Taken:
    return take(out_of(made), made, named(name).read(data), reviewer, **more)


def say(
    made: Version,
    sample: str,
    what: str,
    label: Any = None,
    by: str = "ann",
    time: str = "2026-05-01T10:00:00.000000+00:00",
) -> Verdict:
    rows = {row[0]: row for row in ROWS}
    alike = sum(row[1:3] == rows[sample][1:3] for row in ROWS)
    return verdicts.add(
        out_of(made),
        Verdict(rows[sample][1], sample, rows[sample][2], what, label, None, by, time, alike=alike),
    )


# which samples ------------------------------------------------------------------------------------


def test_the_queue_is_what_is_in_question_and_nobody_ruled_on_the_surest_first(
    one: Version,
) -> None:
    assert [item.id for item in wanted(one).items] == ["dogs/c.png", "cats/b.png"]
    say(one, "dogs/c.png", "keep")
    assert [item.id for item in wanted(one).items] == ["cats/b.png"]
    assert [item.id for item in wanted(one, verdicts=True).items] == ["dogs/c.png"]
    assert [item.id for item in wanted(one, codes=("duplicates.exact",)).items] == [HOSTILE]
    assert [item.id for item in wanted(one, decisions=("review", "drop")).items] == [
        HOSTILE,
        "cats/b.png",
    ]
    assert len(wanted(one, everything=True).items) == len(ROWS)


@pytest.mark.parametrize(
    ("which", "word"),
    [({"codes": ("duplicates.exakt",)}, "duplicates.exact"), ({"decisions": ("dropp",)}, "drop")],
)
def test_what_is_misspelt_is_named_with_the_nearest(
    one: Version, which: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        wanted(one, **which)


# round trips --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACK)
def test_verdicts_go_over_to_another_output_and_back_twice(name: str, tmp_path: Path) -> None:
    first, other = version(tmp_path / "first"), version(tmp_path / "other")
    say(first, "cats/a.png", "relabel", "dog")
    say(first, "cats/a.png", "keep", by="böb; <b>")
    say(first, "cats/b.png", "keep")
    say(first, "dogs/c.png", "skip")
    say(first, "dogs/same2.png", "drop")
    say(first, HOSTILE, "relabel", "cat", by="=1+1")
    given = {
        key: value
        for key, value in {(v.id, v.reviewer): v for v in verdicts.verdicts(out_of(first))}.items()
        if value.verdict != "skip"
    }
    handed = named(name).write(wanted(first, verdicts=True), Media())
    file = next(
        data
        for file, data in handed.files.items()
        if file in ("tasks.json", "annotations.xml", "samples.csv")
    )
    taken = took(other, file, name, reviewer=None)
    assert (len(taken.new), taken.wrong) == (5, 0)
    back = {(v.id, v.reviewer): replace(v, code=None) for v in verdicts.verdicts(out_of(other))}
    assert back == given
    again = took(other, file, name, reviewer=None)
    assert (len(again.new), again.known) == (0, 5)
    assert len(verdicts.verdicts(out_of(other))) == 5


@pytest.mark.parametrize("name", BACK)
def test_a_queue_that_nobody_answered_says_nothing(one: Version, name: str) -> None:
    files = named(name).write(wanted(one, everything=True), Media()).files
    file = next(
        data
        for file, data in files.items()
        if file in ("tasks.json", "annotations.xml", "samples.csv")
    )
    taken = took(one, file, name)
    assert (taken.new, taken.wrong, taken.unanswered) == ([], 0, len(ROWS))
    assert not (out_of(one) / "verdicts.jsonl").exists()


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
LABEL = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12
)


@pytest.mark.parametrize("name", BACK)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TEXT, LABEL, LABEL), min_size=1, max_size=4, unique_by=lambda row: row[0]),
    LABEL.filter(str.strip),
)
def test_hostile_names_labels_and_reviewers_come_back(
    name: str, drawn: list[tuple[str, str, str]], reviewer: str
) -> None:
    rows = [(sample, f"c-{n}", given, "keep", new) for n, (sample, given, new) in enumerate(drawn)]
    with tempfile.TemporaryDirectory() as folder:
        first, other = (
            version(Path(folder) / out, rows, (), media=name == "cvat")
            for out in ("first", "other")
        )
        for sample, content, given, _, new in rows:
            told = Verdict(
                content,
                sample,
                given,
                *(("relabel", new) if new != given else ("keep",)),
                reviewer=reviewer,
            )
            verdicts.add(out_of(first), told)
        try:
            handed = named(name).write(wanted(first, verdicts=True), Media())
        except ConfigError:
            assert [
                sample for sample, *_ in rows if sample.startswith("/") or ".." in sample
            ]  # elsewhere than below the dataset's folder
            return
        taken = took(
            other,
            next(
                data
                for file, data in handed.files.items()
                if file in ("tasks.json", "annotations.xml", "samples.csv")
            ),
            name,
        )
        assert (taken.wrong, len(taken.new) + sum(handed.left_out.values())) == (0, len(rows))
        told = {v.key[:3] + v.said + (v.reviewer,) for v in verdicts.verdicts(out_of(other))}
        assert told <= {
            v.key[:3] + v.said + (v.reviewer.strip(),) for v in verdicts.verdicts(out_of(first))
        }


@pytest.mark.parametrize(
    "labels", [pa.array(["a", "b"]).dictionary_encode(), pa.array([1, 2]), pa.array([True, False])]
)
def test_classes_of_any_type_go_over_and_back(labels: pa.Array, tmp_path: Path) -> None:
    made = version(
        tmp_path / "out",
        (("x", "c-x", None, "keep", None), ("y", "c-y", None, "keep", None)),
        (),
        labels=labels,
    )
    first, second = table(made, everything=True)
    took(
        made, as_csv([first | {"new_label": second["label"]}, second | {"verdict": "keep"}]), "csv"
    )
    assert said(made) == [("x", "relabel", labels[1].as_py(), "ann"), ("y", "keep", None, "ann")]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "yesterday", "9" * 5000])
def test_a_time_that_is_none_is_now(one: Version, time: str) -> None:
    took(one, as_csv([table(one)[0] | {"verdict": "drop", "time": time}]), "csv")
    assert verdicts.verdicts(out_of(one))[0].time.startswith("20")


# Label Studio -------------------------------------------------------------------------------------


def tasks_of(made: Version, **which: Any) -> list[dict[str, Any]]:
    return json.loads(LABEL_STUDIO.write(wanted(made, **which), Media()).files["tasks.json"])


def result(name: str, chosen: str, kind: str = "choices") -> dict[str, Any]:
    return {
        "id": "r",
        "type": kind,
        "from_name": name,
        "to_name": "sample",
        "origin": "manual",
        "value": {kind: [chosen]},
    }


def annotated(task: dict[str, Any], *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A task as Label Studio exports it (labelstud.io/guide/task_format)."""
    one = {
        "id": 1001,
        "completed_by": 10,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "lead_time": 4.3,
        "created_at": "2026-06-01T21:16:08.728353Z",
        "updated_at": "2026-06-01T22:16:08.728378Z",
        "task": 1,
    }
    return {
        "id": 1,
        "project": 83,
        "created_at": "2026-06-01T21:52:49Z",
        **task,
        "annotations": [one | more],
    }


def test_tasks_have_what_label_studio_documents(one: Version) -> None:
    task = tasks_of(one)[0]
    assert task["data"]["image"] == "/data/local-files/?d=data/dogs/c.png"
    assert (task["data"]["dqpipe_id"], task["data"]["dqpipe_label"]) == ("dogs/c.png", "dog")
    suggested = task["predictions"][0]
    assert suggested["score"] == 0.95
    assert [(r["type"], r["from_name"], r["to_name"], r["value"]) for r in suggested["result"]] == [
        ("choices", "label", "sample", {"choices": ["cat"]})
    ]
    hostile = next(
        task for task in tasks_of(one, everything=True) if task["data"]["dqpipe_id"] == HOSTILE
    )
    assert (
        hostile["data"]["image"]
        == "/data/local-files/?d=data/evil/%3Cscript%3E%26%22%27%3Dcmd%7Ccalc.png"
    )


def test_the_labelling_configuration_names_what_results_name(one: Version) -> None:
    config = ET.fromstring(LABEL_STUDIO.write(wanted(one), Media()).files["config.xml"].decode())
    assert config.tag == "View"
    controls = {tag.get("name"): tag for tag in config if tag.get("toName")}
    assert set(controls) == {"label", "verdict", "reviewer"}
    assert {tag.get("toName") for tag in controls.values()} == {config.find("Image").get("name")}
    assert [choice.get("value") for choice in controls["label"]] == ["=dog", "cat", "dog"]


@pytest.mark.skipif(
    importlib.util.find_spec("label_studio_sdk") is None,
    reason="pip install label-studio-sdk checks the tasks with its own classes",
)
def test_label_studios_own_library_takes_configuration_and_results(one: Version) -> None:
    from label_studio_sdk.label_interface import LabelInterface

    say(one, "cats/a.png", "relabel", "dog")
    say(one, "cats/b.png", "drop")
    files = LABEL_STUDIO.write(wanted(one, everything=True), Media()).files
    interface = LabelInterface(files["config.xml"].decode())
    interface.validate()
    told = json.loads(files["tasks.json"])
    assert interface.validate_task({"data": told[0]["data"]})
    for task in told:
        for made in (*task.get("predictions", ()), *task.get("annotations", ())):
            for each in made["result"]:
                assert interface.validate_region(each), each


@pytest.mark.parametrize(
    ("results", "more", "expected"),
    [
        ([result("label", "dog")], {}, ("cats/b.png", "relabel", "dog", "ann")),
        ([result("label", "cat")], {}, ("cats/b.png", "keep", None, "ann")),
        (
            [result("label", "dog"), result("verdict", "drop")],
            {},
            ("cats/b.png", "drop", None, "ann"),
        ),
        ([result("verdict", "keep")], {}, ("cats/b.png", "keep", None, "ann")),
        ([], {"was_cancelled": True}, ("cats/b.png", "skip", None, "ann")),
        (
            [result("label", "dog")],
            {"completed_by": {"id": 3, "email": "bob@example.org"}},
            ("cats/b.png", "relabel", "dog", "bob@example.org"),
        ),
        (
            [result("label", "dog"), result("reviewer", "cho", "text")],
            {},
            ("cats/b.png", "relabel", "dog", "cho"),
        ),
    ],
)
def test_what_an_annotator_chose_is_a_verdict(
    one: Version, results: list[dict[str, Any]], more: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    task = annotated(tasks_of(one)[1], *results, **more)
    took(one, json.dumps([task]).encode(), "label-studio")
    assert said(one) == [expected]
    assert verdicts.verdicts(out_of(one))[0].time == "2026-06-01T22:16:08.728378+00:00"
    assert verdicts.verdicts(out_of(one))[0].code == "label_noise.likely_wrong"


def test_several_annotators_are_told_apart_and_one_who_says_two_things_is_refused(
    one: Version,
) -> None:
    task = annotated(tasks_of(one)[1], result("label", "dog"))
    second = task["annotations"][0] | {"completed_by": 11, "result": [result("label", "cat")]}
    both = json.dumps([task | {"annotations": [task["annotations"][0], second]}]).encode()
    twice = json.dumps(
        [task | {"annotations": [task["annotations"][0], second | {"completed_by": 10}]}]
    ).encode()
    with pytest.raises(DatasetError, match="two answers of one reviewer"):
        took(one, twice, "label-studio")
    assert said(one) == []
    took(one, both, "label-studio")
    assert [row[1:] for row in said(one)] == [
        ("relabel", "dog", "annotator 10"),
        ("keep", None, "annotator 11"),
    ]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"{}", "a list of tasks"),
        (b"[1]", "a list of tasks"),
        (b'[{"image": "x", "label": "dog"}]', "JSON-MIN"),
        (b"[", "no JSON"),
        (b"[NaN]", "no JSON"),
        (b"[" * 100_000, "deeply"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"\x80", "UTF-8"),
    ],
)
def test_json_of_another_shape_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(DatasetError, match=word):
        LABEL_STUDIO.read(data)


@pytest.mark.parametrize(
    "broken",
    [
        {"data": 1},
        {"data": {}},
        {"data": {"dqpipe_id": 3}},
        {"annotations": 7},
        {"annotations": [7]},
        {"annotations": [{"result": 7}]},
        {"annotations": [{"result": [7]}]},
        {"annotations": [{"result": [{"from_name": "label", "value": 7}]}]},
    ],
)
def test_a_task_of_another_shape_is_counted_and_nothing_is_taken(
    one: Version, broken: dict[str, Any]
) -> None:
    fine = annotated(tasks_of(one)[0], result("label", "cat"))
    data = json.dumps([fine, annotated(tasks_of(one)[1]) | broken]).encode()
    with pytest.raises(DatasetError, match="1 of 2 answers cannot be taken over, so none was"):
        took(one, data, "label-studio")
    assert said(one) == []
    assert len(took(one, data, "label-studio", partly=True).new) == 1


# CVAT ---------------------------------------------------------------------------------------------


def pictures(root: Path, rows=ROWS) -> None:
    for number, row in enumerate(rows):
        path = root / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((20 + number, 30, 3), 99, np.uint8))


def test_annotations_have_what_cvat_documents(one: Version, tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    files = CVAT.write(wanted(one, everything=True), Media()).files
    root = ET.fromstring(files["annotations.xml"])
    assert (
        root.tag,
        root.findtext("version"),
        root.findtext("meta/task/mode"),
        root.findtext("meta/task/size"),
    ) == ("annotations", "1.1", "annotation", "7")
    assert [label.findtext("name") for label in root.iter("label")] == ["=dog", "cat", "dog"]
    images = root.findall("image")
    assert [image.get("id") for image in images] == [str(n) for n in range(7)]
    assert [image.get("name") for image in images] == sorted(row[0] for row in ROWS)
    first = images[0]
    assert (first.get("width"), first.get("height")) == ("30", "20")
    assert [(tag.get("label"), tag.get("source")) for tag in first] == [("cat", "auto")]
    declared = {
        attribute.findtext("name") for attribute in root.iter("label").__next__().iter("attribute")
    }
    assert {attribute.get("name") for attribute in first.iter("attribute")} == declared
    assert [label["type"] for label in json.loads(files["labels.json"])] == ["tag"] * 3
    lines = [json.loads(line) for line in files["manifest.jsonl"].splitlines()]
    assert lines[:3] == [
        {"version": "1.1"},
        {"type": "images"},
        {"name": "cats/a", "extension": ".png", "width": 30, "height": 20},
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("datumaro") is None,
    reason="pip install datumaro reads the annotations with CVAT's own library",
)
def test_datumaro_reads_the_annotations(one: Version, tmp_path: Path) -> None:
    from datumaro.plugins.data_formats.cvat.base import CvatBase

    pictures(tmp_path / "images")
    (tmp_path / "annotations.xml").write_bytes(
        CVAT.write(wanted(one, everything=True), Media()).files["annotations.xml"]
    )
    read = {
        item.id: [(a.label, a.attributes["verdict"]) for a in item.annotations]
        for item in CvatBase(str(tmp_path / "annotations.xml"))
    }
    assert read["cats/a"] == [(1, "unseen")]
    assert len(read) == len(ROWS)


def changed(made: Version, before: str, after: str) -> bytes:
    text = CVAT.write(wanted(made), Media()).files["annotations.xml"].decode()
    assert before in text
    return text.replace(before, after).encode()


def test_a_label_that_was_changed_in_cvat_and_an_attribute_that_was_set_are_verdicts(
    one: Version,
) -> None:
    one_dog = changed(
        one, '<tag label="cat" source="auto">', '<tag label="dog" source="semi-auto">'
    )
    took(one, one_dog, "cvat")
    assert said(one) == [("cats/b.png", "relabel", "dog", "ann")]
    took(
        one,
        changed(
            one,
            '<attribute name="verdict">unseen</attribute>',
            '<attribute name="verdict">drop</attribute>',
        ),
        "cvat",
        "bob",
    )
    assert said(one)[1:] == [("dogs/c.png", "drop", None, "bob")]


def test_a_tag_that_a_person_drew_anew_is_matched_by_the_name_of_the_image(one: Version) -> None:
    image = (
        '<annotations><version>1.1</version><image id="0" name="{}" width="1" height="1"><tag '
        'label="dog" source="manual"/></image></annotations>'
    )
    took(one, image.format("cats/a.png").encode(), "cvat")
    assert said(one) == [("cats/a.png", "relabel", "dog", "ann")]
    with pytest.raises(DatasetError, match="a sample that this version does not have"):
        took(one, image.format("cats/elsewhere.png").encode(), "cvat")
    two = image.replace(
        '<tag label="dog" source="manual"/>', '<tag label="dog"/><tag label="cat"/>'
    )
    with pytest.raises(DatasetError, match="choose two labels"):
        took(one, two.format("cats/b.png").encode(), "cvat")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (
            b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><annotations>&c;</annotations>',
            "document type",
        ),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "document type"),
        (b"<annotations>" + b"<a>" * 1000, "deeply"),
        (b"<annotations>", "no XML"),
        (b"<other/>", "no annotation file"),
        (b'<annotations><track id="0" label="car"/></annotations>', "CVAT for images"),
        (b"[]", "no XML"),
    ],
)
def test_xml_of_another_kind_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(DatasetError, match=word):
        CVAT.read(data)


def test_a_name_that_xml_cannot_hold_is_left_out_and_a_label_is_refused(tmp_path: Path) -> None:
    rows = (("a\x01.png", "c", "cat", "keep", None), ("b.png", "d", "cat", "keep", None))
    written = CVAT.write(wanted(version(tmp_path / "out", rows, ()), everything=True), Media())
    assert written.left_out == {"have a name that XML cannot hold": 1}
    labelled = version(tmp_path / "other", (("b.png", "d", "ca\x00t", "keep", None),), ())
    for one in (CVAT, LABEL_STUDIO):
        with pytest.raises(ConfigError, match="cannot stand in XML"):
            one.write(wanted(labelled, everything=True), Media())


# CSV ----------------------------------------------------------------------------------------------


def table(made: Version, **which: Any) -> list[dict[str, str]]:
    text = CSV.write(wanted(made, **which), Media()).files["samples.csv"].decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def as_csv(rows: list[dict[str, str]], separator: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def test_every_sample_stands_in_a_csv_that_pandas_reads_without_a_formula(one: Version) -> None:
    rows = table(one, everything=True)
    assert [row["id"] for row in rows] == [row[0] for row in ROWS]
    assert [row["decided_label"] for row in rows] == ["cat", "cat", "cat", "dog", "dog", "", ""]
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r")]
    frame = pd.read_csv(
        io.BytesIO(CSV.write(wanted(one, everything=True), Media()).files["samples.csv"])
    )
    assert list(frame["content"]) == [row[1] for row in ROWS]


@pytest.mark.parametrize(
    "cell",
    ["=1", "'=1", "''=1", "+1", "-1", "@x", "\tx", "\rx", "\uff1dx", "'tis", "'", "", "x", "x=1"],
)
def test_a_cell_comes_back_as_it_was(cell: str) -> None:
    assert spreadsheet.plain(spreadsheet.safe(cell)) == cell
    assert cell == "-1" or spreadsheet.safe(cell)[:1] not in tuple("=+-@\t\r\uff1d")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("filled", "expected"),
    [
        ({"new_label": "dog"}, ("cats/b.png", "relabel", "dog", "ann")),
        ({"new_label": "cat"}, ("cats/b.png", "keep", None, "ann")),
        ({"verdict": "Drop "}, ("cats/b.png", "drop", None, "ann")),
        ({"verdict": "skip"}, ("cats/b.png", "skip", None, "ann")),
        ({"verdict": "keep"}, ("cats/b.png", "keep", None, "ann")),
        ({"new_label": "'=dog"}, ("cats/b.png", "relabel", "=dog", "ann")),
        (
            {"verdict": "relabel", "new_label": "dog", "reviewer": "bob"},
            ("cats/b.png", "relabel", "dog", "bob"),
        ),
    ],
)
def test_what_a_person_filled_in_is_a_verdict(
    one: Version, filled: dict[str, str], expected: tuple[Any, ...], separator: str
) -> None:
    first, second = table(one)
    took(one, as_csv([first, second | filled], separator), "csv")
    assert said(one) == [expected]


@pytest.mark.parametrize(
    ("filled", "why"),
    [
        ({"verdict": "maybe"}, "none of keep, drop"),
        ({"verdict": "relabel"}, "want another label"),
        ({"new_label": "dgo"}, "which no sample has"),
        ({"verdict": "keep", "new_label": "dog"}, "keep the label and name another"),
        ({"verdict": "relabel", "new_label": "cat"}, "relabel to the label"),
        ({"verdict": "drop", "id": "elsewhere.png", "content": "x"}, "does not have"),
        ({"verdict": "drop", "content": "c-old"}, "other content"),
        ({"verdict": "drop", "label": "cow"}, "another label than the sample has"),
    ],
)
def test_what_cannot_be_matched_is_said_with_its_place_and_nothing_is_taken(
    one: Version, filled: dict[str, str], why: str
) -> None:
    first, second = table(one)
    data = as_csv([first | {"verdict": "drop"}, second | filled])
    with pytest.raises(DatasetError) as raised:
        took(one, data, "csv")
    assert why in str(raised.value)
    assert "1 of 2 answers" in str(raised.value)
    assert "row 3" in str(raised.value)
    assert said(one) == []
    assert took(one, data, "csv", partly=True, dry=True).wrong == 1
    assert said(one) == []
    took(one, data, "csv", partly=True)
    assert said(one) == [("dogs/c.png", "drop", None, "ann")]


def test_a_new_label_is_taken_when_that_is_wanted(one: Version) -> None:
    took(one, as_csv([table(one)[0] | {"new_label": "cow"}]), "csv", new_labels=True)
    assert said(one) == [("dogs/c.png", "relabel", "cow", "ann")]


def test_a_sample_that_was_renamed_since_is_found_by_its_content_and_one_of_two_copies_is_not(
    one: Version,
) -> None:
    row = table(one, everything=True)
    took(one, as_csv([row[0] | {"id": "cats/before.png", "verdict": "drop"}]), "csv")
    assert said(one) == [("cats/a.png", "drop", None, "ann")]
    with pytest.raises(DatasetError, match="does not have"):
        took(one, as_csv([row[3] | {"id": "dogs/before.png", "verdict": "drop"}]), "csv")


def test_an_answer_from_before_the_reviewers_last_word_changes_nothing(one: Version) -> None:
    say(one, "cats/b.png", "keep", time="2026-05-02T10:00:00.000000+00:00")
    row = table(one, everything=True)[1] | {"verdict": "drop"}
    assert took(one, as_csv([row | {"time": "2026-05-01 10:00+00:00"}]), "csv").older == 1
    assert len(took(one, as_csv([row | {"time": "2026-05-02T12:00:01+02:00"}]), "csv").new) == 1


def test_nobody_being_named_is_an_error(one: Version) -> None:
    with pytest.raises(ConfigError, match="--reviewer"):
        took(one, as_csv([table(one)[0] | {"verdict": "drop"}]), "csv", reviewer=None)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "columns"),
        (b"a,b\n1,2\n", "columns"),
        (b"id,verdict,verdict\n", "twice"),
        (b'id,verdict\n"a,b\n', "no CSV"),
        (b"\x00\xff", "UTF-8"),
    ],
)
def test_a_csv_of_another_shape_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(DatasetError, match=word):
        CSV.read(data)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LARGEST", 10)
    (tmp_path / "a.csv").write_bytes(b"x" * 11)
    with pytest.raises(DatasetError, match="in parts"):
        answers.contents(tmp_path / "a.csv")


# other labels -------------------------------------------------------------------------------------


def test_sets_of_tags_and_numbers_go_over_and_back(tmp_path: Path) -> None:
    rows = (("a", "c-a", None, "review", None), ("b", "c-b", None, "keep", None))
    tags = version(tmp_path / "tags", rows, (), labels=pa.array([["x", "y"], ["z"]]), media=False)
    task = tasks_of(tags)[0]
    chosen = {"from_name": "label", "type": "choices", "value": {"choices": ["z", "x"]}}
    took(tags, json.dumps([annotated(task, chosen)]).encode(), "label-studio")
    assert said(tags) == [("a", "relabel", ["z", "x"], "ann")]
    took(
        tags,
        json.dumps(
            [annotated(task, chosen | {"value": {"choices": ["y", "x"]}}, created_at="2026-07-01")]
        ).encode(),
        "label-studio",
        "bob",
    )
    assert said(tags)[1] == ("a", "keep", None, "bob")
    numbers = version(
        tmp_path / "numbers",
        rows,
        (),
        labels=pa.array([1.5, -2.0]),
        media=False,
        carat=pa.array([3, 4]),
    )
    task = tasks_of(numbers)[0]
    assert task["data"]["text"] == "carat: 3"
    took(numbers, as_csv([table(numbers)[0] | {"new_label": "-7.25"}]), "csv")
    number = {"from_name": "label", "type": "number", "value": {"number": 3.0}}
    took(numbers, json.dumps([annotated(task, number)]).encode(), "label-studio", "bob")
    assert said(numbers) == [("a", "relabel", -7.25, "ann"), ("a", "relabel", 3.0, "bob")]
    with pytest.raises(DatasetError, match="no number"):
        took(
            numbers,
            as_csv([table(numbers, everything=True)[1] | {"new_label": "NaN"}]),
            "csv",
            "cho",
        )
    with pytest.raises(ConfigError, match="csv"):
        CVAT.write(wanted(numbers), Media())


# tags ---------------------------------------------------------------------------------------------


def test_fiftyone_and_lightly_get_tags_for_every_file(one: Version, tmp_path: Path) -> None:
    say(one, "cats/b.png", "keep")
    fiftyone = named("fiftyone").write(wanted(one, everything=True), Media()).files
    samples = {
        sample["filepath"]: sample for sample in json.loads(fiftyone["samples.json"])["samples"]
    }
    path = str(tmp_path / "data" / "cats/b.png")
    assert samples[path]["tags"] == [
        "dqpipe:review",
        "dqpipe:label_noise.likely_wrong",
        "dqpipe:reviewed",
    ]
    assert samples[path]["ground_truth"] == {"_cls": "Classification", "label": "cat"}
    assert samples[path]["dqpipe_suggestion"] == {
        "_cls": "Classification",
        "label": "dog",
        "confidence": 0.9,
    }
    lightly = named("lightly").write(wanted(one, everything=True), Media()).files
    tagged = {
        sample["file_path_abs"]: sample["tags"]
        for sample in json.loads(lightly["tags.json"])["samples"]
    }
    assert set(tagged) == set(samples)
    assert all(set(tagged[path]) == set(samples[path]["tags"]) for path in tagged)
    for files in (fiftyone, lightly):
        compile(files["tag.py"], "tag.py", "exec")


@pytest.mark.skipif(
    importlib.util.find_spec("fiftyone") is None,
    reason="pip install fiftyone takes the samples with its own class",
)
def test_fiftyones_own_class_takes_the_samples(one: Version) -> None:
    import fiftyone

    for told in json.loads(
        named("fiftyone").write(wanted(one, everything=True), Media()).files["samples.json"]
    )["samples"]:
        sample = fiftyone.Sample.from_dict(dict(told))
        assert (sample.filepath, sample.tags) == (told["filepath"], told["tags"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Media(), "{data}/dogs/a b.png"),
        (Media(media_root="{data}"), "dogs/a b.png"),
        (Media(prefix="/mnt/"), "/mnt/dogs/a b.png"),
        (Media(prefix="https://x.org/", media_root="{data}"), "https://x.org/dogs/a%20b.png"),
    ],
)
def test_paths_start_where_the_options_say(options: Media, expected: str, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    chosen = replace(
        options, media_root=options.media_root and options.media_root.format(data=data)
    )
    made = version(tmp_path / "out", (("dogs/a b.png", "c", "dog", "keep", None),), ())
    row = next(
        csv.DictReader(
            io.StringIO(
                CSV.write(wanted(made, everything=True), chosen).files["samples.csv"].decode()
            )
        )
    )
    tagged = json.loads(
        named("lightly").write(wanted(made, everything=True), chosen).files["tags.json"]
    )["samples"][0]
    assert row["media"] == tagged["file_path_abs"] == expected.format(data=data)


# the commands -------------------------------------------------------------------------------------


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dqpipe", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_write_a_folder_and_take_a_file_back(one: Version, tmp_path: Path) -> None:
    out, folder = out_of(one), tmp_path / "to"
    done = command(
        "export",
        "csv",
        folder,
        "-o",
        out,
        "--media-prefix",
        "https://example.org/",
        "--media-root",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO((folder / "samples.csv").read_text(), newline="")))
    assert rows[0]["media"] == "https://example.org/data/dogs/c.png"
    with pytest.raises(ConfigError, match="--force"):
        exchange.export("csv", folder, str(out))
    (folder / "filled.csv").write_bytes(
        as_csv([rows[0] | {"verdict": "drop"}, rows[1] | {"new_label": "cow"}])
    )
    refused = command("import", folder / "filled.csv", "-o", out, "--reviewer", "ann")
    assert refused.returncode == 2
    assert "1 of 2 answers cannot be taken over, so none was" in refused.stderr
    done = command("import", folder / "filled.csv", "-o", out, "--reviewer", "ann", "--partly")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "1 verdict added (1 drop)",
        "1 name the label 'cow', which no sample has (--new-labels takes it): row 3",
    ]
    assert [path.name for path in sorted(folder.iterdir())] == [
        ".dqpipe.json",
        "filled.csv",
        "samples.csv",
    ]


def test_media_elsewhere_than_said_are_refused(one: Version, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--media-root"):
        LABEL_STUDIO.write(wanted(one), Media(media_root=str(tmp_path / "other")))


def test_the_readme_has_every_format() -> None:
    readme = (Path(__file__).parents[1] / "docs" / "exchange.md").read_text(encoding="utf-8")
    rows = re.search(r"\| format \| it writes \| back \|\n\|.*?\n((?:\|.*\n)+)", readme)
    assert rows
    assert [
        name
        for line in rows[1].splitlines()
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    ] == [*BACK, "fiftyone", "lightly"]
    assert [bool(line.split("|")[3].strip()) for line in rows[1].splitlines()] == [True] * len(
        BACK
    ) + [False]


def test_an_unknown_format_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="cvat"):
        named("cvatt")
    with pytest.raises(ConfigError, match="no format is called 'lightly'"):
        named("lightly", answers=True)


def test_formats_are_found_by_the_ending_of_a_file() -> None:
    brought = registries.load()
    assert set(formats(brought, answers=True)) == set(BACK) < set(formats(brought))
    files = ["a.json", "b.c/a.XML", "a.csv", "a.tsv"]
    assert [by_ending(file).name for file in files] == ["label-studio", "cvat", "csv", "csv"]
    with pytest.raises(ConfigError, match=r"a\.txt comes from: --from csv . cvat . label-studio"):
        by_ending("a.txt")


def test_help_lists_the_formats_of_plugins() -> None:
    shown = command("export", "--help").stdout + command("import", "--help").stdout
    assert "csv | cvat | fiftyone | label-studio | lightly" in shown
    assert "FORMAT  csv | cvat | label-studio" in shown
