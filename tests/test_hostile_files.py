"""The whole run over the corpus of hostile files.

Nothing crashes, nothing waits, every file is told of as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dqpipe_images.decoder import ImageDecoder

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.decoding import read_bytes
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.storage.paths import path_text
from tests.hostile_files import files, make
from tests.made_by_hand import GREY, chunk, png_claiming
from tests.sound_files import Truth, encoded, picture

MOST_MIB = 1200
"""Of the largest process: torch and the other libraries take 500, and a picture that claims 64
million pixels is given 250.
"""
STAGES = "files, image_quality, duplicates, embeddings, outliers, label_noise, diversity, augment"


@dataclass(frozen=True)
class Ran:
    """The corpus, and what a run of the command line over it left."""

    folder: Path
    truths: dict[str, Truth]
    out: Path
    code: int
    said: str
    complained: str
    mib: float

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.version / name)

    @property
    def version(self) -> Path:
        return (self.out / "report.html").resolve().parent

    @property
    def samples(self) -> dict[str, Truth]:
        return {
            name: truth
            for name, truth in self.truths.items()
            if not truth.left_out and not truth.hidden
        }


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The corpus, and the default pipeline over it in two processes."""
    place = tmp_path_factory.mktemp("hostile")
    truths = {path_text(name): truth for name, truth in make(place / "corpus").items()}
    (place / "pipeline.yaml").write_text(
        f"dataset: {{path: {place / 'corpus'}}}\noutputs: {{path: {place / 'out'}}}\nstages: "
        f"[{STAGES}]\n"
    )
    command = [
        sys.executable,
        "-m",
        "dqpipe",
        "run",
        str(place / "pipeline.yaml"),
        "--executor",
        "processes:2",
        "--shard-size",
        "128",
    ]
    with (place / "said").open("wb") as said, (place / "complained").open("wb") as complained:
        code = subprocess.run(
            weighed(command, place / "peak"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complained,
            cwd=place,
            check=False,
        ).returncode
    told = [(place / name).read_text(encoding="utf-8") for name in ("said", "complained")]
    return Ran(place / "corpus", truths, place / "out", code, *told, mib(place / "peak"))


def weighed(command: list[str], peak: Path) -> list[str]:
    """A command that runs another one and leaves the memory of its largest process in a file.

    It is a small process of its own: what a large one starts counts the large one's memory as its
    own, on Linux.
    """
    code = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[2:]).returncode\n"
        "open(sys.argv[1], "
        "'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
        "sys.exit(code)"
    )
    return [sys.executable, "-c", code, str(peak), *command]


def mib(peak: Path) -> float:
    """What `weighed` left, in MiB."""
    return int(peak.read_text()) / (2**20 if sys.platform == "darwin" else 2**10)


def test_the_corpus_is_large_and_the_same_each_time(ran: Ran) -> None:
    again = [(path_text(name), hashlib.sha256(data).digest()) for name, data, _ in files()]
    assert len(ran.samples) > 800
    assert len(dict(again)) == len(again)
    there = [(name, digest) for name, digest in again if name in ran.truths]
    assert [digest for _, digest in there] == [
        hashlib.sha256((ran.folder / os.fsdecode(_bytes(name))).read_bytes()).digest()
        for name, _ in there
    ]
    assert all(truth.why for truth in ran.samples.values() if truth.readable is None)
    assert sum(truth.readable is None for truth in ran.samples.values()) < 0.05 * len(ran.samples)


def _bytes(name: str) -> bytes:
    from dqpipe.storage.paths import media_path

    return os.fsencode(media_path("", name))


def test_nothing_crashes_complains_or_takes_the_machine(ran: Ran) -> None:
    assert (ran.code, ran.complained) == (0, "")
    assert ran.mib < MOST_MIB


