"""The review server and the file of verdicts.

Nothing that is sent, or stands in the file, is more than a refusal or a warning.
"""

from __future__ import annotations

import json
import socket
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqpipe.api import Pipeline
from dqpipe.errors import DatasetError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import publish, verdicts
from dqpipe.results.verdicts import Verdict, agreement
from dqpipe.results.versions import Version
from dqpipe.review import audits
from dqpipe.review.review_queue import ReviewQueue
from dqpipe.review.sample_view import SampleView
from dqpipe.review.server import LARGEST, Serving
from dqpipe.storage import ownership
from dqpipe.storage.location import place

TEXT = (
    "dataset: {path: rows.csv, roles: {id: name, label: label}}\nstages: "
    "[duplicate_rows]\noutputs: {path: out, reports: []}\n"
)
DEEP = (
    '{"content": "c", "id": "a", "verdict": "drop", "reviewer": "x", "given": '
    + "[" * 10_000
    + "]" * 10_000
    + "}"
)
ODD = [
    DEEP,
    '{"content": "c", "id": "a", "given": ' + "[" * 200 + "]" * 200 + ', "verdict": "drop"}',
    "[" * 10_000,
    "7",
    '"x"',
    "null",
    "{}",
    '{"id": 1}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": "drop", "reviewer": "\\ud800"}',
    '{"content": "c", "id": "\\udc80", "given": "cat", "verdict": "drop"}',
    '{"content": "c", "id": "a", "given": {"\\ud800": 1}, "verdict": "drop"}',
    '{"content": 5, "id": "a", "given": "cat", "verdict": "drop"}',
    '{"content": "c", "id": "a", "given": NaN, "verdict": "drop"}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": "drop", "alike": true}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": ["drop"]}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": "burn"}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": "drop", "time": 5}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": "drop", "holds": "yes"}',
    '{"content": "c", "id": "a", "given": "cat", "verdict": "drop", "reviewer": "'
    + "x" * 100_000
    + '"}',
    "\x00\x00",
    "\\ud800",
    "{" * 100,
]


