"""COCO, YOLO and Pascal VOC.

What is written equals what was read byte by byte, but for what a drop or a change touches.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dqpipe
from dqpipe.config.dataset_source import recognise
from dqpipe.errors import ChangedError, DatasetError, OutputError
from dqpipe.plugin.registry import Registry
from tests import annotated

MAKE: dict[str, Callable[[Path], Path]] = {
    "coco": annotated.coco,
    "yolo": annotated.yolo,
    "voc": annotated.voc,
}


def objects(dataset: Any, sample: str) -> list[dict[str, Any]]:
    return dict(zip(dataset.samples.ids, dataset.samples["label"], strict=True))[sample]


@pytest.mark.parametrize("name", MAKE)
def test_a_format_is_recognised_and_comes_back_byte_by_byte(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    root = MAKE[name](tmp_path / "set")
    reading = recognise(registry, str(root))
    assert (reading.reader.name, reading.seen.score >= 80) == (name, True)
    dataset = annotated.read(registry, name, root)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(root)
    again = annotated.read(registry, name, out)
    assert again.samples.table.equals(dataset.samples.table)


def test_objects_of_coco_have_their_class_shape_and_other_fields(
    registry: Registry, tmp_path: Path
) -> None:
    found = objects(
        annotated.read(registry, "coco", annotated.coco(tmp_path / "set")), "images/b.png"
    )
    assert [(one["id"], one["class"], one["box"], one["polygons"]) for one in found] == [
        ("5", "dog", [1, 2, 3.25, 4], [[1, 2, 4, 2, 4, 6]]),
        ("8", "cat", [0, 0, 2, 2], None),
    ]
    assert (json.loads(found[1]["rle"]), found[1]["crowd"], json.loads(found[0]["other"])) == (
        {"size": [20, 40], "counts": [800]},
        True,
        {"area": 13.0},
    )


def test_objects_of_yolo_are_in_pixels_and_a_picture_without_lines_is_a_background(
    registry: Registry, tmp_path: Path
) -> None:
    dataset = annotated.read(registry, "yolo", annotated.yolo(tmp_path / "set"))
    boxes = [(one["class"], one["box"]) for one in objects(dataset, "images/train/a.png")]
    assert boxes == [("cat", [15.0, 9.0, 10.0, 2.0]), ("dog", [0.0, 0.0, 8.0, 4.0])]
    assert objects(dataset, "images/train/b.png") == []
    assert objects(dataset, "images/val/c.png")[0]["polygons"] == [
        [4.0, 2.0, 36.0, 2.0, 36.0, 18.0]
    ]
    assert dataset.samples["split"].tolist() == ["train", "train", "val"]


def test_objects_of_voc_have_splits_and_a_picture_without_xml_has_no_label(
    registry: Registry, tmp_path: Path
) -> None:
    dataset = annotated.read(registry, "voc", annotated.voc(tmp_path / "set"))
    found = objects(dataset, "JPEGImages/a.png")
    assert [(one["class"], one["box"]) for one in found] == [
        ("cat", [1.0, 2.0, 10.5, 10.0]),
        ("d&g", [5.0, 6.0, 4.0, 2.0]),
    ]
    assert json.loads(found[0]["other"]) == {"pose": "Left", "truncated": "0"}
    assert (dataset.samples["split"].tolist(), objects(dataset, "JPEGImages/c.png")) == (
        ["train", "val", "train"],
        None,
    )


def test_a_picture_dropped_from_coco_goes_with_its_annotations_alone(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.coco(tmp_path / "set")
    out = annotated.written(
        registry,
        annotated.curated(annotated.read(registry, "coco", root), "images/b.png"),
        tmp_path / "out",
    )
    text = (out / "annotations/instances.json").read_text(encoding="utf-8")
    wanted = copy.deepcopy(dict(annotated.COCO))
    wanted["images"] = [one for one in wanted["images"] if one["id"] != 7]
    wanted["annotations"] = [one for one in wanted["annotations"] if one["image_id"] != 7]
    assert text == json.dumps(wanted, indent=1, ensure_ascii=False)
    assert sorted(annotated.tree(out)) == [
        "annotations/instances.json",
        "images/a.png",
        "images/c.png",
    ]


def test_a_picture_dropped_from_yolo_and_voc_takes_its_files_and_lines(
    registry: Registry, tmp_path: Path
) -> None:
    yolo, voc = annotated.yolo(tmp_path / "yolo"), annotated.voc(tmp_path / "voc")
    left = annotated.written(
        registry,
        annotated.curated(annotated.read(registry, "yolo", yolo), "images/train/a.png"),
        tmp_path / "a",
    )
    gone = {"images/train/a.png", "labels/train/a.txt"}
    assert annotated.tree(left) == {
        name: data for name, data in annotated.tree(yolo).items() if name not in gone
    }
    left = annotated.written(
        registry,
        annotated.curated(annotated.read(registry, "voc", voc), "JPEGImages/a.png"),
        tmp_path / "b",
    )
    found = annotated.tree(left)
    assert {"JPEGImages/a.png", "Annotations/a.xml", "SegmentationClass/a.png"} & set(
        found
    ) == set()
    assert (
        found["ImageSets/Main/train.txt"],
        found["ImageSets/Main/cat_train.txt"],
        found["ImageSets/Main/val.txt"],
    ) == (b"c\n", b"c -1\n", b"b\n")
    assert found["Annotations/b.xml"] == (voc / "Annotations/b.xml").read_bytes()


@pytest.mark.parametrize(
    ("name", "sample", "file", "old", "new"),
    [
        (
            "coco",
            "images/a.png",
            "annotations/instances.json",
            '"category_id": 1,\n   "bbox": [\n    0,\n    0,\n    5',
            None,
        ),
        ("yolo", "images/train/a.png", "labels/train/a.txt", "0 0.5", "1 0.5"),
        ("voc", "JPEGImages/a.png", "Annotations/a.xml", "<name>cat</name>", "<name>dog</name>"),
    ],
)
def test_another_class_of_one_object_changes_that_word_alone(
    registry: Registry, tmp_path: Path, name: str, sample: str, file: str, old: str, new: str | None
) -> None:
    root = MAKE[name](tmp_path / "set")
    dataset = annotated.read(registry, name, root)
    label = objects(dataset, sample)
    label[0] = {**label[0], "class": "dog"}
    out = annotated.written(
        registry, annotated.curated(dataset, labels={sample: label}), tmp_path / "out"
    )
    before, new = annotated.tree(root), new or old.replace(": 1,", ": 90,")
    assert annotated.tree(out) == {
        **before,
        file: before[file].replace(old.encode(), new.encode(), 1),
    }


@pytest.mark.parametrize(
    ("name", "sample"),
    [("coco", "images/b.png"), ("yolo", "images/train/a.png"), ("voc", "JPEGImages/a.png")],
)
def test_one_object_that_is_gone_goes_alone(
    registry: Registry, tmp_path: Path, name: str, sample: str
) -> None:
    dataset = annotated.read(registry, name, MAKE[name](tmp_path / "set"))
    label = objects(dataset, sample)
    out = annotated.written(
        registry, annotated.curated(dataset, labels={sample: label[1:]}), tmp_path / "out"
    )
    again = annotated.read(registry, name, out)
    kept = [(one["class"], one["box"], one["rle"]) for one in objects(again, sample)]
    assert kept == [(one["class"], one["box"], one["rle"]) for one in label[1:]]
    others = [i for i in dataset.samples.ids if i != sample]
    assert [objects(again, i) for i in others] == [objects(dataset, i) for i in others]
    with pytest.raises(OutputError, match="cannot be added"):
        annotated.written(
            registry,
            annotated.curated(dataset, labels={sample: [*label, {**label[0], "id": "777"}]}),
            tmp_path / "more",
        )


def test_files_that_changed_meanwhile_are_not_written(registry: Registry, tmp_path: Path) -> None:
    dataset = annotated.read(registry, "coco", annotated.coco(tmp_path / "set"))
    (tmp_path / "set/annotations/instances.json").write_text("{}")
    with pytest.raises(ChangedError):
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")


numbers = st.one_of(st.integers(-5, 10**6), st.floats(-1e6, 1e6, allow_nan=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
fields = st.dictionaries(
    st.text(min_size=1, max_size=6).map(lambda name: "x" + name), values, max_size=3
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """COCO documents of three pictures with unknown fields, gaps in ids, and annotations of no
    picture.
    """
    ids = draw(st.lists(st.integers(0, 10**9), min_size=3, max_size=3, unique=True))
    images = [
        {**draw(fields), "file_name": f"{name}.png", "id": number}
        for name, number in zip("abc", ids, strict=True)
    ]
    count = draw(st.integers(0, 6))
    marks = [
        {
            "id": at * 3,
            **draw(fields),
            "image_id": draw(st.sampled_from([*ids, -1])),
            "category_id": draw(st.sampled_from([2, 70])),
            "bbox": draw(st.lists(numbers, min_size=4, max_size=4)),
        }
        for at in range(count)
    ]
    named = [{"id": 70, "name": "a", **draw(fields)}, {"id": 2, "name": "b"}]
    sections = {"images": images, "annotations": marks, "categories": named, "info": draw(fields)}
    return {name: sections[name] for name in draw(st.permutations(sorted(sections)))}


@settings(max_examples=60, deadline=None)
@given(
    documents(),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([(",", ":"), (" ,  ", " : ")]),
    st.booleans(),
    st.sets(st.sampled_from("abc"), max_size=2),
)
def test_any_coco_file_keeps_all_that_is_not_dropped(
    registry: Registry,
    document: dict[str, Any],
    indent: int | None,
    marks: tuple[str, str],
    ascii_: bool,
    gone: set[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = annotated.coco(Path(folder) / "set")
        file, ids = root / "annotations/instances.json", {f"images/{name}.png" for name in gone}
        file.write_bytes(
            json.dumps(document, indent=indent, separators=marks, ensure_ascii=ascii_).encode(
                "utf-8", "surrogatepass"
            )
        )
        dataset = annotated.read(registry, "coco", root)
        out = annotated.written(registry, annotated.curated(dataset, *ids), Path(folder) / "out")
        dropped = {one["id"] for one in document["images"] if one["file_name"][0] in gone}
        wanted = {
            **document,
            "images": [one for one in document["images"] if one["id"] not in dropped],
            "annotations": [
                one for one in document["annotations"] if one["image_id"] not in dropped
            ],
        }
        data = (out / "annotations/instances.json").read_bytes()
        assert json.loads(data) == wanted
        if not gone:
            assert data == file.read_bytes()


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"bbox": [float("nan"), 0, 1, 1]}, "not four numbers"),
    "negative": ({"bbox": [0, 0, -4, 1]}, "negative size"),
    "text": ({"bbox": ["1", 0, 1, 1]}, "not four numbers"),
    "two points": ({"segmentation": [[1, 2, 3, 4]]}, "a polygon of 4 numbers"),
    "rle": ({"segmentation": {"size": [2, 2], "counts": [3]}}, "cover 3 pixels of 2 by 2"),
    "rle without size": ({"segmentation": {"counts": "abc"}}, "lack size or counts"),
    "category": ({"category_id": 4}, "no category 4"),
    "list as a category": ({"category_id": [1]}, "no category"),
    "twice": ({"id": 5}, "stands more than once"),
    "keypoints": ({"keypoints": [1, 2]}, "three numbers for each point"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_is_wrong_in_a_coco_annotation_is_said_with_its_line(
    registry: Registry, tmp_path: Path, which: str
) -> None:
    change, said = BROKEN[which]
    document = copy.deepcopy(dict(annotated.COCO))
    document["annotations"][1] |= change
    root = annotated.coco(tmp_path / "set", document)
    dataset = annotated.read(registry, "coco", root)
    told = dict(zip(dataset.samples.ids, dataset.samples["label_problems"], strict=True))[
        "images/a.png"
    ]
    line = int(re.findall(r"instances\.json, line (\d+)", told)[0])
    assert said in told
    assert (
        '"id"' in (root / "annotations/instances.json").read_text().split("\n")[line]
    )  # the element begins in the line before
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    ) == annotated.tree(root)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:400], "line"),
        (lambda text: text.replace('"images"', '"annotations"'), "stands twice"),
        (lambda text: text.replace("10,", "1" * 5000 + ",", 1), "cannot be read"),
        (lambda text: '{"images": ' + "[" * 100_000, "cannot be read"),
        (
            lambda text: (
                text.replace("a.png", "no.png")
                .replace("b.png", "no2.png")
                .replace("c.png", "no3.png")
            ),
            "set the reader's `images`",
        ),
        (lambda _: '{"images": {"a": 1}, "annotations": []}', "no list"),
    ],
)
def test_a_broken_coco_file_is_one_clear_error(
    registry: Registry, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    root = annotated.coco(tmp_path / "set")
    file = root / "annotations/instances.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(DatasetError, match=said) as error:
        annotated.read(registry, "coco", file)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 nan 0 1 1", "NaN"),
        ("0 0.1 0.1 0.2", "neither a box nor a polygon"),
        ("7 0 0 1 1", "no class 7"),
        ("0 0 0 -1 1", "negative size"),
        ("cat 0 0 1 1", "no numbers"),
        ("0 .1 .2 .3 .4 .5 .6 .7", "neither a box"),
    ],
)
def test_a_broken_line_of_yolo_is_said_and_kept(
    registry: Registry, tmp_path: Path, line: str, said: str
) -> None:
    root = annotated.yolo(tmp_path / "set")
    (root / "labels/train/b.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    dataset = annotated.read(registry, "yolo", root)
    told = dict(zip(dataset.samples.ids, dataset.samples["label_problems"], strict=True))[
        "images/train/b.png"
    ]
    assert told.startswith("labels/train/b.txt, line 2: ")
    assert said in told
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    ) == annotated.tree(root)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object>", "line 1: no element found"),
        (
            '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>',
            "entities",
        ),
        ("<annotation>" + "<a>" * 500 + "</a>" * 500 + "</annotation>", "too deep"),
        (
            annotated.VOC.replace(">1<", ">one<", 1),
            "line 5: the corners of the box are not four numbers",
        ),
        (annotated.VOC.replace(">1<", ">20<", 1), "line 5: the corners of the box are inverted"),
        (annotated.VOC.replace(">1<", ">nan<", 1), "not four numbers"),
        (annotated.VOC.replace("<name>cat</name>", ""), "line 5: the object has no name"),
        ("", "no element found"),
    ],
)
def test_a_broken_voc_file_is_said_and_kept(
    registry: Registry, tmp_path: Path, text: str, said: str
) -> None:
    root = annotated.voc(tmp_path / "set")
    (root / "Annotations/a.xml").write_text(text)
    dataset = annotated.read(registry, "voc", root)
    told = dict(zip(dataset.samples.ids, dataset.samples["label_problems"], strict=True))[
        "JPEGImages/a.png"
    ]
    assert said in told
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    ) == annotated.tree(root)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("coco", "annotations/instances.json"),
        ("yolo", "labels/train/a.txt"),
        ("voc", "Annotations/a.xml"),
    ],
)
def test_a_label_file_without_end_is_not_read(
    registry: Registry, tmp_path: Path, name: str, file: str
) -> None:
    root = MAKE[name](tmp_path / "set")
    with (root / file).open("r+b") as sparse:
        sparse.truncate((1 << 30) + 1)
    try:
        said = " ".join(
            filter(None, annotated.read(registry, name, root).samples["label_problems"])
        )
    except DatasetError as error:
        said = str(error)
    assert "MB is the most that is read" in said


def test_labels_outside_the_folder_are_neither_read_nor_copied(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.yolo(tmp_path / "set")
    (tmp_path / "secret.txt").write_text("0 0.1 0.1 0.1 0.1\n")
    (root / "labels/train/b.txt").symlink_to(tmp_path / "secret.txt")
    dataset = annotated.read(registry, "yolo", root)
    assert objects(dataset, "images/train/b.png") is None
    assert "labels/train/b.txt" not in annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    )


@pytest.mark.parametrize("name", MAKE)
def test_a_whole_run_judges_no_class_of_a_picture_and_writes_the_format(
    tmp_path: Path, name: str
) -> None:
    root = MAKE[name](tmp_path / "set")
    result = dqpipe.curate(root, tmp_path / "out", executor="serial")
    assert [
        code
        for code in result.findings["code"]
        if code.startswith("label_noise") and not code.endswith("unjudged")
    ] == []
    assert any(f"recognised as {name}" in said for said in result.record["account"]["said"])
    kept = set(result.curated["id"])
    assert {i for i in kept if (tmp_path / "out/curated" / i).is_file()} == kept


def test_malformed_annotations_are_claimed_and_boxes_of_copies_are_no_labels_that_disagree(
    tmp_path: Path,
) -> None:
    root = annotated.yolo(tmp_path / "set")
    (root / "labels/train/b.txt").write_text("0 nan 0 1 1\n")
    shutil.copy(root / "images/train/a.png", root / "images/train/copy.png")
    found = dqpipe.check(root, executor="serial").findings
    assert found.query("code == 'files.malformed'")["id"].tolist() == ["images/train/b.png"]
    assert (
        "labels/train/b.txt, line 1"
        in found.query("code == 'files.malformed'")["detail"].tolist()[0]
    )
    assert set(found["code"]) & {"duplicates.exact", "duplicates.label_conflict"} == {
        "duplicates.exact"
    }


def test_yolo_by_lists_of_paths_loses_the_lines_of_what_is_dropped(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.pictures(tmp_path / "set", "obj/a.png", "obj/b.png", "obj/c.png")
    for name in "abc":
        (root / f"obj/{name}.txt").write_text("0 0.5 0.5 0.2 0.2 0.1 0.2 2 0.3 0.4 1\n")
    (root / "train.txt").write_bytes(b"./obj/a.png\r\n./obj/b.png\r\n")
    (root / "val.txt").write_text("obj/c.png\n")
    (root / "data.yaml").write_text(
        "names: [cat]\nkpt_shape: [2, 3]\ntrain: train.txt\nval: val.txt\n"
    )
    for source in (root, root / "data.yaml"):
        assert recognise(registry, str(source)).reader.name == "yolo"
    dataset = annotated.read(registry, "yolo", root)
    assert dataset.samples["split"].tolist() == ["train", "train", "val"]
    assert objects(dataset, "obj/a.png")[0]["keypoints"] == pytest.approx([4, 4, 2, 12, 8, 1])
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "same")
    ) == annotated.tree(root)
    left = annotated.tree(
        annotated.written(registry, annotated.curated(dataset, "obj/a.png"), tmp_path / "out")
    )
    wanted = {
        name: data
        for name, data in annotated.tree(root).items()
        if name not in ("obj/a.png", "obj/a.txt")
    }
    assert left == {**wanted, "train.txt": b"./obj/b.png\r\n"}