def test_every_file_is_told_of_once_and_as_it_is(ran: Ran) -> None:
    decided = (
        ran.table("ledger.parquet")
        .query("id.notna() and made_by.isna()")
        .drop_duplicates(["id", "decision"])
    )
    assert sorted(decided["id"]) == sorted(ran.samples)
    facts = ran.table("facts.parquet").set_index("id")
    readable = facts["media.ok"]
    wrong = {
        name: facts["media.error"][name]
        for name, truth in ran.samples.items()
        if truth.readable not in {None, readable[name]}
    }
    assert wrong == {}


def test_what_cannot_be_read_is_claimed_with_a_reason(ran: Ran) -> None:
    facts, ledger = ran.table("facts.parquet").set_index("id"), ran.table("ledger.parquet")
    claimed = ledger[ledger["code"].isin(["files.unreadable", "files.outside"])].set_index("id")[
        "detail"
    ]
    assert sorted(claimed.index) == sorted(facts.index[~facts["media.ok"]])
    assert claimed.str.len().min() > 12
    assert not claimed.str.contains("Error|Traceback|errno|NoneType|b'").any()


def test_what_can_be_read_is_measured(ran: Ran) -> None:
    facts = ran.table("facts.parquet").set_index("id")
    seen = facts[facts["media.ok"]]
    measured = [name for name in facts if name.startswith(("image_quality.", "duplicates."))]
    empty = {
        name: seen.index[seen[name].isna()].tolist() for name in measured if seen[name].isna().any()
    }
    assert len(measured) > 20
    assert set(empty) <= {
        "image_quality.sharpness",
        "image_quality.quality",
        "duplicates.match",
        "duplicates.kind",
        "duplicates.score",
        "duplicates.transform",
        "duplicates.cluster",
        "duplicates.sequence",
    }
    sizes = {
        name: (seen["image_quality.width"][name], seen["image_quality.height"][name])
        for name in seen.index
    }
    assert {
        name: (*sizes[name],)
        for name, truth in ran.samples.items()
        if truth.size and truth.readable and truth.size != sizes[name]
    } == {}
    modes = seen["image_quality.mode"]
    assert {
        name: modes[name]
        for name, truth in ran.samples.items()
        if truth.mode and truth.mode != modes[name]
    } == {}


def test_what_is_no_plain_file_is_named_and_never_opened(ran: Ran) -> None:
    left_out = {name for name, truth in ran.truths.items() if truth.left_out}
    skipped = json.loads((ran.version / "run.json").read_text())["skipped"]
    assert set(skipped) == left_out


