"""`python -m tests.benchmarks [--quick] [TOPIC …]`.

Runs dqpipe and its peers in turn, writes RESULTS.md.

A topic is a module beside this one, with `TITLE` and `report(bench) -> Section`. A topic that is
run replaces its section of RESULTS.md; the other sections stay. `--quick` takes smaller inputs and
fewer runs, and writes nothing but what it prints.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import re
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.bench import Bench, Section, machine

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
TOPICS = (
    "image_facts",
    "hostile_files",
    "near_duplicates",
    "label_errors",
    "truth",
    "label_kinds",
    "embeddings",
    "outliers",
    "selection",
    "augmentation",
    "splits",
    "text",
    "whole_run",
    "scale",
    "executors",
    "nights",
)
HEAD = """# What was measured

Written by `make bench`; every section names its machine and day. A ratio is that of medians over alternating runs on the same inputs:
above 1, dqpipe is faster (or better, where the row is about quality). Peak memory is that of the largest process.
`make bench-quick` runs the same on smaller inputs; sections whose command says `--quick` were made so, and are coarser.
"""  # noqa: E501


def main() -> None:
    """Run the topics that were asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}; all of them by default"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="smaller inputs, fewer runs, RESULTS.md left as it is without --keep",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="with --quick: write to RESULTS.md all the same, saying so",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path(".venv-peers/bin/python"),
        help="Python of the peers' environment",
    )
    given = parser.parse_args()
    unknown = sorted(set(given.topics) - set(TOPICS))
    if unknown:
        parser.error(f"no topic {unknown[0]!r}; there are {', '.join(TOPICS)}")
    bench = Bench(quick=given.quick, peers=given.peers.absolute() if given.peers.exists() else None)
    for topic in given.topics or TOPICS:
        module = importlib.import_module(f"tests.benchmarks.{topic}")
        print(f"── {module.TITLE}", file=sys.stderr, flush=True)
        text = rendered(
            f"{topic} --quick" if given.quick else topic, module.TITLE, module.report(bench)
        )
        print(text, flush=True)
        if given.keep or not given.quick:
            replace(topic, text)


def rendered(topic: str, title: str, section: Section) -> str:
    """A section of RESULTS.md."""
    made = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {commit()}, {machine()}"
    lines = [
        f"<!-- {topic.split(maxsplit=1)[0]} -->",
        f"## {title}",
        "",
        f"<sub>`python -m tests.benchmarks {topic}` · {made}</sub>",
        "",
    ]
    if section.rows:
        lines += [
            "| work | dqpipe | peer | ratio | peak memory | limit |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |"
            for row in section.rows
        ]
        lines.append("")
    return "\n".join([*lines, section.text.strip(), ""])


def commit() -> str:
    """The commit that was measured, with a plus where files had changed since."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "no commit"


def replace(topic: str, text: str) -> None:
    """Write one section into RESULTS.md, in the order of TOPICS."""
    old = RESULTS.read_text() if RESULTS.exists() else ""
    parts = re.split(r"^<!-- (\w+) -->\n", old, flags=re.MULTILINE)
    sections = {
        name: f"<!-- {name} -->\n{body}"
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    sections[topic] = text
    RESULTS.write_text(
        HEAD
        + "\n"
        + "\n".join(sections[name].rstrip() + "\n" for name in TOPICS if name in sections)
    )


if __name__ == "__main__":
    main()