@pytest.fixture(scope="module")
def folder(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, each of them twice, and a run over them; not to be changed."""
    place = tmp_path_factory.mktemp("asked")
    many = 3000
    (place / "rows.csv").write_text(
        "name,a,label\n"
        + "".join(f"r{n},{n // 2},{'cat' if n // 2 % 4 else 'dog'}\n" for n in range(many))
    )
    Pipeline.from_text(TEXT + "policy: {max_drop: 1}\n", base=place, registry=registry).run(
        Serial()
    )
    return place


def desk(folder: Path, out: Path, **options: Any) -> ReviewQueue:
    out.mkdir(exist_ok=True)
    ownership.take(place(out), publish.KIND, (), dict)  # an output as a run leaves it
    return ReviewQueue(out, SampleView(Version.open(folder / "out"), ()), **options)


@pytest.fixture
def serving(folder: Path, tmp_path: Path) -> Any:
    """The page of that run, with verdicts of its own."""
    served = Serving(desk(folder, tmp_path / "out"))
    served.start()
    yield served
    served.stop()


def send(serving: Serving, head: str, *body: bytes) -> bytes:
    """A raw request; as much of it as is taken."""
    with socket.create_connection(serving.socket.getsockname()[:2], timeout=20) as line:
        line.sendall(
            (
                f"{head}\r\nHost: 127.0.0.1\r\nX-Token: {serving.token}\r\nContent-Type: "
                f"application/json\r\n\r\n"
            ).encode()
        )
        try:
            for piece in body:
                line.sendall(piece)
            return line.recv(1 << 16)
        except (BrokenPipeError, ConnectionResetError):
            return b"HTTP/1.1 closed"


def post(serving: Serving, path: str, text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int(
        send(serving, f"POST {path} HTTP/1.1\r\nContent-Length: {len(data)}", data).split()[1]
    )


FINE = {"session": "s", "reviewer": "ann", "row": 1, "verdict": "keep"}
WRONG = [
    {"reviewer": "\ud800"},
    {"reviewer": "a\x1b[2J"},
    {"reviewer": "a\nb"},
    {"reviewer": "x" * 101},
    {"reviewer": 5},
    {"reviewer": ["ann"]},
    {"reviewer": {"a": 1}},
    {"row": "0"},
    {"row": True},
    {"row": 0.5},
    {"row": None},
    {"row": [0]},
    {"verdict": 5},
    {"verdict": None},
    {"verdict": "keep" * 100},
    {"session": 5},
    {"session": None},
    {"session": "s" * 65},
    {"verdict": "relabel", "label": 5},
    {"verdict": "relabel", "label": {"a": []}},
    {"verdict": "relabel", "label": "\udcff"},
    {"verdict": "relabel", "label": "a\x00"},
]


def test_what_cannot_be_a_verdict_is_refused_with_a_reason_and_the_page_goes_on(
    serving: Serving, tmp_path: Path
) -> None:
    for wrong in WRONG:
        assert post(serving, "/verdict", json.dumps(FINE | wrong)) == 422, wrong
    assert post(serving, "/verdict", json.dumps(FINE | {"row": 10**30})) == 400
    for path in ("/next", "/verdict", "/undo"):
        for text in (
            "",
            "[]",
            "5",
            "{",
            "[" * 30_000,
            '{"a":' * 9_000 + "1" + "}" * 9_000,
            json.dumps(FINE).replace("1", "1" * 5000),
            "\ud800",
        ):
            assert post(serving, path, text) in (400, 422), text[:20]
    assert not (tmp_path / "out" / verdicts.FILE).exists()
    assert post(serving, "/verdict", json.dumps(FINE)) == 200
    assert post(serving, "/verdict", json.dumps(FINE | {"reviewer": "Zoë 李 می‌روم"})) == 200
    assert post(serving, "/next", json.dumps({"session": "s"})) == 200
    assert len(verdicts.verdicts(tmp_path / "out")) == 2


def test_the_size_of_a_request_is_counted_while_it_is_read(serving: Serving) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))
    for head in (
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
    ):
        assert send(serving, f"POST /verdict HTTP/1.1\r\n{head}", *[chunk] * 40).split()[1] in (
            b"400",
            b"closed",
        )
    assert send(
        serving, f"POST /verdict HTTP/1.1\r\nContent-Length: {1 << 28}", *[b"x" * (1 << 16)] * 40
    ).split()[1] in (b"403", b"413", b"closed")
    assert send(
        serving, f"POST /verdict HTTP/1.1\r\nContent-Length: {LARGEST + 1}", b"x" * (LARGEST + 1)
    ).split()[1] in (b"403", b"413", b"closed")
    assert send(serving, "POST /verdict HTTP/1.1\r\nContent-Length: ٥").split()[1] == b"400"  # noqa: RUF001 (no digit of ASCII)
    assert post(serving, "/verdict", json.dumps(FINE)) == 200


def test_odd_lines_of_verdicts_are_set_aside(
    folder: Path, tmp_path: Path, registry: Registry
) -> None:
    out = tmp_path / "out"
    one = desk(folder, out)
    a, b = one.order[:2]
    one.say(a, "keep", "ann")
    with (out / verdicts.FILE).open("a") as file:
        file.writelines(f"{line}\n" for line in ODD)
    one.say(b, "drop", "ann")
    assert [(v.id, v.verdict) for v in verdicts.verdicts(out)] == [
        (one.view.ids[a], "keep"),
        (one.view.ids[b], "drop"),
    ]
    assert (
        [v.id for v in one.verdict_log.all()]
        == [v.id for v in desk(folder, out).verdict_log.all()]
        == [one.view.ids[a], one.view.ids[b]]
    )
    assert one.progress("ann")["mine"] == 2
    (tmp_path / "rows.csv").write_text((folder / "rows.csv").read_text())
    done = Pipeline.from_text(TEXT, base=tmp_path, registry=registry).run(Serial())
    assert done.record["run"]["verdicts"]["matched"] == 2


def test_what_cannot_be_read_back_is_no_verdict(tmp_path: Path) -> None:
    for odd in (
        {"reviewer": "\ud800"},
        {"id": "\udc80"},
        {"given": float("nan")},
        {"reviewer": "x" * 2000},
        {"alike": True},
        {"label": [[["\udfff"]]]},
    ):
        with pytest.raises(DatasetError, match="cannot be kept"):
            verdicts.add(
                tmp_path,
                Verdict(**{"content": "c", "id": "a", "given": "cat", "verdict": "drop", **odd}),
            )
    assert not list(tmp_path.iterdir())


def test_odd_draws_are_set_aside(tmp_path: Path) -> None:
    item = {"id": "a", "content": "c", "given": "cat", "alike": 1, "claimed": True}
    fine = {
        "audit": "a",
        "code": "s.b",
        "version": "v",
        "time": "t",
        "claims": 1,
        "others": 0,
        "made_by": "m",
        "sketch": ["x"],
        "items": [item],
    }
    odd = [
        {"items": "abc"},
        {"items": [5]},
        {"items": [item | {"times": "2"}]},
        {"items": [item | {"id": 5}]},
        {"sketch": 5},
        {"sketch": [5]},
        {"claims": "1"},
        {"code": 5},
        {"audit": ["a"]},
        {"items": [item | {"alike": None}]},
        {"items": [item | {"confidence": "x"}]},
        {"items": [item | {"id": "\ud800"}]},
    ]
    (tmp_path / audits.FILE).write_text(
        "".join(f"{json.dumps(fine | wrong)}\n" for wrong in [*odd, {}])
    )
    assert [one.code for one in audits.audits(tmp_path)] == ["s.b"]


def seconds(desk: ReviewQueue, row: int, reviewer: str) -> float:
    """The processor seconds of a verdict, and of the page after it."""
    before = time.thread_time()
    desk.say(row, "keep" if row % 3 else "drop", reviewer)
    desk.next("s", reviewer)
    desk.progress(reviewer)
    return time.thread_time() - before


@pytest.mark.parametrize("which", ["open", "second"])
def test_a_verdict_costs_the_same_however_many_there_are(
    folder: Path, tmp_path: Path, which: str
) -> None:
    one = desk(folder, tmp_path / "out", which=which)
    rows, costs = iter(one.order), []
    for before in (100, 2500):
        missing = range(len(one.verdict_log.standing) // 2, before // 2)
        told = [
            one.verdict(row, "keep" if row % 5 else "drop", name)
            for row in islice(rows, len(missing))
            for name in ("ann", "bob")
        ]
        verdicts.add_all(one.out, told)
        one.verdict_log.refresh()
        one.next("s", "ann")
        costs.append(min(seconds(one, next(rows), "ann") for _ in range(15)))
    assert costs[1] < 2 * costs[0]  # 25 times as many verdicts


def test_what_is_counted_as_it_comes_is_what_is_counted_at_once(
    folder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    one = desk(folder, tmp_path / "out", which="disagreed")
    names, said = ("ann", "bob", "cy"), ("keep", "drop", "skip", "relabel")
    for _ in range(80):
        row, name = int(one.order[rng.integers(6)]), str(rng.choice(names))
        if rng.random() < 0.25:
            one.undo(name)
        else:
            one.say(row, kind := str(rng.choice(said)), name, "cat" if kind == "relabel" else None)
        every = verdicts.verdicts(one.out)
        assert one.verdict_log.all() == every
        again = desk(folder, one.out, which="disagreed")
        assert (one.verdict_log.agreement(), one.words) == (
            agreement(every) if len({v.reviewer for v in every}) > 1 else [],
            again.words,
        )
        assert one._waiting("ann").rows == again._waiting("ann").rows
        assert one.progress("ann")["mine"] == sum(v.reviewer == "ann" for v in every)
