"""Texts: copies that are found and what that costs, and wrong labels planted in real questions."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section
from tests.benchmarks.label_errors import by_cleanlab, cell, judged, row_of
from tests.benchmarks.plant_noise import outsider, plant

TITLE = "Texts"
KINDS, RATES = ("uniform", "look_alike", "pairs"), (0.05, 0.1, 0.2)
QUESTIONS = "banking77_train.csv"
TEXT = (
    "Made texts are 5 to 12 words drawn by Zipf's law from 30,000, of which each fiftieth stands "
    "again: as it is, with a mark, or with one word more. `copies` is the whole `relate` and "
    "`detect` of `text_duplicates`, in CPU seconds. Questions are those of banking77, which hold "
    "label errors of their own: they count against both tools alike."
)


def report(bench: Bench) -> Section:
    """Copies, their cost and growth, beside datasketch; planted label errors, beside cleanlab."""
    rows = articles(bench)
    small, large = (10_000, 100_000) if bench.quick else (100_000, 1_000_000)
    less, more = (bench.ours("text", "copies", count) for count in (small, large))
    growth = np.log10(more.seconds / less.seconds)
    rows.append(
        Row(
            f"copies among {large:,} made texts",
            f"{more.seconds:.1f} CPU s; from a tenth of them: n^{growth:.2f}",
            memory=f"{more.mib:,.0f} MiB",
        )
    )
    if (SHARED / QUESTIONS).exists():
        rows += questions(bench)
        return Section(rows, TEXT)
    return Section(rows, f"{TEXT} The articles and questions are not here: made texts alone.")


def articles(bench: Bench) -> list[Row]:
    """Plagiarised articles by their truth, beside datasketch where it is installed."""
    rows = []
    for count in (100, 1000):
        source = SHARED / "near_text" / f"articles_{count}.train"
        if not source.exists():
            continue
        ours = bench.ours("text", "plagiarised", "ours", source)
        theirs = bench.ours("text", "plagiarised", "theirs", source)
        peer, ratio = "datasketch is not installed", ""
        if theirs.said["recall"] is not None:
            peer = (
                f"datasketch: recall {theirs.said['recall']:.2f}, precision "
                f"{theirs.said['precision']:.2f}, {theirs.seconds:.2f} CPU s"
            )
            ratio = f"{theirs.seconds / ours.seconds:.1f}×"
        rows.append(
            Row(
                f"{count:,} articles, some plagiarised",
                f"recall {ours.said['recall']:.2f}, precision {ours.said['precision']:.2f}, "
                f"{ours.seconds:.2f} CPU s",
                peer,
                ratio,
            )
        )
    return rows


def questions(bench: Bench) -> list[Row]:
    """Label errors planted in questions of 77 intents, and what is claimed of them as they are."""
    plan = [(kind, rate) for kind in KINDS for rate in (RATES[1:2] if bench.quick else RATES)]
    rows = [
        row_of(kind, rate, [dict(bench.ours("text", "planted", kind, rate, 0, threads=2).said)])
        for kind, rate in plan
    ]
    said = bench.ours("text", "unplanted", threads=2).said
    return [
        *rows,
        Row(
            f"{said['n']:,} labels as they are: flagged",
            f"{said['flagged']}",
            f"cleanlab: {said['their_flagged']}",
        ),
    ]


# jobs ---------------------------------------------------------------------------------------------


def made(count: int) -> list[str]:
    """Short texts, of which each fiftieth stands again."""
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, 30_001)
    drawn = rng.choice(30_000, size=(count, 12), p=chance / chance.sum()).tolist()
    lengths = rng.integers(5, 13, count).tolist()
    texts = [
        " ".join(f"w{word}" for word in words[:length])
        for words, length in zip(drawn, lengths, strict=True)
    ]
    for number in range(count // 50):
        texts[-1 - number] = texts[number] + ("", "!", " more")[number % 3]
    return texts


def claimed(ids: list[str], texts: list[str]) -> tuple[float, set[frozenset[str]]]:
    """CPU seconds, and the pairs that are claimed to be copies of any kind."""
    import pandas as pd
    import pyarrow as pa
    from dqpipe_text.text_duplicates import TextDuplicates

    from dqpipe.data.tables import Facts, Samples

    table = pa.table({"id": ids, "content": ids, "text": texts}).sort_by("id")
    none = {"made.parent": pa.nulls(len(ids), pa.string())}
    samples, stage = Samples(table), TextDuplicates()
    began = time.process_time()
    given = stage.relate(samples, Facts(pa.table(none)), None)  # type: ignore[arg-type]
    facts = Facts(pa.table({name: pa.array(values) for name, values in given.items()} | none))
    claims = pd.concat(stage.detect(samples, facts))
    seconds = time.process_time() - began
    copies = claims[claims["code"].isin(["exact", "normalised", "near"])]
    return seconds, set(map(frozenset, zip(copies["id"], copies["match"], strict=True)))


def read(source: Path) -> tuple[list[str], list[str], set[frozenset[str]]]:
    """Names and texts of articles, and the pairs that are copies."""
    lines = source.read_text(encoding="utf-8").splitlines()
    ids, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    truth = source.with_suffix(".truth").read_text(encoding="utf-8").splitlines()
    return list(ids), list(texts), {frozenset(line.split()) for line in truth}


def by_datasketch(ids: list[str], texts: list[str]) -> tuple[float, set[frozenset[str]]]:
    """CPU seconds, and the pairs of its MinHashLSH at a threshold of 0.8, by pairs of words."""
    from datasketch import MinHash, MinHashLSH

    began = time.process_time()
    index, found = MinHashLSH(threshold=0.8, num_perm=64), set()
    for name, text in zip(ids, texts, strict=True):
        words = re.findall(r"\w+", text.lower())
        sketch = MinHash(num_perm=64)
        pairs = itertools.pairwise(words)
        sketch.update_batch([" ".join(pair).encode() for pair in pairs])
        found |= {frozenset((name, other)) for other in index.query(sketch)}
        index.insert(name, sketch)
    return time.process_time() - began, found


def plagiarised(tool: str, source: str) -> dict[str, Any]:
    """Recall and precision of a tool's pairs."""
    ids, texts, truth = read(Path(source))
    try:
        seconds, found = (claimed if tool == "ours" else by_datasketch)(ids, texts)
    except ImportError:
        return {"recall": None}
    hits = len(found & truth)
    return {
        "recall": hits / len(truth),
        "precision": hits / max(len(found), 1),
        "seconds": seconds,
    }


