"""The server: killed it loses nothing, strangers get nothing, and people beside each other do not
get in each other's way.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import verdicts
from tests.review.conftest import Served, served


def test_killed_in_the_middle_of_verdicts_it_loses_none_that_it_confirmed(out: Path) -> None:
    confirmed: list[str] = []
    for number in range(2):
        with served(out) as server:
            page = threading.Thread(target=say_keep, args=(server, confirmed))
            page.start()
            while len(confirmed) < 3 * (number + 1):
                page.join(0.001)
            server.kill()
            page.join()
        on_disk = [v.id for v in verdicts.verdicts(out)]
        assert set(confirmed) <= set(on_disk)
        assert len(on_disk) <= len(confirmed) + number + 1  # what was on its way may have arrived
        assert len(set(on_disk)) == len(on_disk)


def say_keep(server: Served, confirmed: list[str]) -> None:
    """Keep one sample after the other, until the server is gone."""
    try:
        item = server.post("/next")["items"][0]
        while True:
            answer = server.post("/verdict", row=item["row"], verdict="keep")
            confirmed.append(item["id"])
            item = answer["items"][0]
    except (httpx.HTTPError, IndexError):
        return


def test_strangers_are_refused(out: Path) -> None:
    with served(out) as server:
        port = server.base.rpartition(":")[2]
        fine = {"x-token": server.token}

        def status(
            path: str = "/about", headers: dict[str, str] | None = None, method: str = "GET", **more
        ) -> int:
            return httpx.request(
                method, server.base + path, headers=fine if headers is None else headers, **more
            ).status_code

        assert status() == 200
        assert status(headers={**fine, "host": f"localhost:{port}"}) == 200
        assert status(headers={}) == 403
        assert status(headers={"x-token": "wrong"}) == 403
        assert status("/", headers={}) == 403
        assert status(headers={**fine, "host": "evil.example"}) == 403
        assert status(headers={**fine, "host": f"127.0.0.1.evil.example:{port}"}) == 403
        assert status(headers={**fine, "origin": "http://evil.example"}) == 403
        assert status(headers={**fine, "origin": "null"}) == 403
        assert status(headers={**fine, "sec-fetch-site": "cross-site"}) == 403
        assert status("/verdict", method="POST", json={}) == 422
        assert status("/verdict", method="POST", content=b"{}") == 403
        assert (
            status(
                "/verdict",
                method="POST",
                content=b" " * 100_000,
                headers={**fine, "content-type": "application/json"},
            )
            == 413
        )
        assert status("/next", method="GET") == 405
    assert not (out / "verdicts.jsonl").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/../run.json",
        "/picture/..%2f..%2frun.json/320",
        "/picture/0/99999",
        "/picture/-1/320",
        "/picture/999999/320",
        "/docs",
        "/openapi.json",
        "/picture//etc/passwd",
        "/static/run.json",
    ],
)
def test_nothing_but_samples_is_served(path: str, strange: tuple[str, str]) -> None:
    base, token = strange
    assert httpx.get(base + path, headers={"x-token": token}).status_code in (404, 422)


@pytest.fixture(scope="module")
def strange(reviewed: Path):
    with served(reviewed / "out") as server:
        yield server.base, server.token


def test_a_picture_is_made_anew_and_only_of_the_bytes_of_the_run(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    config = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {tmp_path / 'out'}, reports: []}}\nstages: "
        f"[files, image_quality]\n"
    )
    Run(Pipeline.from_text(config, registry=registry).config, registry, Serial()).run()
    with served(tmp_path / "out") as server:
        first = next(item for item in server.post("/next")["items"] if item["picture"])
        picture = httpx.get(
            f"{server.base}/picture/{first['row']}/320", headers={"x-token": server.token}
        )
        assert (picture.status_code, picture.content[8:12]) == (200, b"WEBP")
        (images / first["id"]).write_bytes((images / "china" / "00.png").read_bytes() + b"more")
        assert (
            httpx.get(
                f"{server.base}/picture/{first['row']}/160", headers={"x-token": server.token}
            ).status_code
            == 404
        )


def test_people_beside_each_other_get_different_samples(out: Path) -> None:
    with served(out) as one, served(out) as other:
        first = one.post("/next", session="a")["items"][0]["row"]
        assert one.post("/next", session="b")["items"][0]["row"] != first
        one.post("/verdict", session="a", row=first, verdict="drop")
        assert first not in [
            item["row"] for item in other.post("/next", session="c", reviewer="bob")["items"]
        ]


def test_second_opinions_are_blind_and_disagreements_are_shown_until_settled(out: Path) -> None:
    with served(out) as server:
        row = server.post("/next")["items"][0]["row"]
        server.post("/verdict", row=row, verdict="drop")
    with served(out, "--second") as server:
        assert server.post("/next", reviewer="ann")["items"] == []
        (item,) = server.post("/next", reviewer="bob")["items"]
        assert (item["row"], item["said"]) == (row, [])
        progress = server.post("/verdict", reviewer="bob", row=row, verdict="keep")["progress"]
        assert progress["agreement"] == [
            {"reviewers": ["ann", "bob"], "on": "decisions", "samples": 1, "same": 0, "kappa": 0.0}
        ]
    with served(out, "--disagreed") as server:
        (item,) = server.post("/next", reviewer="ann")["items"]
        assert [(v["reviewer"], v["verdict"]) for v in item["said"]] == [
            ("ann", "drop"),
            ("bob", "keep"),
        ]
        assert server.post("/verdict", reviewer="ann", row=row, verdict="keep")["items"] == []


def test_rows_of_a_table_are_shown_and_a_label_that_cannot_be_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    rows = pd.DataFrame(
        {
            "key": list("abcd"),
            "label": [1, 2, 1, 1],
            "x": [1.5, 2.5, 1.5, 9.0],
            "name": ["<b>", "q", "<b>", "z"],
        }
    )
    rows.to_csv(tmp_path / "rows.csv", index=False)
    text = (
        f"dataset: {{path: {tmp_path / 'rows.csv'}, roles: {{id: key}}}}\noutputs: {{path: "
        f"{tmp_path / 'out'}, reports: []}}\nstages: [duplicate_rows]\n"
    )
    Run(Pipeline.from_text(text, registry=registry).config, registry, Serial()).run()
    with served(tmp_path / "out") as server:
        item = server.post("/next")["items"][0]
        assert (item["cells"]["x"], item["cells"]["name"], item["picture"]) == ("1.5", "<b>", False)
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            server.post("/verdict", row=item["row"], verdict="relabel", label="dog")
        server.post("/verdict", row=item["row"], verdict="relabel", label="2")
    (told,) = verdicts.verdicts(tmp_path / "out")
    assert (
        told.given,
        told.label,
        json.loads((tmp_path / "out" / "verdicts.jsonl").read_text())["label"],
    ) == (1, 2, 2)
