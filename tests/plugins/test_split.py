"""Splits that nothing leaks between: on random data, as data grow, and as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dqpipe_splits import links, strata, timeline
from dqpipe_splits.assignment import Wanted, fold_columns, folds, made
from dqpipe_splits.split import Split
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from dqpipe.api import Pipeline, Result
from dqpipe.data.tables import Samples
from dqpipe.errors import ConfigError, PlanError

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
KINDS = {"train": "training", "validation": "validation", "test": "test"}
WANTED = Wanted.of(SHARES, KINDS)
CSV = {
    "patient": [n // 3 for n in range(90)],
    "x": [(n * 37) % 101 for n in range(90)],
    "label": ["a", "b", "c"] * 30,
}


def of_classes(labels: Sequence[str | None]) -> strata.Strata:
    return strata.of_label(
        Samples(
            pa.table(
                {
                    "id": [f"{n:06}" for n in range(len(labels))],
                    "label": pa.array(labels, pa.string()),
                }
            )
        ),
        10,
    )


def split_of(
    rows: Mapping[str, int],
    *links_: Sequence[int],
    seed: int = 0,
    labels: Mapping[str, str] | None = None,
    **options,
) -> dict[str, int]:
    """The split of each id, from ids with the split that each has already, and links by row in the
    order of the ids.
    """
    ids = np.array(list(rows), dtype=object)
    every = [
        links.by_values(str(n), pa.array([None if v < 0 else v for v in one], pa.int64()))
        for n, one in enumerate(links_)
    ]
    by = of_classes([(labels or {}).get(one, "x") for one in ids])
    done = made(
        ids, every, by, np.array(list(rows.values()), dtype=np.int64), WANTED, seed=seed, **options
    )
    return dict(zip(ids.tolist(), done.split.tolist(), strict=True))


def crossing(split: Sequence[int], *links_: Sequence[int]) -> bool:
    """Whether any two samples with an equal link stand in two splits."""
    for link in links_:
        seen: dict[int, int] = {}
        for one, where in zip(link, split, strict=True):
            if one >= 0 and seen.setdefault(one, where) != where:
                return True
    return False


several = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-1, 25), min_size=n, max_size=n) for _ in range(3)])
)


@settings(max_examples=40, deadline=None)
@given(several, st.integers(0, 2**32 - 1))
def test_no_link_crosses_whatever_the_links(lists: tuple[list[int], ...], seed: int) -> None:
    first, second, classes = lists
    rows = {f"{n:04}": -1 for n in range(len(first))}
    found = split_of(
        rows,
        first,
        second,
        seed=seed,
        labels={one: str(c) for one, c in zip(rows, classes, strict=True)},
    )
    assert set(found.values()) <= {0, 1, 2}
    assert not crossing(list(found.values()), first, second)


@settings(max_examples=40, deadline=None)
@given(several, st.integers(0, 2**32 - 1))
def test_what_groups_are_called_does_not_matter(lists: tuple[list[int], ...], seed: int) -> None:
    first, second, classes = lists
    ids = [f"{n:04}" for n in range(len(first))]
    samples = Samples(
        pa.table({"id": ids, "a": first, "b": second, "label": [str(c) for c in classes]})
    )
    names = {value: f"name {-value * 7919 % 31}" for value in set(first)}
    renamed = Samples(samples.table.set_column(1, "a", pa.array([names[value] for value in first])))
    stage = Split(copies=None, groups=("a", "b"), seed=seed, remember=False)
    one, other = (stage.relate(of, _nothing(of), None) for of in (samples, renamed))  # type: ignore[arg-type]
    assert list(one["assigned"]) == list(other["assigned"])


def test_the_order_of_a_file_does_not_matter(tmp_path: Path) -> None:
    frame = pd.DataFrame(CSV).assign(key=[f"k{n:03}" for n in range(90)])
    one, other = (
        run(tmp_path / name, of, "groups: [patient]")
        for name, of in (("a", frame), ("b", frame.sample(frac=1, random_state=3)))
    )
    assert column(one) == column(other)
    assert column(run(tmp_path / "c", frame, "groups: [patient]", seed=5)) != column(one)


@settings(max_examples=40, deadline=None)
@given(several, st.integers(0, 1000))
def test_as_data_grow_nothing_moves_and_copies_join_their_group(
    lists: tuple[list[int], ...], before: int
) -> None:
    first, _, classes = lists
    ids = [f"{(n * 7919) % 1000:04}-{n}" for n in range(len(first))]
    labels = {one: str(c) for one, c in zip(ids, classes, strict=True)}
    old = {one: -1 for number, one in enumerate(ids) if (number * 31 + before) % 3}
    rows = [number for number, one in enumerate(ids) if one in old]
    was = split_of(old, [first[row] for row in rows], labels=labels) if old else {}
    now = split_of({one: was.get(one, -1) for one in ids}, first, labels=labels)
    assert {one: now[one] for one in was} == was
    assert not crossing(list(now.values()), first)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("aaaabbbc"), min_size=100, max_size=400), st.integers(0, 9))
def test_sizes_and_classes_of_single_samples_come_out_to_the_sample(
    classes: list[str], seed: int
) -> None:
    found = np.array(
        list(
            split_of(
                {f"{n:04}": -1 for n in range(len(classes))},
                seed=seed,
                labels={f"{n:04}": c for n, c in enumerate(classes)},
            ).values()
        )
    )
    for split, share in enumerate(SHARES.values()):
        assert abs((found == split).sum() - share * len(classes)) <= max(2, 0.01 * len(classes))
        for name in set(classes):
            assert (
                abs(
                    ((found == split) & (np.array(classes) == name)).sum()
                    - share * classes.count(name)
                )
                <= 2
            )


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_balanced_no_worse_than_by_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.unique(rng.integers(0, 60, 1200), return_inverse=True)[1]
    wishes = rng.dirichlet(np.full(4, 0.5), groups.max() + 1)
    classes = (wishes[groups].cumsum(1) > rng.random(1200)[:, None]).argmax(1)
    names = np.array([f"{n:04}" for n in range(1200)], dtype=object)
    component = links.components(1200, [links.Link("g", groups)])
    ours = (
        np.array(
            folds(
                names,
                component,
                of_classes(classes.astype(str).tolist()),
                np.ones(1200, bool),
                (5, 1, 0),
                {},
                seed,
            )["fold"]
        )
        - 1
    )
    theirs = np.zeros(1200, int)
    for number, (_, rows) in enumerate(
        StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(classes, classes, groups)
    ):
        theirs[rows] = number
    assert not crossing(ours.tolist(), groups.tolist())

    def off(fold: np.ndarray) -> tuple[float, float]:
        table = np.array([np.bincount(classes[fold == one], minlength=4) for one in range(5)])
        return abs(table.sum(axis=1) / 1200 - 0.2).max(), abs(
            table / table.sum(axis=0) - 0.2
        ).mean()

    assert off(ours)[0] <= 0.01
    assert off(ours)[0] <= off(theirs)[0]
    assert off(ours)[1] <= off(theirs)[1]


def test_tags_are_stratified_each() -> None:
    rng = np.random.default_rng(0)
    tags = [
        [name for name, p in (("a", 0.5), ("b", 0.2), ("c", 0.05)) if rng.random() < p]
        for _ in range(1000)
    ]
    by = strata.of_label(
        Samples(
            pa.table(
                {
                    "id": [f"{n:04}" for n in range(1000)],
                    "label": pa.array(tags, pa.list_(pa.string())),
                }
            )
        ),
        10,
    )
    ids = np.array([f"{n:04}" for n in range(1000)], dtype=object)
    found = made(ids, [], by, np.full(1000, -1), WANTED, seed=0).split
    for tag in "abc":
        has = np.array([tag in one for one in tags])
        assert abs((has & (found == 2)).sum() - 0.1 * has.sum()) <= 2


def test_classes_of_objects_are_stratified_each() -> None:
    boxes = [
        [{"class": "car"}] * (n % 3) + ([{"class": "bus"}] if n % 5 == 0 else [])
        for n in range(300)
    ]
    label = pa.array(boxes, pa.list_(pa.struct([("class", pa.string())])))
    by = strata.of_label(
        Samples(pa.table({"id": [f"{n:04}" for n in range(300)], "label": label})), 10
    )
    assert by.names == ("bus", "car", "without")
    found = made(
        np.array([f"{n:04}" for n in range(300)], dtype=object),
        [],
        by,
        np.full(300, -1),
        WANTED,
        seed=0,
    ).split
    for name in ("bus", "car"):
        has = np.array([any(one["class"] == name for one in row) for row in boxes])
        assert abs((has & (found == 2)).sum() - 0.1 * has.sum()) <= 2


def test_numbers_are_stratified_by_quantile_and_empty_ones_apart() -> None:
    values = pa.chunked_array([pa.array([float(n) for n in range(95)] + [None] * 5)])
    by = strata.of_column("age", values, 5)
    counts = np.bincount(by.codes).tolist()
    assert counts[-1] == 5
    assert max(counts[:-1]) - min(counts[:-1]) <= 2
    assert by.names[-1] == "no age"
    found = made(
        np.array([f"{n:03}" for n in range(100)], dtype=object),
        [],
        by,
        np.full(100, -1),
        Wanted.of({"train": 0.5, "test": 0.5}, KINDS),
        seed=1,
    ).split
    assert abs((found[:50] == 0).sum() - 25) <= 2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(-1, 6), st.integers(-1, 2)),
        min_size=1,
        max_size=50,
    ),
    st.integers(0, 5),
)
def test_training_is_before_test_with_the_gap_and_groups_whole(
    rows: list[tuple[int, int, int]], gap: int
) -> None:
    times, groups = np.array([float(t) for t, _, _ in rows]), [g for _, g, _ in rows]
    component = links.components(
        len(rows),
        [links.by_values("g", pa.array([None if g < 0 else g for g in groups], pa.int64()))],
    )
    fresh = np.full(component.max() + 1, -1)
    found = timeline.in_order(times, component, WANTED.shares, fresh, gap)[component]
    assert not crossing(found.tolist(), groups)
    for early, late in ((0, 1), (0, 2), (1, 2)):
        if (found == early).any() and (found == late).any():
            assert times[found == early].max() + gap < times[found == late].min()
    again = timeline.in_order(
        np.append(times, 99.0),
        np.append(component, component.max() + 1),
        WANTED.shares,
        np.append(found[_firsts(component)], -1),
        gap,
    )
    assert again[component][found >= 0].tolist() == found[found >= 0].tolist()


def _firsts(component: np.ndarray) -> np.ndarray:
    return np.unique(component, return_index=True)[1]


def test_time_splits_of_dates_hold_the_gap_and_say_what_is_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": [f"k{n:03}" for n in range(200)],
            "day": pd.date_range("2026-01-01", periods=200).astype(str),
            "label": ["a", "b"] * 100,
        }
    )
    result = run(tmp_path / "out", frame, "time: day, gap: 5d")
    days = {
        name: [frame["day"][int(one[1:])] for one, where in column(result).items() if where == name]
        for name in (*SHARES, "unused")
    }
    assert (pd.Timestamp(min(days["validation"])) - pd.Timestamp(max(days["train"]))).days == 6
    assert (pd.Timestamp(min(days["test"])) - pd.Timestamp(max(days["validation"]))).days == 6
    assert len(days["unused"]) == 10
    assert claims(result, "unused")["detail"].tolist() == [
        "10 samples in no split: they lie in a gap, have no time, or belong to what spans a cut"
    ]
    more = pd.concat(
        [frame, pd.DataFrame({"key": ["later"], "day": ["2027-01-01"], "label": ["a"]})]
    )
    again = column(run(tmp_path / "out", more, "time: day, gap: 5d"))
    assert again["later"] == "test"
    assert {one: where for one, where in again.items() if one != "later"} == column(result)


def test_folds_repeat_and_nest_and_stay(tmp_path: Path) -> None:
    frame = pd.DataFrame(CSV).assign(key=[f"k{n:03}" for n in range(90)])
    options = "groups: [patient], folds: 3, repeats: 2, inner: 2"
    one = manifest(run(tmp_path / "out", frame, options))
    names = fold_columns(3, 2, 2)
    assert names == (
        "fold_1",
        "fold_2",
        *(f"fold_{r}_inner_{k}" for r in (1, 2) for k in (1, 2, 3)),
    )
    train = one[one["split"] == "train"]
    assert one[one["split"] != "train"][list(names)].isna().all().all()
    assert train.groupby("patient")[list(names)].nunique().max().max() == 1
    assert sorted(train["fold_1"].unique()) == [1, 2, 3]
    assert (train["fold_1"] != train["fold_2"]).any()
    for fold in (1, 2, 3):
        assert (train[f"fold_1_inner_{fold}"].isna() == (train["fold_1"] == fold)).all()
    new = pd.DataFrame(
        {
            "key": [f"z{n}" for n in range(9)],
            "patient": [n % 3 for n in range(9)],
            "x": range(9),
            "label": "a",
        }
    )
    two = manifest(run(tmp_path / "out", pd.concat([new, frame]), options))
    pd.testing.assert_frame_equal(two.loc[one.index, ["split", *names]], one[["split", *names]])
    assert two.groupby("patient")["split"].nunique().max() == 1


def test_a_renamed_sample_stays_and_remember_false_starts_anew(tmp_path: Path) -> None:
    frame = pd.DataFrame(CSV).assign(key=[f"k{n:03}" for n in range(90)], x=range(90))
    one = column(run(tmp_path / "out", frame, ""))
    two = column(
        run(tmp_path / "out", frame.assign(key=[f"new {key}" for key in frame["key"]]), "")
    )
    assert {f"new {key}": where for key, where in one.items()} == two
    assert column(run(tmp_path / "out", frame, "remember: false", seed=9)) != one


def test_a_new_sample_that_joins_two_splits_moves_nothing_and_is_told(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": [f"k{n:02}" for n in range(40)],
            "x": range(40),
            "site": [f"s{n}" for n in range(40)],
            "author": range(40),
            "label": "a",
        }
    )
    options = "groups: [site, author]"
    one = column(run(tmp_path / "out", frame, options))
    train, test = (
        next(key for key, where in one.items() if where == name) for name in ("train", "test")
    )
    bridge = pd.DataFrame(
        {
            "key": ["bridge"],
            "x": [99],
            "site": [f"s{int(train[1:])}"],
            "author": [int(test[1:])],
            "label": ["a"],
        }
    )
    result = run(tmp_path / "out", pd.concat([frame, bridge]), options)
    two = column(result)
    assert {key: where for key, where in two.items() if key != "bridge"} == one
    assert two["bridge"] == "test"
    leak = claims(result, "leak").set_index("id")
    assert leak.index.tolist() == [train]
    assert leak["match"][train] == "bridge"
    assert leak["detail"][train] == "shares site with bridge of the split test"
    assert figure(result, "crossing") > 0
    repaired = run(tmp_path / "out", pd.concat([frame, bridge]), f"{options}, existing: repair")
    assert {key for key, where in column(repaired).items() if where != two[key]} == {train}
    assert claims(repaired, "leak").empty
    assert claims(repaired, "moved")["detail"].tolist() == [
        "moved from train to test: shares site with bridge"
    ]


def test_gates_see_the_splits_that_were_made(tmp_path: Path) -> None:
    frame = pd.DataFrame(CSV).assign(key=[f"k{n:03}" for n in range(90)])
    gates = (
        "[split.size in split test < 0.05, split.imbalance in any split > 0.1, split.crossing > 0, "
        "split.leak > 0]"
    )
    text = (
        f"dataset: {{roles: {{id: key}}}}\nstages: [{{split: {{copies: null, groups: "
        f"[patient]}}}}]\ngates: {gates}\n"
    )
    result = Pipeline.from_text(text + f"outputs: {{path: {tmp_path / 'out'}}}").run(
        "serial", source=frame
    )
    assert [gate["state"] for gate in result.record["gates"]] == ["passed"] * 4


def leaky(rows: int = 60) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "key": [f"k{n:02}" for n in range(rows)],
            "x": range(rows),
            "label": ["a", "b"] * (rows // 2),
        }
    )
    frame["patient"] = [n // 4 for n in range(rows)]
    frame["split"] = ["test" if n % 20 >= 15 else "train" for n in range(rows)]
    return frame


def test_splits_that_a_dataset_has_are_audited_and_kept(tmp_path: Path) -> None:
    frame = leaky()
    result = run(tmp_path / "out", frame, "groups: [patient]")
    assert column(result) == dict(zip(frame["key"], frame["split"], strict=True))
    expected = {
        key
        for key, patient, split in zip(frame["key"], frame["patient"], frame["split"], strict=True)
        if split == "train" and (frame[frame["patient"] == patient]["split"] == "test").any()
    }
    found = claims(result, "leak")
    assert set(found["id"]) == expected
    assert set(found["severity"]) == {"error"}
    assert set(found["match"].map(dict(zip(frame["key"], frame["patient"], strict=True)))) == {
        3,
        8,
        13,
    }
    assert claims(result, "off_target").empty


def test_leaks_are_repaired_by_the_fewest_moves(tmp_path: Path) -> None:
    frame = leaky()
    result = run(tmp_path / "out", frame, "groups: [patient], existing: repair")
    now = pd.Series(column(result))
    split = frame.set_index("key")["split"]
    patient = frame.set_index("key")["patient"]
    assert now.groupby(patient).nunique().max() == 1
    least = sum(
        min((of == "train").sum(), (of == "test").sum()) for _, of in split.groupby(patient)
    )
    assert (now != split).sum() == least == len(claims(result, "moved"))
    assert figure(result, "moves") == least
    assert figure(result, "crossing", "curated") == 0
    assert (manifest(result)["split"] == now).all()


def test_what_the_stage_of_copies_tells_is_not_told_twice(tmp_path: Path) -> None:
    frame = leaky().drop(columns="patient").assign(label="a").replace({"x": {0: 15}})
    text = "stages: [duplicate_rows, {split: {copies: duplicate_rows.group}}]"
    result = Pipeline.from_text(
        f"dataset: {{roles: {{id: key}}}}\n{text}\ngates: []\noutputs: {{path: {tmp_path / 'out'}}}"
    ).run("serial", source=frame)
    assert (result.findings["code"] == "duplicate_rows.leak").sum() == 1
    assert claims(result, "leak").empty
    assert figure(result, "crossing") == pytest.approx(2 / 60)


def test_what_cannot_be_had_is_said_with_why(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": [f"k{n:03}" for n in range(100)],
            "x": range(100),
            "video": [min(n, 60) for n in range(100)],
            "label": ["a"] * 98 + ["b"] * 2,
        }
    )
    result = run(tmp_path / "out", frame, "groups: [video], splits: {train: 0.5, test: 0.5}")
    assert claims(result, "off_target").empty
    result = run(
        tmp_path / "out2",
        frame,
        "groups: [video], splits: {train: 0.2, validation: 0.4, test: 0.4}",
    )
    assert figure(result, "largest") == 0.4
    assert claims(result, "off_target").empty
    result = run(
        tmp_path / "out3",
        frame,
        "groups: [video], splits: {train: 0.3, validation: 0.35, test: 0.35}",
    )
    said = claims(result, "off_target")["detail"].tolist()
    assert any(
        "the largest of what belongs together has 0.4 of the samples" in text for text in said
    )
    absent = claims(result, "absent")
    assert absent["detail"].str.contains("b; 1 of them in fewer groups than there are splits").all()
    assert len(absent) == 2


def test_assigned_evaluation_samples_are_neither_dropped_nor_augmented(
    tmp_path: Path, images: Path
) -> None:
    for number in range(8, 30):
        (images / "flower" / f"{number:02}.png").unlink()
    text = f"""