def asked() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Vectors and labels of the questions, and the questions."""
    import pandas as pd
    from dqpipe_text.tfidf import learned, vectors

    frame = pd.read_csv(SHARED / QUESTIONS)
    texts = frame["text"].tolist()
    some = np.sort(np.random.default_rng(0).permutation(len(texts))[:2000])
    found = vectors(texts, learned([texts[row] for row in some], 256, 0))
    return found, pd.factorize(frame["category"], sort=True)[0], texts


def planted(kind: str, rate: float) -> dict[str, Any]:
    """Both tools on planted errors; `look_alike` by the doubt of a model on letters alone."""
    from sklearn.feature_extraction.text import HashingVectorizer

    found, labels, texts = asked()
    chances = None
    if kind == "look_alike":
        letters = HashingVectorizer(n_features=256, analyzer="char", ngram_range=(3, 3))
        chances = outsider(letters.transform(texts).toarray(), labels)
    return cell(found, labels, plant(labels, kind, rate, 0, found, chances), 0)


def unplanted() -> dict[str, Any]:
    """How many labels are flagged as they are."""
    found, labels, _ = asked()
    return {
        "n": len(labels),
        "flagged": int(judged(found, labels)[1].sum()),
        "their_flagged": int(by_cleanlab(found, labels, 0)[1].sum()),
    }


def main(job: str, *arguments: str) -> None:
    """Run one job and print what it found."""
    if job == "copies":
        count = int(arguments[0])
        seconds, found = claimed([f"{n:08}" for n in range(count)], made(count))
        said: dict[str, Any] = {"seconds": seconds, "pairs": len(found)}
    elif job == "plagiarised":
        said = plagiarised(*arguments)
    elif job == "planted":
        said = planted(arguments[0], float(arguments[1]))
    else:
        said = unplanted()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
