"""Notes for the card on files that were left out or are odd."""

from collections.abc import Sequence
from dataclasses import dataclass, field

_NAMED_IN_NOTES = 5


@dataclass
class OddFiles:
    """kind: what the files are, as `videos`; names: a reason to the names of those that it is true of."""

    kind: str
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, *names: str) -> None:
        if names:
            self.names.setdefault(reason, []).extend(names)

    def notes(self) -> list[str]:
        """A line for the card of each reason."""
        return [f"{len(names)} {self.kind} {reason}: {_some(names)}" for reason, names in self.names.items()]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_NOTES
    return ", ".join(names[:_NAMED_IN_NOTES]) + (f" and {more} more" if more > 0 else "")
