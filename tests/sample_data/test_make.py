"""What the sample data promises: the same from the same seed, small, honest, one fault a sample."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, ImageOps

from sample_data import make

FOLDER = Path(make.__file__).parent
UNREADABLE = ("truncated", "zero_bytes", "text")


@pytest.fixture(scope="module")
def truth() -> list[dict[str, str]]:
    with (FOLDER / "truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    files = [folder / "truth.csv", *(folder / "images").rglob("*.*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def of_kind(truth: list[dict[str, str]], *kinds: str) -> list[dict[str, str]]:
    return [row for row in truth if row["kind"] in kinds]


def pixels(path: str) -> np.ndarray:
    with Image.open(FOLDER / "images" / path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=float)


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        assert make.main(["--seed", str(seed), "--out", str(tmp_path / name)]) == 0
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one["truth.csv"] != other["truth.csv"]
    assert set(one.values()) != set(other.values())


@pytest.mark.skipif(
    PIL.__version__ != "13.0.0", reason="another Pillow may encode the same pixels in other bytes"
)
def test_the_committed_folder_is_what_the_script_makes(tmp_path: Path) -> None:
    make.write(make.SEED, tmp_path)
    assert contents(FOLDER) == contents(tmp_path)


def test_a_folder_made_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(FileExistsError, match="choose another --out"):
        make.write(1, tmp_path)
    assert (tmp_path / "images").exists()


def test_the_folder_is_small_and_listed_completely(truth: list[dict[str, str]]) -> None:
    files = {path: data for path, data in contents(FOLDER).items() if path != "truth.csv"}
    assert sum(map(len, files.values())) < 5_000_000
    assert sorted(f"images/{row['path']}" for row in truth if row["path"]) == sorted(files)


def test_names_tell_nothing(truth: list[dict[str, str]]) -> None:
    for row in truth:
        if row["path"]:
            assert re.fullmatch(rf"{row['label']}/\d{{4}}\.(png|jpg)", row["path"])
    copies = [row for row in truth if row["source"]]
    later = sum(row["path"].split("/")[1] > row["source"].split("/")[1] for row in copies)
    assert 0.3 < later / len(copies) < 0.7


def test_as_many_faults_as_the_tables_say(truth: list[dict[str, str]]) -> None:
    expected = {kind: sum(counts) for kind, counts in make.COPIES.items()} | make.SPOILED_TILES
    expected |= {
        "wrong_label": make.WRONG_LABELS,
        "stranger": sum(make.STRANGERS),
        "truncated": sum(make.TRUNCATIONS),
        "empty": make.EMPTY,
        "zero_bytes": make.ZERO_BYTES,
        "text": make.TEXT,
        "rare_class": 1,
    }
    counts = Counter(row["kind"] for row in truth)
    del counts["sound"]
    assert expected == counts


def test_the_readme_names_every_kind_with_its_count(truth: list[dict[str, str]]) -> None:
    lines = re.findall(
        r"^\| `(\w+)` \| (\d+) \|", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name: int(count) for name, count in lines} == Counter(row["kind"] for row in truth)


def test_no_sample_has_two_faults(truth: list[dict[str, str]]) -> None:
    kinds = {row["path"]: row["kind"] for row in truth}
    sources = [row["source"] for row in truth if row["source"]]
    assert len(kinds) == len(truth)
    assert {kinds[source] for source in sources} == {"sound"}
    assert len(set(sources)) == len(sources)
    cut = [
        row["origin"]
        for row in truth
        if row["origin"].startswith(("digits", "china", "flower")) and not row["source"]
    ]
    assert len(set(cut)) == len(cut)


def test_tiles_do_not_overlap_and_none_is_dull(truth: list[dict[str, str]]) -> None:
    origins = {row["origin"] for row in truth if ".jpg" in row["origin"]}
    boxes = [(name, int(x), int(y)) for name, x, y in (origin.split() for origin in origins)]
    for (name, x, y), (other, u, v) in combinations(boxes, 2):
        assert name != other or abs(x - u) >= make.SIDE or abs(y - v) >= make.SIDE
    tiles = make.tiles(np.random.default_rng(0))
    assert origins <= {tile.origin for tile in tiles}
    assert min(tile.image.convert("L").entropy() for tile in tiles) >= make.MIN_ENTROPY


def test_the_rare_class_holds_nothing_but_sound_samples(truth: list[dict[str, str]]) -> None:
    rare = [row for row in truth if make.RARE in (row["label"], row["true_label"]) and row["path"]]
    assert Counter(row["kind"] for row in rare) == {"sound": make.PER_RARE}


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("reencoded", *make.REENCODED_QUALITY),
        ("resized", *make.RESIZED),
        ("cropped", *make.CROPPED),
        ("brightened", *make.BRIGHTENED),
        ("blurred", *make.BLURRED),
        ("dark", *make.DARK),
        ("washed_out", *make.WASHED_OUT),
        ("empty", *make.EMPTY_NOISE),
        ("truncated", *make.TRUNCATED),
    ],
)
def test_strengths_stay_in_their_ranges(
    truth: list[dict[str, str]], kind: str, low: float, high: float
) -> None:
    strengths = [
        abs(float(part)) for row in of_kind(truth, kind) for part in row["strength"].split()
    ]
    assert strengths
    assert low <= min(strengths)
    assert max(strengths) <= high
    assert max(strengths) - min(strengths) > (high - low) / 3


def test_wrong_labels_are_wrong_and_lie_among_the_common_digits(
    truth: list[dict[str, str]],
) -> None:
    for row in of_kind(truth, "wrong_label"):
        assert row["label"] != row["true_label"]
        assert row["label"].startswith("digit_")
        assert row["true_label"].startswith("digit_")


def test_exact_copies_are_equal_in_bytes_and_resaved_ones_in_pixels(
    truth: list[dict[str, str]],
) -> None:
    data = contents(FOLDER)
    for row in of_kind(truth, "exact_copy", "resaved"):
        equal = data[f"images/{row['path']}"] == data[f"images/{row['source']}"]
        assert equal == (row["kind"] == "exact_copy")
        assert np.array_equal(pixels(row["path"]), pixels(row["source"]))


def test_exif_turned_copies_show_what_their_source_shows(truth: list[dict[str, str]]) -> None:
    for row in of_kind(truth, "exif_turned"):
        with Image.open(FOLDER / "images" / row["path"]) as stored:
            assert stored.getexif()[0x0112] == int(row["strength"])
            difference = np.abs(
                np.asarray(stored.convert("RGB"), dtype=float) - pixels(row["source"])
            ).mean()
        assert np.abs(pixels(row["path"]) - pixels(row["source"])).mean() < difference / 3


def test_only_broken_files_fail_to_decode(truth: list[dict[str, str]]) -> None:
    for row in truth:
        if row["path"]:
            data = (FOLDER / "images" / row["path"]).read_bytes()
            assert decodes(data) == (row["kind"] not in UNREADABLE), row


def decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError):
        return False
    return True


def test_every_claim_of_the_truth_is_written_as_the_ledger_writes_it(
    truth: list[dict[str, str]],
) -> None:
    for row in truth:
        assert row["expected"] == make.EXPECTED[row["kind"]]
        assert bool(row["expected"]) == (row["kind"] != "sound")


def test_too_few_originals_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 originals wanted, 0 left"):
        make.take([], 3)