dataset: {{path: {images}}}
stages: [files, duplicates, {{split: {{splits: {{train: 0.5, test: 0.5}}}}}}, augment]
gates: []
outputs: {{path: {tmp_path / "out"}}}
"""
    result = Pipeline.from_text(text).run("serial")
    decided, split = result.decisions.set_index("id")["decision"], column(result)
    assert {split[one] for one in decided.index[decided == "drop"]} <= {"train"}
    written = manifest(result)
    assert (written[written["parent"].notna()]["split"] == "train").all()
    assert written["parent"].notna().any()
    assert split["china/03.png"] == split["china/copy.png"]
    folder = Path(result.path) / "curated"
    assert {one.split("/")[0] for one in written["media"]} == {"train", "test"}
    assert all((folder / one).is_file() for one in written["media"])
    again = Pipeline.from_text(
        f"dataset: {{path: {folder}}}\nstages: [files]\ngates: []\noutputs: {{path: "
        f"{tmp_path / 'again'}}}"
    ).run("serial")
    assert (manifest(again)["split"].value_counts() == written["split"].value_counts()).all()


def test_folders_of_splits_follow_a_repair(tmp_path: Path, images: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "test").mkdir()
    for name in ("china", "flower"):
        (images / name).rename(tmp_path / "data" / "train" / name)
    (tmp_path / "data" / "test" / "china").mkdir()
    (tmp_path / "data/train/china/copy.png").rename(tmp_path / "data/test/china/copy.png")
    (tmp_path / "data/train/china/05.png").rename(tmp_path / "data/test/china/05.png")
    text = f"""
