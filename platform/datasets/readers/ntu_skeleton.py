"""One `.skeleton` file of NTU RGB+D: text with the bodies that a Kinect v2 tracked, frame by frame.

The number of frames; then for each frame the number of bodies; then for each body a line that begins with its tracking
id, the number of joints, 25, and a line a joint, 12 numbers that begin with x, y and z in metres.
"""

from collections.abc import Sequence

import numpy as np

from platform.errors import InputError

_JOINTS, _NUMBERS = 25, 12
_SPINE = 1

_Track = tuple[list[int], list[np.ndarray]]  # frames, and the joints in each


def parse_skeleton(text: str, where: str) -> np.ndarray:
    """(T, bodies, 25, 3) float32, a missing body all zeros; bodies may be 0. Raises InputError, naming the line.

    A tracking id is one body. When the sensor loses a body and finds it again, the new id goes on in the place of one
    that has ended before, the nearest where there are several, so that bodies are as few as stand there at once.
    """
    tracks: dict[tuple[str, int], _Track] = {}
    lines = _Lines(text, where)
    frames = lines.count("the number of frames")
    for frame in range(frames):
        seen: list[str] = []
        for _ in range(lines.count(f"the number of bodies of frame {frame + 1} of {frames}")):
            tracking_id = lines.next("a body").split(maxsplit=1)[0]
            joints = lines.joints()
            key = (tracking_id, seen.count(tracking_id))  # an id that a frame has twice is two bodies
            seen.append(tracking_id)
            track = tracks.setdefault(key, ([], []))
            track[0].append(frame)
            track[1].append(joints)
    lines.end()
    return _joined(list(tracks.values()), frames)


class _Lines:
    """The lines of a file, one after the other."""

    def __init__(self, text: str, where: str) -> None:
        self._lines = text.split("\n")
        self._at = 0
        self._where = where

    def next(self, what: str) -> str:
        """The next line that is not empty."""
        while self._at < len(self._lines):
            self._at += 1
            if line := self._lines[self._at - 1].strip():
                return line
        raise InputError(f"{self._where}: truncated: it ends where {what} should stand")

    def count(self, what: str) -> int:
        line = self.next(what)
        if not line.isdecimal():
            raise InputError(f"{self._where}: line {self._at} is `{line[:40]}`; expected {what}")
        return int(line)

    def joints(self) -> np.ndarray:
        """(25, 3) float32."""
        found = self.count("the number of joints")
        if found != _JOINTS:
            raise InputError(f"{self._where}: line {self._at}: {found} joints; NTU RGB+D has {_JOINTS}")
        rows = [self.next(f"joint {j + 1} of {_JOINTS}").split() for j in range(_JOINTS)]
        wrong = next((j for j, row in enumerate(rows) if len(row) != _NUMBERS), None)
        if wrong is not None:
            line = self._at - _JOINTS + wrong + 1
            raise InputError(f"{self._where}: line {line}: {len(rows[wrong])} numbers; a joint has {_NUMBERS}")
        try:
            return np.array([row[:3] for row in rows], dtype=np.float32)
        except ValueError as error:
            raise InputError(f"{self._where}: lines up to {self._at}: a joint is no number ({error})") from error

    def end(self) -> None:
        if any(line.strip() for line in self._lines[self._at :]):
            raise InputError(f"{self._where}: goes on after its last frame, at line {self._at + 1}")


def _joined(tracks: Sequence[_Track], frames: int) -> np.ndarray:
    """(T, bodies, 25, 3)."""
    places: list[list[_Track]] = []
    for track in sorted(tracks, key=lambda t: (t[0][0], -len(t[0]))):
        ended = [place for place in places if place[-1][0][-1] < track[0][0]]
        if ended:
            min(ended, key=lambda place: _gap(place[-1], track)).append(track)
        else:
            places.append([track])
    joints = np.zeros((frames, len(places), _JOINTS, 3), np.float32)
    for number, place in enumerate(places):
        for at, positions in place:
            joints[at, number] = positions
    return joints


def _gap(before: _Track, after: _Track) -> float:
    """How far the spine is from where a track ended to where another begins."""
    gap = float(np.linalg.norm(before[1][-1][_SPINE] - after[1][0][_SPINE]))
    return gap if np.isfinite(gap) else np.inf
