"""The scans of a JPEG: which there are, whether all that the picture is made of is among them, and
how much a cut one lacks.

A sequential JPEG has one scan, as a rule. A progressive one (ITU-T T.81, G) sends frequencies and
bits one after the other: cut between two scans it decodes without a complaint, to a picture that
lacks what would have followed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

START_OF_FRAME, START_OF_SCAN, END_OF_IMAGE = (0xC0, 0xC1, 0xC2), 0xDA, 0xD9
PROGRESSIVE = 0xC2
ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
NEXT = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the marker after entropy-coded data
FREQUENCIES = 64


class Scan(NamedTuple):
    """Whose it is, which frequencies, the bits that are still to come before and after it, and
    where it starts and ends.
    """

    components: bytes
    first: int
    last: int
    bits: int
    start: int
    end: int


class Frame(NamedTuple):
    """Size as stored, the process, each component with its horizontal and vertical sampling, scans,
    and whether the end is marked.
    """

    width: int
    height: int
    process: int
    sampling: dict[int, tuple[int, int]]
    scans: tuple[Scan, ...]
    ended: bool

    @property
    def samples(self) -> float:
        """Samples a pixel: 3 of RGB, 1.5 where each chroma has a quarter."""
        most = max(across for across, _ in self.sampling.values()) * max(
            down for _, down in self.sampling.values()
        )
        return sum(across * down for across, down in self.sampling.values()) / most

    @property
    def block(self) -> tuple[int, int]:
        """Width and height in pixels of what is coded together."""
        if len(self.sampling) == 1:
            return 8, 8
        return 8 * max(across for across, _ in self.sampling.values()), 8 * max(
            down for _, down in self.sampling.values()
        )

    @property
    def several(self) -> bool:
        """Whether one scan is not all of it: libjpeg then holds every coefficient."""
        return (
            self.process == PROGRESSIVE
            or not self.scans
            or len(self.scans[0].components) < len(self.sampling)
        )

    def whole(self) -> bool:
        """Whether there are scans for every component, of a progressive JPEG for every frequency to
        its last bit.
        """
        if self.process != PROGRESSIVE:
            return {*self.sampling} <= {
                component for scan in self.scans for component in scan.components
            }
        left = {
            component: [FREQUENCIES] * FREQUENCIES for component in self.sampling
        }  # bits still to come: all
        for scan in self.scans:
            for component in scan.components:
                if component in left:
                    left[component][scan.first : scan.last + 1] = [scan.bits] * (
                        scan.last + 1 - scan.first
                    )
        return not any(any(bits) for bits in left.values())


def frame(data: bytes, *, all_scans: bool = True) -> Frame | None:
    """The Frame, or None where the markers do not lead to one.

    Without `all_scans` only up to the first.
    """
    place, found, scans, ended = 2, None, list[Scan](), False
    while place + 2 <= len(data) and data[place] == 0xFF:  # noqa: PLR2004 (every marker)
        marker = data[place + 1]
        if marker == END_OF_IMAGE:
            ended = True
            break
        if marker == 0xFF or marker in ALONE:  # noqa: PLR2004 (fill bytes)
            place += 1 if marker == 0xFF else 2  # noqa: PLR2004
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length]
        if marker in START_OF_FRAME and found is None:
            found = _frame(marker, body)
        if marker == START_OF_SCAN:
            after = NEXT.search(data, place + 2 + length) if all_scans else None
            end = after.start() if after else len(data)
            scan = _scan(body, place, end)
            if scan is None or found is None:
                break
            scans.append(scan)
            if not all_scans:
                break
            place = end
        else:
            place += 2 + max(length, 2)
    return None if found is None else found._replace(scans=tuple(scans), ended=ended)


def _frame(marker: int, body: bytes) -> Frame | None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:  # noqa: PLR2004 (precision, height, width, number of components)
        return None
    parts = [body[6 + 3 * n : 9 + 3 * n] for n in range(body[5])]
    sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts}
    if not sampling or any(0 in pair for pair in sampling.values()):
        return None
    return Frame(
        int.from_bytes(body[3:5], "big"),
        int.from_bytes(body[1:3], "big"),
        marker,
        sampling,
        (),
        ended=False,
    )


def _scan(body: bytes, start: int, end: int) -> Scan | None:
    if not body or len(body) < 4 + 2 * body[0]:
        return None
    components, (first, last, bits) = (
        bytes(body[1 : 1 + 2 * body[0] : 2]),
        body[1 + 2 * body[0] : 4 + 2 * body[0]],
    )
    return Scan(components, first, min(last, FREQUENCIES - 1), bits & 15, start, end)