dataset: {{path: {tmp_path / "data"}}}
stages: [files, duplicates, {{split: {{existing: repair}}}}]
gates: []
outputs: {{path: {tmp_path / "out"}}}
"""
    result = Pipeline.from_text(text).run("serial")
    assert claims(result, "moved")["id"].tolist() == ["train/china/03.png"]
    assert (Path(result.path) / "curated/test/china/03.png").is_file()
    assert not (Path(result.path) / "curated/train/china/03.png").exists()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_table_gets_the_columns(tmp_path: Path, ending: str) -> None:
    frame, source = (
        pd.DataFrame(CSV).assign(id=[f"k{n:03}" for n in range(90)]),
        tmp_path / f"rows.{ending}",
    )
    {
        "csv": lambda: frame.to_csv(source, index=False),
        "jsonl": lambda: frame.to_json(source, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(source),
    }[ending]()
    text = (
        f"dataset: {{path: {source}}}\nstages: [{{split: {{copies: null, groups: [patient], folds: "
        f"2}}}}]\ngates: []\noutputs: {{path: {tmp_path / 'out'}}}"
    )
    result = Pipeline.from_text(text).run("serial")
    path = Path(result.path) / "curated" / source.name
    written = {
        "csv": pd.read_csv,
        "jsonl": lambda p: pd.read_json(p, lines=True),
        "parquet": pd.read_parquet,
    }[ending](path).set_index("id")
    assert written["split"].to_dict() == column(result)
    assert (
        written["fold"].dropna().astype(int).to_dict()
        == manifest(result)["fold"].dropna().astype(int).to_dict()
    )
    assert list(written.columns) == ["patient", "x", "label", "split", "fold"]


def test_a_split_column_of_a_table_is_rewritten(tmp_path: Path) -> None:
    frame = leaky().rename(columns={"key": "id"})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    text = (
        f"dataset: {{path: {tmp_path / 'rows.csv'}}}\nstages: [{{split: {{copies: null, groups: "
        f"[patient], existing: repair}}}}]\ngates: []\n"
    )
    result = Pipeline.from_text(text + f"outputs: {{path: {tmp_path / 'out'}}}").run("serial")
    written = pd.read_csv(Path(result.path) / "curated" / "rows.csv").set_index("id")
    assert written["split"].to_dict() == column(result)
    assert written.groupby("patient")["split"].nunique().max() == 1


def test_frames_of_a_video_chain_and_a_pattern_groups() -> None:
    ids = [
        "train/v_f001.png",
        "train/v_f002.png",
        "val/v_f003.png",
        "val/v_f020.png",
        "val/w_f003.png",
        "val/001.png",
        "train/002.png",
        "val/003.png",
    ]
    splits = [one.split("/")[0] for one in ids]
    codes = links.by_frames("video", ids, splits, 2).codes
    assert len({codes[0], codes[1], codes[2]}) == 1
    assert len({codes[0], codes[3], codes[4]}) == 3
    assert (codes[5:] == -1).all()  # numbers alone name no video
    by = links.by_pattern("name", ids, r"/(v|w)_").codes
    assert (len(set(by[:4])), by[4] != by[0], (by[5:] == -1).all()) == (1, True, True)


def test_alike_vectors_chain() -> None:
    angles = np.deg2rad([0, 5, 10, 90, 95, 180])
    codes = links.by_vectors(
        "look", np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.99, 0
    ).codes
    assert codes.tolist() == [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"splits": {"train": 0.5, "test": 0.4}}, "sum to 1, not to 0.9"),
        ({"splits": {"a": 0.5, "b": 0.5}}, "one of the splits is called train"),
        ({"folds": 1}, "at least 2 folds"),
        ({"inner": 3}, "only where there are `folds`"),
        ({"pattern": "("}, "no regular expression"),
        ({"gap": "soon"}, "not 'soon'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises((ConfigError, PlanError), match=said):
        Split(**options).check()


def test_two_stages_cannot_give_one_column_and_a_column_that_is_there_is_not_lost(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame(CSV).assign(key=[f"k{n:03}" for n in range(90)])
    with pytest.raises(
        PlanError, match=r"split.assigned and other.assigned both become the column 'split'"
    ):
        run(tmp_path / "out", frame, "", more=", {split: {copies: null, as: other}}")
    with pytest.raises(
        PlanError, match=r"split.fold becomes the column 'fold', which the dataset has already"
    ):
        run(tmp_path / "out", frame.assign(fold=1), "folds: 3")


def run(out: Path, frame: pd.DataFrame, options: str, *, seed: int = 0, more: str = "") -> Result:
    text = (
        f"dataset: {{roles: {{id: key}}}}\nstages: [{{split: {{copies: null, "
        f"{options}}}}}{more}]\ngates: []\nseed: {seed}\n"
    )
    return Pipeline.from_text(text + f"outputs: {{path: {out}, files: manifest}}").run(
        "serial", source=frame, force=True
    )


def column(result: Result) -> dict[str, str]:
    """The split of each raw sample."""
    return dict(zip(result.facts["id"], result.facts["split.assigned"], strict=True))


def manifest(result: Result) -> pd.DataFrame:
    return (
        pq.read_table(Path(result.path) / "curated" / "manifest.parquet")
        .to_pandas()
        .set_index("id")
    )


def claims(result: Result, code: str) -> pd.DataFrame:
    return result.findings[result.findings["code"] == f"split.{code}"]


def figure(result: Result, name: str, of: str = "raw") -> float:
    rows = result.figures[
        (result.figures["figure"] == f"split.{name}") & (result.figures["of"] == of)
    ]
    return float(rows["value"].iloc[0])


def _nothing(samples: Samples):
    from dqpipe.data.tables import Facts

    return Facts(pa.table({"": pa.nulls(len(samples))}).select([]))
