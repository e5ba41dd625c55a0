"""The account at the top: sentences, what became of the samples, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe.stages import Section, extension
from dqpipe_reports.page import known_codes, render


@extension
class Account(Section):
    """What failed, what was found and done and why, and what to do next."""

    name = "account"
    order = 100
    title = "Account"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """The sentences of the record, a bar drawn to scale, and the gates."""
        return render("account.html", account=record["account"], codes=known_codes(record), flow=flow(record["account"]), gates=record["gates"])


def flow(account: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """What became of the samples read, as (class, word, samples); the parts add up to all of them."""
    kept = account["samples"] - account["dropped"] - account["relabelled"] - account["review"]
    every = [("keep", "kept as they are"), ("relabel", "relabelled"), ("review", "for review"), ("drop", "dropped")]
    counts = [kept, account["relabelled"], account["review"], account["dropped"]]
    return [(name, word, count) for (name, word), count in zip(every, counts, strict=True)]
