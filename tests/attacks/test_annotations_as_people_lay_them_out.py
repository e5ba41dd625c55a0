"""Names, folders and lists that annotated datasets have in the wild.

Each picture has its own annotations, and what is left out or shared is said.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dqpipe_reports.page import environment

from dqpipe.config.dataset_source import recognise
from dqpipe.data.dataset import Dataset
from dqpipe.errors import DatasetError, OutputError
from dqpipe.plugin.registry import Registry
from dqpipe.results.report.sentences import sentence
from tests import annotated
from tests.plugins.test_huggingface import disk, parquet
from tests.plugins.test_webdataset import shards

XML = (
    "<annotation><object><name>{name}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax>"
    "<ymax>4</ymax></bndbox></object></annotation>"
)


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    """Some files; a picture for each name that ends like one."""
    annotated.pictures(root, *(name for name in files if name.endswith((".png", ".jpg"))))
    for name, text in files.items():
        if not name.endswith((".png", ".jpg")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def classes(dataset: Dataset) -> dict[str, Any]:
    """The classes of each sample's objects, None where it has no label."""
    return {
        sample: None if label is None else [one["class"] for one in label]
        for sample, label in zip(dataset.samples.ids, dataset.samples["label"], strict=True)
    }


def said(dataset: Dataset) -> str:
    """The doubts of its reader."""
    return "\n".join(dataset.layout["doubts"])


def one_label(dataset: Dataset, sample: str, **change: Any) -> Dataset:
    """The dataset with another first object of a sample."""
    label = dict(zip(dataset.samples.ids, dataset.samples["label"], strict=True))[sample]
    return annotated.curated(dataset, labels={sample: [label[0] | change, *label[1:]]})


YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def test_an_absolute_path_in_a_data_yaml_is_the_folder_itself(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.yolo(tmp_path / "set")
    text = (root / "data.yaml").read_text()
    for path in (str(root), f"{root}/../set"):
        (root / "data.yaml").write_text(text.replace("path: .", f"path: {path}"))
        dataset = annotated.read(registry, "yolo", root)
        assert dataset.samples["split"].tolist() == ["train", "train", "val"]
        assert "in the curated set it names the source" in said(dataset)
    (root / "data.yaml").write_text(text.replace("images/", f"{root}/images/"))
    assert annotated.read(registry, "yolo", root).samples["split"].tolist()[-1] == "val"


def test_lists_within_lists_are_all_read(registry: Registry, tmp_path: Path) -> None:
    root = annotated.yolo(tmp_path / "set")
    (root / "data.yaml").write_text("train: [[images/train], [[images/val]]]\nnames: [cat, dog]\n")
    assert len(annotated.read(registry, "yolo", root)) == 3


def test_pictures_that_a_data_yaml_does_not_name_are_said(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.yolo(tmp_path / "set")
    annotated.pictures(root, "images/extra/d.png")
    assert "1 picture in no split of the data.yaml (images/extra/d.png): left out" in said(
        annotated.read(registry, "yolo", root)
    )


def test_of_two_data_yaml_the_usual_one_is_read_and_the_other_named(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.yolo(tmp_path / "set")
    (root / "a.yaml").write_text("train: images/train\nnames: [x, y]\n")
    dataset = annotated.read(registry, "yolo", root)
    assert classes(dataset)["images/train/a.png"] == ["cat", "dog"]
    assert "data.yaml is read, and not a.yaml" in said(dataset)


def test_folders_of_labels_in_capitals_are_found(registry: Registry, tmp_path: Path) -> None:
    root = put(
        tmp_path / "set",
        {"Images/a.png": "", "Labels/a.txt": "0 .5 .5 .1 .1\n", "classes.txt": "cat\n"},
    )
    assert classes(annotated.read(registry, "yolo", root)) == {"Images/a.png": ["cat"]}


def test_an_empty_line_among_names_of_classes_is_a_number_without_name(
    registry: Registry, tmp_path: Path
) -> None:
    root = put(
        tmp_path / "set",
        {"a.png": "", "a.txt": "2 .5 .5 .1 .1\n", "classes.txt": "\ufeffcat\r\n\r\ndog\x85e\n"},
    )
    assert classes(annotated.read(registry, "yolo", root)) == {"a.png": ["dog\x85e"]}


def test_lists_keep_names_with_odd_ends_of_line(registry: Registry, tmp_path: Path) -> None:
    names = ["images/a\x85b.png", "images/c\u2028d.png", "images/e.png"]
    root = put(tmp_path / "set", dict.fromkeys(names, ""))
    lines = "\ufeff" + "\r\n".join(names)
    (root / "train.txt").write_bytes(lines.encode())
    (root / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")
    dataset = annotated.read(registry, "yolo", root)
    assert sorted(dataset.samples.ids) == sorted(names)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(root)
    out = annotated.written(registry, annotated.curated(dataset, names[1]), tmp_path / "less")
    assert (out / "train.txt").read_bytes() == lines.replace(names[1] + "\r\n", "").encode()


def test_a_label_file_without_picture_beside_others_is_said_and_stays(
    registry: Registry, tmp_path: Path
) -> None:
    line = "0 .5 .5 .1 .1\n"
    root = put(
        tmp_path / "set", {"a.png": "", "a.txt": line, "gone.txt": line, "README.txt": "Read me\n"}
    )
    dataset = annotated.read(registry, "yolo", root)
    assert said(dataset) == "1 label file of no picture (gone.txt)"
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert (out / "gone.txt").read_text() == line


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_two_pictures_with_one_file_of_annotations(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    text = {"a.txt": "0 .5 .5 .1 .1\n"} if name == "yolo" else {"a.xml": XML.format(name="0")}
    root = put(tmp_path / "set", {"a.png": "", "a.jpg": "", **text, "b.png": ""})
    dataset = annotated.read(registry, name, root)
    assert classes(dataset)["a.png"] == classes(dataset)["a.jpg"] == ["0"]
    for number, gone in enumerate(["a.png", "a.jpg"]):
        out = annotated.written(
            registry, annotated.curated(dataset, gone), tmp_path / f"out{number}"
        )
        assert (
            text.items()
            <= {name: data.decode("latin-1") for name, data in annotated.tree(out).items()}.items()
        )
    with pytest.raises(OutputError, match="of several pictures"):
        annotated.written(
            registry, one_label(dataset, "a.png", **{"class": "1"}), tmp_path / "changed"
        )


def test_a_picture_has_no_annotations_of_another_folder(registry: Registry, tmp_path: Path) -> None:
    root = put(
        tmp_path / "set",
        {
            "train/a.png": "",
            "train/a.xml": XML.format(name="cat"),
            "test/a.png": "",
            "val/JPEGImages/a.png": "",
            "val/Annotations/a.xml": XML.format(name="dog"),
            "JPEGImages/more/b.png": "",
            "Annotations/b.xml": XML.format(name="bird"),
        },
    )
    assert classes(annotated.read(registry, "voc", root)) == {
        "train/a.png": ["cat"],
        "test/a.png": None,
        "val/JPEGImages/a.png": ["dog"],
        "JPEGImages/more/b.png": ["bird"],
    }


def test_lists_of_voc_know_names_with_spaces_and_of_other_encodings(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.pictures(tmp_path / "set", "my photo 2.png", "a.png", "bare.png")
    odd = bytes(root) + b"/\xe9.png"
    Path(root / "a.png").rename(odd.decode("utf-8", "surrogateescape"))
    (root / "my photo 2.xml").write_text(XML.format(name="cat"))
    Path((bytes(root) + b"/\xe9.xml").decode("utf-8", "surrogateescape")).write_text(
        XML.format(name="cat")
    )
    (root / "ImageSets").mkdir()
    lines = b"my photo 2\n\xe9\n"
    (root / "ImageSets/train.txt").write_bytes(lines)
    (root / "ImageSets/cat_train.txt").write_bytes(b"my photo 2  1\n\xe9 -1\nbare 0\n")
    (root / "ImageSets/val.txt").write_bytes(b"bare")
    dataset = annotated.read(registry, "voc", root)
    splits = dict(zip(dataset.samples.ids, dataset.samples["split"], strict=True))
    assert (splits["my photo 2.png"], splits["bare.png"]) == ("train", "val")
    other = next(sample for sample in splits if sample not in ("my photo 2.png", "bare.png"))
    assert splits[other] == "train"
    out = annotated.written(registry, annotated.curated(dataset, other), tmp_path / "out")
    assert (out / "ImageSets/train.txt").read_bytes() == b"my photo 2\n"
    assert (out / "ImageSets/cat_train.txt").read_bytes() == b"my photo 2  1\nbare 0\n"
    out = annotated.written(
        registry, annotated.curated(dataset, "my photo 2.png", "bare.png"), tmp_path / "more"
    )
    assert (out / "ImageSets/train.txt").read_bytes() == b"\xe9\n"
    assert (out / "ImageSets/cat_train.txt").read_bytes() == b"\xe9 -1\n"
    assert (out / "ImageSets/val.txt").read_bytes() == b""


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "ascii", "utf-8"])
def test_a_class_is_changed_in_the_encoding_of_its_file(
    registry: Registry, tmp_path: Path, encoding: str
) -> None:
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE annotation>\n'
    data = (head + XML.format(name="<![CDATA[Katze]]>")).encode(encoding)
    root = put(tmp_path / "set", {"a.png": "", "a.xml": data})
    dataset = annotated.read(registry, "voc", root)
    assert classes(dataset) == {"a.png": ["Katze"]}
    new = one_label(dataset, "a.png", **{"class": "Bär & Ω"})
    out = annotated.written(registry, new, tmp_path / "out")
    assert classes(annotated.read(registry, "voc", out)) == {"a.png": ["Bär & Ω"]}
    assert (out / "a.xml").read_bytes().startswith(head.encode(encoding))


def test_masks_of_no_picture_are_said_and_stay(registry: Registry, tmp_path: Path) -> None:
    root = annotated.voc(tmp_path / "set")
    annotated.pictures(root, "SegmentationClass/z.png")
    dataset = annotated.read(registry, "voc", root)
    assert "1 mask of no picture (SegmentationClass/z.png)" in said(dataset)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(root)


def test_pictures_of_one_name_share_a_mask_and_none_is_lost(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.pictures(
        tmp_path / "set", "images/a.png", "images/a.jpg", "masks/a.png", "images/b.png"
    )
    dataset = annotated.read(registry, "masks", root)
    masks = dict(zip(dataset.samples.ids, dataset.samples["mask"], strict=True))
    assert masks == {
        "images/a.png": "masks/a.png",
        "images/a.jpg": "masks/a.png",
        "images/b.png": None,
    }
    out = annotated.written(registry, annotated.curated(dataset, "images/a.png"), tmp_path / "out")
    assert sorted(annotated.tree(out)) == ["images/a.jpg", "images/b.png", "masks/a.png"]


def test_objects_of_two_files_of_one_name_are_told_apart(
    registry: Registry, tmp_path: Path
) -> None:
    root = annotated.pictures(tmp_path / "set", "a.png")
    for folder, name in (("x", "cat"), ("y", "dog")):
        (root / folder).mkdir()
        (root / folder / "instances.json").write_text(
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png"}],
                    "annotations": [
                        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
                    ],
                    "categories": [{"id": 1, "name": name}, {"id": 2, "name": "new"}],
                }
            )
        )
    dataset = annotated.read(registry, "coco", root)
    assert classes(dataset) == {"a.png": ["cat", "dog"]}
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(root)
    new = one_label(dataset, "a.png", **{"class": "new"})
    out = annotated.written(registry, new, tmp_path / "changed")
    assert classes(annotated.read(registry, "coco", out)) == {"a.png": ["new", "dog"]}
    changed = annotated.tree(out).items() ^ annotated.tree(root).items()
    assert {name for name, _ in changed} == {"x/instances.json"}


def test_a_broken_data_yaml_is_not_passed_over(registry: Registry, tmp_path: Path) -> None:
    root = annotated.yolo(tmp_path / "set")
    (root / "data.yaml").write_text(YAML + "x: [\n")
    with pytest.raises(DatasetError, match=r"data\.yaml cannot be read"):
        annotated.read(registry, "yolo", root)


def test_many_lines_of_text_in_an_element_are_read_at_once(
    registry: Registry, tmp_path: Path
) -> None:
    text = XML.format(name="cat").replace("<object>", "\n" * 4_000_000 + "<object>")
    root = put(tmp_path / "set", {"a.png": "", "a.xml": text})
    assert classes(annotated.read(registry, "voc", root)) == {"a.png": ["cat"]}


@pytest.mark.parametrize("first", ["categories", "info", "licenses"])
def test_coco_is_recognised_behind_a_long_beginning(
    registry: Registry, tmp_path: Path, first: str
) -> None:
    long = [{"id": number, "name": "x" * 100} for number in range(2000)]
    document = {
        first: {"notes": long} if first == "info" else long,
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    root = put(tmp_path / "set", {"a.png": "", "all.json": json.dumps(document)})
    for source in (root, root / "all.json"):
        assert recognise(registry, str(source)).reader.name == "coco"
    assert len(annotated.read(registry, "coco", root)) == 1


def test_files_beside_pictures_without_labels_are_named(registry: Registry, tmp_path: Path) -> None:
    root = put(tmp_path / "set", {"a.png": "", "all.json": "{}", "README.md": "x"})
    assert said(annotated.read(registry, "image_folder", root)) == (
        "the pictures have no labels, and 'all.json' beside them is not read"
    )


def test_a_file_at_the_start_of_a_sentence_keeps_its_name() -> None:
    assert sentence("data.yaml: nc is 7") == "data.yaml: nc is 7."
    assert sentence("annotations/x has 2") == "annotations/x has 2."
    assert sentence("near-copies, as usual.") == "Near-copies, as usual."


def test_names_command_no_page() -> None:
    page = environment().from_string("{{ name }}<i>{{ name | short }}</i>")
    shown = page.render(name="\u202egnp.exe\x1b[31m<b>\n")
    assert shown.startswith("\\u202egnp.exe\\u001b[31m&lt;b&gt;\n<i>")
    assert not set(shown) & {"\u202e", "\x1b"}


PIPES = {
    "coco": "annotations/more.json",
    "yolo": "labels/train/a.txt",
    "voc": "Annotations/a.xml",
    "masks": "masks/b.png",
}


@pytest.mark.parametrize("name", PIPES)
@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_pipes_and_devices_are_never_opened(
    registry: Registry, tmp_path: Path, name: str, kind: str
) -> None:
    root = tmp_path / "set.yaml"  # a folder all the same
    if name == "masks":
        annotated.pictures(root, "images/a.png", "masks/a.png")
    else:
        getattr(annotated, name)(root)
    odd = root / PIPES[name]
    odd.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero" if kind == "device" else odd)
    for more in ("metadata.csv", "x.tar", "x.parquet", "x.yaml", "x.json", "x.xml"):
        os.mkfifo(root / more)
    assert recognise(registry, str(root)).reader.name == name
    dataset = annotated.read(registry, name, root)
    if name in ("yolo", "voc") and kind != "loop":
        assert f"{PIPES[name]}: not a regular file" in said(dataset)
    annotated.written(registry, annotated.curated(dataset), tmp_path / "out")


def test_counts_of_several_are_words(registry: Registry, tmp_path: Path) -> None:
    root = annotated.voc(tmp_path / "set")
    annotated.pictures(
        root, "JPEGImages/d.png", "SegmentationClass/y.png", "SegmentationClass/z.png"
    )
    text = said(annotated.read(registry, "voc", root))
    assert "2 masks of no picture (SegmentationClass/y.png, SegmentationClass/z.png)" in text
    assert "2 pictures without an XML file (JPEGImages/c.png, JPEGImages/d.png)" in text


def state(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Of each file and folder its mode, size, time and what it holds or leads to."""
    found = {}
    for path in (root, *root.rglob("*")):
        info = path.lstat()
        holds = str(path.readlink()) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            holds = hashlib.blake2b(path.read_bytes()).hexdigest()
        found[str(path)] = (info.st_mode, info.st_size, info.st_mtime_ns, holds)
    return found


def masks(root: Path) -> Path:
    """Two pictures with masks."""
    return annotated.pictures(root, "images/a.png", "masks/a.png", "images/b.png", "masks/b.png")


@pytest.mark.parametrize("files", ["copy", "hardlink", "manifest"])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("coco", annotated.coco),
        ("yolo", annotated.yolo),
        ("voc", annotated.voc),
        ("masks", masks),
        ("webdataset", shards),
        ("huggingface", parquet),
        ("huggingface", disk),
    ],
)
def test_reading_and_writing_change_nothing_of_a_read_only_source(
    registry: Registry, tmp_path: Path, name: str, make: Callable[[Path], Path], files: str
) -> None:
    root = make(tmp_path / "set")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    for path in (*root.rglob("*"), root):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(root)
    dataset = annotated.read(registry, name, root)
    for number, gone in enumerate([(), (dataset.samples.ids[0],)]):
        annotated.written(
            registry, annotated.curated(dataset, *gone), tmp_path / f"out{number}", files
        )
    assert state(root) == before