def test_the_report_and_the_terminal_are_safe_from_names(ran: Ran) -> None:
    page = (ran.version / "report.html").read_text(encoding="utf-8")
    assert re.search(r"<script>alert|<img src=x|\x1b|\u202e", page) is None
    assert re.search(r"[\x00-\x09\x0b-\x1f\u202e]", ran.said) is None
    command = [
        sys.executable,
        "-m",
        "dqpipe",
        "why",
        "names/escape\x1b[31mred.png",
        "--out",
        str(ran.out),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.startswith(r"names/escape\x1b[31mred.png (label names) is ")


def test_the_curated_set_holds_what_was_kept(ran: Ran) -> None:
    ledger = (
        ran.table("ledger.parquet")
        .query("id.notna() and made_by.isna()")
        .drop_duplicates("id")
        .set_index("id")
    )
    manifest = pd.read_parquet(ran.out / "curated" / "manifest.parquet")
    kept = set(ledger.index[ledger["decision"] != "drop"])
    assert set(manifest["id"][manifest["parent"].isna()]) == kept
    assert (
        pd.Series(list(kept)).map({name: truth.readable for name, truth in ran.truths.items()})  # noqa: E712
        != False
    ).all()


def test_one_process_sees_the_same(ran: Ran, registry: Registry, tmp_path: Path) -> None:
    text = (
        f"dataset: {{path: {ran.folder}}}\noutputs: {{path: {tmp_path / 'out'}}}\nstages: [files, "
        f"image_quality]\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    alone = Run(made.config, made.registry, Serial(), writes=False).run().facts.frame()
    both = ran.table("facts.parquet")
    shared = [name for name in alone if name in both]
    assert len(shared) > 20
    pd.testing.assert_frame_equal(both[shared], alone[shared], check_dtype=False)


def test_colours_and_orientations_are_right(ran: Ran) -> None:
    decoder, wrong = ImageDecoder(), {}
    for name, truth in ran.samples.items():
        if truth.colours and truth.readable:
            pixels = decoder.decode(
                read_bytes(str(ran.folder / os.fsdecode(_bytes(name)))), "full"
            ).pixels.astype(int)
            rows, columns = (
                np.array([side // 8, side - 1 - side // 8]) for side in pixels.shape[:2]
            )
            found = pixels[rows.repeat(2), np.tile(columns, 2)]
            if np.abs(found - truth.colours).max() > truth.within:
                wrong[name] = found.tolist()
    assert wrong == {}


def test_a_folder_of_nothing_but_broken_files_is_no_reason_to_crash(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(5):
        (tmp_path / "data" / f"{number}.jpg").write_bytes(bytes(number))
    text = (
        f"dataset: {{path: {tmp_path}/data}}\noutputs: {{path: {tmp_path}/out}}\nstages: [files, "
        f"image_quality, duplicates]\ngates: []\n"
    )
    result = Pipeline.from_text(text).run("serial")
    assert (len(result.curated), result.decisions["decision"].unique().tolist()) == (0, ["drop"])


def test_pictures_that_are_large_together_are_held_a_few_at_a_time(tmp_path: Path) -> None:
    for number in range(14):
        text = chunk(b"tEXt", b"number\0" + bytes([48 + number]))
        (tmp_path / f"{number}.png").write_bytes(
            png_claiming(5000, 5000, text, depth=1, kind=GREY, pixels=bytes(5000 * 626))
        )
    code = (
        "import sys; from dqpipe.api import Pipeline\n"
        "text = f'dataset: {{path: {sys.argv[1]}}}\\noutputs: {{path: "
        "{sys.argv[1]}/.out}}\\nstages: [files]\\n'\n"
        "result = Pipeline.from_text(text).check('serial')\n"
        "assert result.facts['media.ok'].all() and len(result.facts) == 14"
    )
    subprocess.run(
        weighed([sys.executable, "-c", code, str(tmp_path)], tmp_path / "peak"),
        capture_output=True,
        check=True,
    )
    assert mib(tmp_path / "peak") < 800  # all of them at once are 1,001


def test_a_manifest_that_names_what_is_no_file_is_curated_all_the_same(tmp_path: Path) -> None:
    rows = [
        ("sound.png", "train"),
        ("other.png", "train"),
        ("absent.png", "test"),
        ("/dev/zero", "test"),
        (".", "test"),
        ("broken.png", "test"),
        ("pipe.png", "test"),
    ]
    for number, name in enumerate(("sound.png", "other.png")):
        (tmp_path / name).write_bytes(encoded(picture(number), "PNG"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    os.mkfifo(tmp_path / "pipe.png")
    pd.DataFrame(rows, columns=["image", "split"]).assign(label="a").to_csv(
        tmp_path / "m.csv", index=False
    )
    for mode in ("copy", "hardlink", "manifest"):
        place = f"dataset: {{path: {tmp_path}/m.csv, reader: manifest, roles: {{media: image}}}}\n"
        result = Pipeline.from_text(
            f"{place}outputs: {{path: {tmp_path}/{mode}, files: {mode}}}\nstages: [files]\n"
        ).run("serial")
        assert sorted(result.findings["id"].dropna()) == [
            ".",
            "/dev/zero",
            "absent.png",
            "broken.png",
            "pipe.png",
        ]
        kept = pd.read_csv(tmp_path / mode / "curated" / "m.csv")["image"].tolist()
        there = [
            name if mode != "manifest" else f"{tmp_path}/{name}"
            for name in ("sound.png", "other.png", "broken.png", "absent.png")
        ]
        assert sorted(kept) == sorted(
            [*there, "/dev/zero", f"{tmp_path}/.", f"{tmp_path}/pipe.png"]
        )
