"""Broken files of annotations.

Each is a finding with its file and line or one clear error, and nothing of it is lost.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dqpipe.errors import DatasetError
from dqpipe.plugin.registry import Registry
from tests import annotated


def told(registry: Registry, name: str, root: Path, out: Path) -> str:
    """What a reader says of a dataset: its error, or its doubts and problems.

    Where it reads the dataset, all files come back as they were.
    """
    try:
        dataset = annotated.read(registry, name, root)
    except DatasetError as error:
        return str(error)[:1500]
    written = annotated.written(registry, annotated.curated(dataset), out)
    problems = dataset.samples.table.to_pydict().get("label_problems", [])
    said = "\n".join([*dataset.layout.get("doubts", ()), *filter(None, problems)])
    before, after = annotated.tree(Path(dataset.root)), annotated.tree(written)
    lost = {file for file, data in before.items() if after.get(file) != data and file not in said}
    assert not lost, f"lost: {lost}; {said}"
    return said


def check(
    registry: Registry, name: str, tmp_path: Path, cases: Iterator[tuple[str, Path, str]]
) -> None:
    """Each case (what it is called, its folder, what must be said) is said."""
    unsaid = {}
    for case, root, wanted in cases:
        try:
            said = told(registry, name, root, tmp_path / f"out of {case}")
        except Exception as error:  # noqa: BLE001 (all failures of a format are shown at once)
            said = f"{type(error).__name__}: {str(error)[:300]}"
        if wanted not in said:
            unsaid[case] = said[:300]
    assert not unsaid, "\n".join(f"{case}: {said!r}" for case, said in unsaid.items())


FILE = "annotations/instances.json, line "
HUGE = "1" + "0" * 400
OF_ONE: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "box of infinity": ({"bbox": [0, 0, float("inf"), 1]}, "not four numbers"),
    "box of NaN": ({"bbox": [0, 0, float("nan"), 1]}, "not four numbers"),
    "box of three": ({"bbox": [0, 0, 1]}, "not four numbers"),
    "box of five": ({"bbox": [0, 0, 1, 1, 1]}, "not four numbers"),
    "box of texts": ({"bbox": ["0", "0", "1", "1"]}, "not four numbers"),
    "box of null": ({"bbox": [None, 0, 1, 1]}, "not four numbers"),
    "box of booleans": ({"bbox": [True, 0, 1, 1]}, "not four numbers"),
    "box that is a mapping": ({"bbox": {"x": 1}}, "not four numbers"),
    "box that is a text": ({"bbox": "1 2 3 4"}, "not four numbers"),
    "box within a list": ({"bbox": [[0, 0, 1, 1]]}, "not four numbers"),
    "box of a whole number beyond floats": ({"bbox": [0, 0, 10**400, 1]}, "not four numbers"),
    "box without numbers": ({"bbox": []}, "not four numbers"),
    "negative width": ({"bbox": [0, 0, -1, 1]}, "negative size"),
    "negative height": ({"bbox": [0, 0, 1, -1e-7]}, "negative size"),
    "polygon of two points": ({"segmentation": [[1, 2, 3, 4]]}, "three points or more"),
    "polygon of an odd number": ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "three points"),
    "polygon of NaN": ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "polygon"),
    "polygon beyond floats": ({"segmentation": [[1, 2, 3, 4, 5, 10**400]]}, "polygon"),
    "polygon of texts": ({"segmentation": [["a"] * 6]}, "polygon"),
    "polygon of pairs": ({"segmentation": [[[1, 2], [3, 4], [5, 6]]]}, "polygon"),
    "polygon without its outer list": ({"segmentation": [1, 2, 3, 4, 5, 6]}, "polygon"),
    "polygon that is a text": ({"segmentation": "1 2 3"}, "segmentation"),
    "polygon that is a number": ({"segmentation": 7}, "segmentation"),
    "run lengths without size": ({"segmentation": {"counts": [800]}}, "lack size"),
    "run lengths without counts": ({"segmentation": {"size": [20, 40]}}, "lack size"),
    "run lengths of too few": (
        {"segmentation": {"size": [20, 40], "counts": [700]}},
        "cover 700 pixels",
    ),
    "run lengths of another picture": (
        {"segmentation": {"size": [40, 20], "counts": [800]}},
        "of a picture of 40 by 20",
    ),
    "run lengths below zero": (
        {"segmentation": {"size": [20, 40], "counts": [900, -100]}},
        "run lengths",
    ),
    "run lengths of texts": (
        {"segmentation": {"size": [20, 40], "counts": ["a"]}},
        "run lengths",
    ),
    "packed run lengths of too few": (
        {"segmentation": {"size": [20, 40], "counts": "0P1"}},
        "run lengths",
    ),
    "packed run lengths of no signs": (
        {"segmentation": {"size": [20, 40], "counts": "\x01é"}},
        "run lengths",
    ),
    "run lengths of a negative size": (
        {"segmentation": {"size": [-20, -40], "counts": [800]}},
        "run lengths",
    ),
    "keypoints of two numbers": ({"keypoints": [1, 2]}, "keypoints"),
    "keypoints of NaN": ({"keypoints": [1, float("nan"), 2]}, "keypoints"),
    "keypoints beyond floats": ({"keypoints": [1, 10**400, 2]}, "keypoints"),
    "keypoints that are a text": ({"keypoints": "1"}, "keypoints"),
    "no such category": ({"category_id": 5}, "no category 5"),
    "category as text": ({"category_id": "1"}, "no category"),
    "category of null": ({"category_id": None}, "no category"),
    "category that is a list": ({"category_id": [1]}, "no category"),
    "id of another": ({"id": 8}, "stands more than once"),
    "id of null": ({"id": None}, "no id"),
    "id that is a list": ({"id": [6]}, "no id"),
    "picture that is not listed": ({"image_id": 11}, "of no picture that it lists"),
    "picture as a text": ({"image_id": "10"}, "of no picture that it lists"),
    "picture of null": ({"image_id": None}, "of no picture that it lists"),
}
OF_THE_FILE: Mapping[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda _: "", FILE),
    "spaces": (lambda _: " \n ", FILE),
    "a list": (lambda _: '[{"images": [], "file_name": 1}]', FILE),
    "cut after a comma": (lambda text: text[: text.index("b.png") - 20], FILE),
    "cut within a text": (lambda text: text[: text.index("b.png") + 2], FILE),
    "cut before the last bracket": (lambda text: text.rstrip()[:-1], FILE),
    "more behind the end": (lambda text: text + "{}", FILE),
    "two documents": (lambda text: text + "\n" + text, FILE),
    "a comma too many": (lambda text: text.replace('"unknown": {', '"unknown": {,'), FILE),
    "no comma": (lambda text: text.replace("},", "}", 1), FILE),
    "single quotes": (lambda text: text.replace('"', "'"), FILE),
    "comments": (lambda text: "// mine\n" + text, FILE),
    "a key twice": (lambda text: text.replace('"licenses"', '"info"'), "stands twice"),
    "brackets without end": (
        lambda text: text.replace('{\n  "kept": null\n }', "[" * 100_000),
        FILE,
    ),
    "brackets that end": (
        lambda text: text.replace('{\n  "kept": null\n }', "[" * 100_000 + "]" * 100_000),
        FILE,
    ),
    "a number of five million digits": (
        lambda text: text.replace("2026", "1" * 5_000_000),
        FILE,
    ),
    "images that are a mapping": (
        lambda text: text.replace('"images": [', '"images": {"a": 1}, "more": ['),
        "no list",
    ),
    "annotations of another type": (
        lambda text: text.replace('"annotations": [', '"annotations": {}, "more": ['),
        "no list",
    ),
    "no images": (lambda text: text.replace('"images"', '"pictures"'), "no list of images"),
    "categories that are a mapping": (
        lambda text: text.replace('"categories": [', '"categories": {"1": "cat"}, "more": ['),
        "categories",
    ),
    "not UTF-8": (
        lambda text: text.replace("ünïcode", "ünïcode").encode("latin-1"),
        "not UTF-8",
    ),
    "UTF-16": (lambda text: text.encode("utf-16"), "instances.json"),
    "NUL": (lambda text: text.replace("none", "no\0ne"), FILE),
    "an id of a picture twice": (lambda text: text.replace('"id": 99', '"id": 7'), "stands twice"),
    "a picture without id": (lambda text: text.replace('"id": 99', '"no": 99'), "without an id"),
    "a picture with an id of null": (
        lambda text: text.replace('"id": 99', '"id": null'),
        "without an id",
    ),
    "a picture without name": (
        lambda text: text.replace('"file_name": "c.png"', '"file": "c.png"'),
        "without a file_name",
    ),
    "a picture whose name is a number": (
        lambda text: text.replace('"file_name": "c.png"', '"file_name": 7'),
        "without a file_name",
    ),
    "an annotation that is null": (
        lambda text: text.replace('"annotations": [', '"annotations": [null, '),
        "of no picture",
    ),
    "a picture that is a number": (
        lambda text: text.replace('"images": [', '"images": [7, '),
        "without a file_name",
    ),
    "a class that is half a letter": (
        lambda text: text.replace('"dog"', '"\\ud800"'),
        "",
    ),
    "a category twice": (lambda text: text.replace('"id": 90,\n', '"id": 1,\n'), "category"),
    "a category without id": (lambda text: text.replace('"id": 90,\n', '"no": 1,\n'), "category"),
}


def test_coco(registry: Registry, tmp_path: Path) -> None:
    def cases() -> Iterator[tuple[str, Path, str]]:
        for case, (change, wanted) in OF_ONE.items():
            document = copy.deepcopy(dict(annotated.COCO))
            document["annotations"][1] |= change
            root = annotated.coco(tmp_path / case, document)
            yield case, root, FILE if wanted == "segmentation" else wanted
        for case, (of_text, wanted) in OF_THE_FILE.items():
            root = annotated.coco(tmp_path / case)
            file = root / "annotations/instances.json"
            made = of_text(file.read_text(encoding="utf-8"))
            file.write_bytes(made.encode() if isinstance(made, str) else made)
            yield case, file, wanted

    check(registry, "coco", tmp_path, cases())


LINES: Mapping[str, tuple[str | bytes, str]] = {
    "no numbers": ("cat 0 0 1 1", "no numbers"),
    "NaN": ("0 nan 0 1 1", "NaN"),
    "infinity": ("0 0.5 0.5 inf 1", "NaN or infinite"),
    "a number beyond floats": ("0 0.5 0.5 1e999 1", "NaN or infinite"),
    "a class of NaN": ("nan 0.5 0.5 1 1", "no whole number"),
    "a class of infinity": ("inf 0.5 0.5 1 1", "no whole number"),
    "a class with a fraction": ("0.5 0.5 0.5 1 1", "no whole number"),
    "a class below zero": ("-1 0.5 0.5 1 1", "no class -1"),
    "a class beyond the names": ("7 0.5 0.5 1 1", "no class 7"),
    "a class of a thousand digits": ("9" * 1000 + " 0.5 0.5 1 1", "no whole number"),
    "a class alone": ("0", "neither a box"),
    "two numbers": ("0 0.5", "neither a box"),
    "four numbers": ("0 0.5 0.5 1", "neither a box"),
    "polygon of two points and a half": ("0 .1 .1 .2 .2 .3 .3 .4", "neither a box"),
    "negative width": ("0 0.5 0.5 -1 1", "negative size"),
    "negative height": ("0 0.5 0.5 1 -0.1", "negative size"),
    "commas": ("0,0.5,0.5,1,1", "no numbers"),
    "commas for points": ("0 0,5 0,5 1 1", "no numbers"),
    "underscores": ("0 0.5 0.5 1_0 1", "line 2: a number that is none"),
    "a box in pixels": ("0 20 10 5 5", "fractions"),
    "a polygon in pixels": ("0 1 1 20 10 5 5", "fractions"),
    "a comment": ("# mine", "no numbers"),
    "html": ("<script>alert(1)</script>", "no numbers"),
    "not UTF-8": (b"0 0.5 0.5 1 1\xff", "labels/train/b.txt"),
    "UTF-16": ("0 0.5 0.5 1 1".encode("utf-16"), "labels/train/b.txt"),
    "NUL": (b"0 0.5 0.5 1\0 1", "line 2: no numbers"),
    "a very long line": ("0 " + "x" * 1_000_000, "no numbers"),
    "json": ('{"class": 0}', "no numbers"),
}
YAMLS: Mapping[str, tuple[Callable[[str], str | bytes], str]] = {
    "cut": (lambda text: text[: text.index("0: cat")] + "  {", "data.yaml"),
    "a tab": (lambda text: text.replace("  0: cat", "\t0: cat"), "data.yaml"),
    "an alias bomb": (
        lambda text: text + "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "aliases",
    ),
    "a python object": (
        lambda text: text + "x: !!python/object/apply:os.system ['true']\n",
        "data.yaml",
    ),
    "names of a text": (
        lambda text: text[: text.index("names")] + "names: cat\n",
        "data.yaml",
    ),
    "names by words": (
        lambda text: text.replace("0: cat", "cat: 0").replace("1: dog", "dog: 1"),
        "data.yaml",
    ),
    "names by a sign like a number": (lambda text: text.replace("1: dog", "²: dog"), "data.yaml"),
    "names below zero": (lambda text: text.replace("1: dog", "-1: dog"), "data.yaml"),
    "a number of classes that is another": (lambda text: text + "nc: 7\n", "nc"),
    "keypoints of a text": (lambda text: text + "kpt_shape: abc\n", "kpt_shape"),
    "keypoints of one number": (lambda text: text + "kpt_shape: [3, 1]\n", "kpt_shape"),
    "keypoints below zero": (lambda text: text + "kpt_shape: [-1, 3]\n", "kpt_shape"),
    "a split that is a number": (lambda text: text.replace("images/val", "7"), "data.yaml"),
    "a split that is not there": (lambda text: text.replace("images/val", "images/no"), "val"),
    "not UTF-8": (lambda text: text.replace("mine", "möglich").encode("latin-1"), "data.yaml"),
    "a list": (lambda text: "- a\n- b\n", "data.yaml"),
    "no names": (lambda text: text[: text.index("names")], "names"),
}


def test_yolo(registry: Registry, tmp_path: Path) -> None:
    def cases() -> Iterator[tuple[str, Path, str]]:
        for case, (line, wanted) in LINES.items():
            root = annotated.yolo(tmp_path / case)
            data = line if isinstance(line, bytes) else line.encode()
            (root / "labels/train/b.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n" + data + b"\n")
            yield case, root, wanted
        for case, (of_text, wanted) in YAMLS.items():
            root = annotated.yolo(tmp_path / case)
            file = root / "data.yaml"
            made = of_text(file.read_text(encoding="utf-8"))
            file.write_bytes(made.encode() if isinstance(made, str) else made)
            yield case, root, wanted

    check(registry, "yolo", tmp_path, cases())


A = "Annotations/a.xml"
BOMB = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]>'
XMLS: Mapping[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda _: "", A),
    "spaces": (lambda _: " \n", A),
    "cut": (lambda text: text[: len(text) // 2], f"{A}, line"),
    "cut within a tag": (lambda text: text[: text.index("bndbox") + 3], f"{A}, line"),
    "more behind the end": (lambda text: text + "<a/>", f"{A}, line"),
    "entities": (lambda text: BOMB + text.replace("cat", "&d;"), f"{A}, line"),
    "an entity from elsewhere": (
        lambda text: (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + text.replace("cat", "&b;")
        ),
        f"{A}, line",
    ),
    "an entity nobody declared": (lambda text: text.replace("cat", "&b;"), f"{A}, line"),
    "too deep": (
        lambda text: text.replace("<pose>", "<a>" * 500 + "</a>" * 500 + "<pose>"),
        f"{A}, line",
    ),
    "elements that cross": (lambda text: text.replace("</pose>", "</truncated>"), f"{A}, line"),
    "an attribute twice": (lambda text: text.replace("<object>", '<object a="" a="">'), A),
    "not UTF-8": (lambda text: text.replace("comment", "möglich").encode("latin-1"), A),
    "UTF-16": (lambda text: text.encode("utf-16"), A),
    "an encoding nobody knows": (lambda text: '<?xml version="1.0" encoding="x"?>' + text, A),
    "NUL": (lambda text: text.replace("cat", "c\0at"), A),
    "another root": (lambda text: text.replace("annotation", "doc"), f"{A}, line 1"),
    "no name": (lambda text: text.replace("<name>cat</name>", ""), f"{A}, line 5"),
    "an empty name": (lambda text: text.replace(">cat<", "><"), f"{A}, line 5"),
    "no box": (lambda text: text[: text.index("<bndbox")] + text[text.index("</bndbox>") + 9 :], A),
    "a corner too few": (lambda text: text.replace("<xmax>11.5</xmax>", ""), f"{A}, line 5"),
    "a corner of a word": (lambda text: text.replace("11.5", "wide"), f"{A}, line 5"),
    "a corner of NaN": (lambda text: text.replace("11.5", "nan"), f"{A}, line 5"),
    "a corner of infinity": (lambda text: text.replace("11.5", "1e999"), f"{A}, line 5"),
    "a corner with underscores": (lambda text: text.replace("11.5", "1_1"), f"{A}, line 5"),
    "inverted": (lambda text: text.replace("11.5", "0"), f"{A}, line 5"),
    "two boxes": (
        lambda text: text.replace("<bndbox><xmin>1<", "<bndbox/><bndbox><xmin>1<"),
        f"{A}, line 5",
    ),
}


def test_voc(registry: Registry, tmp_path: Path) -> None:
    def cases() -> Iterator[tuple[str, Path, str]]:
        for case, (of_text, wanted) in XMLS.items():
            root = annotated.voc(tmp_path / case)
            made = of_text(annotated.VOC.format(name="a"))
            (root / A).write_bytes(made.encode() if isinstance(made, str) else made)
            yield case, root, wanted

    check(registry, "voc", tmp_path, cases())
