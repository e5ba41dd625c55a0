"""Hostile and unusual input through the whole default pipeline.

A finding or a clear error, never a traceback.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dqpipe
from dqpipe.errors import ConfigError, DatasetError, OutputError
from tests import faulty

HOSTILE = [
    "with space.png",
    "quo\"te's.png",
    "new\nline.png",
    "<script>alert(1)<.png",
    "日本語 ñ é.png",
    "=cmd|calc.png",
    "-rf.png",
    "%2e%2e.png",
    "a" * 200 + ".png",
]


def curate(source: Path | pd.DataFrame, out: Path) -> dqpipe.Result:
    return dqpipe.curate(
        source if isinstance(source, pd.DataFrame) else str(source), out, executor="serial"
    )


def codes(result: dqpipe.Result, sample: str) -> set[str]:
    return set(result.findings.loc[result.findings["id"] == sample, "code"])


def test_hostile_names_and_labels_survive_and_stay_escaped(tmp_path: Path) -> None:
    for label in ("<b>bold", 'comma, quote"'):
        for number, name in enumerate(HOSTILE):
            (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
            faulty.picture(tmp_path / "in" / label / name, seed=number + 100 * len(label))
    result = curate(tmp_path / "in", tmp_path / "out")
    assert result.path is not None
    kept = set(result.decisions.loc[result.decisions["decision"] != "drop", "id"])
    written = {
        p.relative_to(result.path / "curated").as_posix()
        for p in (result.path / "curated").rglob("*.png")
    }
    assert kept <= written
    page = (result.path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "<b>bold" not in page


def test_unreadable_and_lying_files_are_findings_and_the_rest_goes_on(
    images: Path, tmp_path: Path
) -> None:
    (images / "china" / "zero.png").write_bytes(b"")
    (images / "china" / "page.jpg").write_text("<html><body>not found</body></html>")
    (images / "china" / "lying.jpg").write_bytes((images / "china" / "01.png").read_bytes())
    (images / "china" / "bomb.png").write_bytes(png_that_claims(50_000, 50_000))
    (images / "china" / "truncated.jpg").write_bytes(jpeg()[:-400])
    result = curate(images, tmp_path / "out")
    for name in (
        "china/zero.png",
        "china/page.jpg",
        "china/bomb.png",
        "china/truncated.jpg",
        "china/truncated.png",
        "flower/text.png",
    ):
        assert "files.unreadable" in codes(result, name), name
    reasons = result.findings.set_index("id")["detail"].to_dict()
    assert "50,000" in reasons["china/bomb.png"]
    assert "files.unreadable" not in codes(result, "china/lying.jpg")
    assert "duplicates.exact" in codes(result, "china/lying.jpg") | codes(result, "china/01.png")


def test_every_mode_of_image_is_measured(tmp_path: Path) -> None:
    from PIL import Image

    tile = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    for mode in ("RGBA", "L", "LA", "P", "1"):
        tile.convert(mode).save(folder / f"{mode}.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 65535, (40, 50), dtype=np.uint16)).save(
        folder / "sixteen.png"
    )
    tile.convert("CMYK").save(folder / "cmyk.jpg")
    tile.save(folder / "animated.gif", save_all=True, append_images=[tile.rotate(90)])
    tile.save(folder / "tagged.tiff")
    result = curate(tmp_path / "in", tmp_path / "out")
    assert result.facts["media.ok"].tolist() == [True] * 9
    assert result.facts["image_quality.width"].tolist() == [50] * 9


@pytest.mark.parametrize(
    "kind", ["one sample", "one class", "a class of one", "no labels", "all the same"]
)
def test_degenerate_datasets_run_to_the_end(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    counts = {
        "one sample": {"a": 1},
        "one class": {"a": 12},
        "a class of one": {"a": 12, "b": 1},
        "no labels": {"": 12},
        "all the same": {"a": 6, "b": 6},
    }[kind]
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            faulty.picture(
                folder / label / f"{number}.png",
                seed=0
                if kind == "all the same"
                else number + 50 * len(label) + ord(label[:1] or " "),
            )
    result = curate(folder, tmp_path / "out")
    assert len(result.decisions) == sum(counts.values())
    assert (result.decisions["decision"] != "drop").any()


def test_a_missing_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        curate(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty|no files|holds no"):
        curate(tmp_path / "empty", tmp_path / "out")


def test_links_that_loop_end(images: Path, tmp_path: Path) -> None:
    (images / "china" / "loop").symlink_to(images)
    (images / "china" / "self.png").symlink_to("self.png")
    result = curate(images, tmp_path / "out")
    assert result.samples["id"].is_unique
    assert len(result.samples) <= 2 * 64 + 1


def test_a_dataframe_in_memory(images: Path, tmp_path: Path) -> None:
    paths = sorted(str(p) for p in images.rglob("0*.png"))
    frame = pd.DataFrame({"image": paths, "label": [Path(p).parent.name for p in paths]})
    before = frame.copy()
    result = curate(frame, tmp_path / "out")
    assert len(result.samples) == 20
    pd.testing.assert_frame_equal(frame, before)


def test_a_table_without_images(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "x": np.arange(40) % 37,
            "y": np.arange(40) % 37 * 0.5,
            "label": ["a", "b"] * 20,
            "note": ["<script>", "=1+1"] * 20,
        }
    )
    rows.to_csv(tmp_path / "t.csv", index=False)
    result = curate(tmp_path / "t.csv", tmp_path / "out")
    assert len(result.samples) == 40
    assert result.path is not None
    assert (result.path / "curated").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_output_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="cannot"):
        curate(images, tmp_path / "locked" / "out")


def test_a_full_disk_is_an_error_with_exit_code_2_and_leaves_nothing_half_written(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(
        f"dataset: {{path: {images}}}\nstages: [files, image_quality]\noutputs: {{path: out}}\n"
    )
    # A limit on the size of a file stands in for a full disk: writing fails with an OSError in the
    # middle.
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        "sys.argv = ['dqpipe', 'run', 'p.yaml', '--executor', 'serial']; from dqpipe.cli.main "
        "import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "cannot write" in done.stderr
    assert not (tmp_path / "out" / "version").exists()
    assert [p.name for p in (tmp_path / "out" / "versions").iterdir()] == []


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    for number in range(400):
        faulty.picture(folder / f"{number:03d}.png", seed=number, size=(200, 200))
    (tmp_path / "p.yaml").write_text(
        "dataset: {path: in}\nstages: [files, image_quality]\noutputs: {path: out}\n"
    )
    command = [
        sys.executable,
        "-m",
        "dqpipe",
        "run",
        "p.yaml",
        "--executor",
        "processes:2",
        "--shard-size",
        "8",
    ]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    facts = tmp_path / "out" / "store" / "facts"
    while running.poll() is None and not list(facts.glob("*/*.arrow")):
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "version").exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr


LABELS = {
    "whole numbers": [0, 1] * 10,
    "numbers": [0.5, 1.5] * 10,
    "truth values": [True, False] * 10,
    "none at all": [None] * 20,
    "lists": [["a", "b"], ["c"]] * 10,
    "dates": [dt.date(2020, 1, day) for day in (1, 2)] * 10,
    "bytes": [b"a", b"b"] * 10,
    "categories": pd.Categorical(["a", "b"] * 10),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_type_run_through_the_proposed_pipeline(
    kind: str, images: Path, tmp_path: Path
) -> None:
    paths = sorted(str(p) for p in images.rglob("0*.png"))
    result = curate(pd.DataFrame({"image": paths, "label": LABELS[kind]}), tmp_path / "out")
    assert len(result.decisions) == 20
    assert result.curated["parent"].isna().sum() == (result.decisions["decision"] != "drop").sum()


def test_labels_of_mixed_types_are_refused(images: Path, tmp_path: Path) -> None:
    paths = sorted(str(p) for p in images.rglob("0*.png"))
    with pytest.raises(DatasetError, match="column 'label'"):
        curate(pd.DataFrame({"image": paths, "label": [1, "a", None, 2.5] * 5}), tmp_path / "out")


def test_columns_named_like_our_own_are_the_users(images: Path, tmp_path: Path) -> None:
    names = (
        "parent",
        "made_by",
        "content",
        "media",
        "decision",
        "code",
        "because",
        "files.unreadable",
        "media.ok",
        "",
    )
    frame = pd.DataFrame(
        {"image": sorted(str(p) for p in images.rglob("0*.png")), "label": ["a", "b"] * 10}
        | {name: range(20) for name in names}
    )
    result = curate(frame, tmp_path / "out")
    assert result.facts["media.ok"].tolist() == [True] * 20
    assert result.path is not None
    written = pd.read_parquet(result.path / "curated" / "manifest.parquet")
    assert len(written) >= (result.decisions["decision"] != "drop").sum()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_devices_pipes_and_folders_named_as_images_are_findings(
    images: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    odd = [
        "/dev/zero",
        "/dev/null",
        str(tmp_path / "pipe.png"),
        str(tmp_path),
        "../nowhere.png",
        "http://example.org/y.png",
    ]
    frame = pd.DataFrame({"image": [str(images / "china" / "00.png"), *odd], "label": "a"})
    result = dqpipe.curate(frame, tmp_path / "out", executor="serial", roles={"media": "image"})
    readable = result.facts.set_index("id")["media.ok"]
    assert (len(readable), readable.sum()) == (1 + len(odd), 1)
    assert (result.findings["code"] == "files.unreadable").sum() == len(odd)


def test_a_name_in_two_unicode_forms_is_two_samples(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    for number, form in enumerate(("NFC", "NFD")):
        faulty.picture(folder / unicodedata.normalize(form, "Müller.png"), seed=number)
    if len(list(folder.iterdir())) == 1:
        pytest.skip("this file system knows one form only")
    result = curate(tmp_path / "in", tmp_path / "out")
    assert len(result.samples) == 2
    assert result.path is not None
    assert len(list((result.path / "curated").rglob("*.png"))) == 2


def test_an_output_inside_the_dataset_is_refused_however_the_dataset_is_given(images: Path) -> None:
    with pytest.raises(OutputError, match="lie in each other"):
        dqpipe.curate(images, images / "out", executor="serial")
    assert not (images / "out").exists()


def test_arguments_of_the_functions_are_checked(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'copy', 'hardlink' or 'manifest'"):
        dqpipe.curate(images, tmp_path / "out", files="link")
    with pytest.raises(ConfigError, match="whole number"):
        dqpipe.curate(images, tmp_path / "out", seed=-1)
    assert not dqpipe.check(images, gates="files.unreadable > 1", executor="serial").passed


def png_that_claims(width: int, height: int) -> bytes:
    """A small PNG whose header claims a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def jpeg() -> bytes:
    """A JPEG of smooth noise."""
    import cv2

    noise = np.random.default_rng(5).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", noise)[1].tobytes())
