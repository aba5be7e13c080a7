"""Proposals waiting to be trained, and the packs that they are handed out in."""

import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from platform.search.study import Proposal


@dataclass(frozen=True)
class Pack:
    """Proposals that train side by side.

    folder: the name of the one that holds their checkpoint; deaths: how often their worker was lost.
    """

    folder: str
    members: list[Proposal]
    deaths: int = 0


class Packs:
    """Groups proposals by the fields in which a population must agree, and hands them out in packs.

    Packs shrink towards the end, so that all packs that train at a time end together.
    """

    def __init__(
        self,
        propose: Callable[[], Proposal | None],
        left: Callable[[], int],
        group: Callable[[Proposal], Hashable],
        size: int,
        concurrency: int,
        ahead: int | None,
    ) -> None:
        """left: how many `propose` still has; ahead: how many may wait, unlimited where None.

        A sampler that learns from results should not be asked for more than can be trained soon.
        """
        self.propose, self.left, self.group, self.size, self.concurrency, self.ahead = (
            propose,
            left,
            group,
            size,
            concurrency,
            ahead,
        )
        self.waiting: dict[Hashable, deque[Proposal]] = {}
        self.ready: deque[Pack] = deque()

    def next(self) -> Pack | None:
        """A returned pack, or a new one from the largest group that waits; None where there is none."""
        if self.ready:
            return self.ready.popleft()
        self._ask(enough=lambda: max(map(len, self.waiting.values()), default=0) >= self.size)
        if not self.waiting:
            return None
        group = max(self.waiting, key=lambda g: len(self.waiting[g]))
        members = self._take(group, self.size)
        return Pack(members[0].key, members)

    def joining(self, group: Hashable, free: int) -> list[Proposal]:
        """Proposals of a group for free places in a pack."""
        self._ask(enough=lambda: len(self.waiting.get(group, ())) >= free)
        return self._take(group, free)

    def give_back(self, pack: Pack) -> None:
        """Return a pack, to be handed out before any other."""
        self.ready.append(pack)

    def add(self, proposal: Proposal) -> None:
        """Add a waiting proposal."""
        self.waiting.setdefault(self.group(proposal), deque()).append(proposal)

    def _take(self, group: Hashable, count: int) -> list[Proposal]:
        queue = self.waiting.get(group, deque())
        fair = math.ceil((sum(map(len, self.waiting.values())) + self.left()) / self.concurrency)
        taken = [queue.popleft() for _ in range(min(count, fair, len(queue)))]
        if not queue:
            self.waiting.pop(group, None)
        return taken

    def _ask(self, enough: Callable[[], bool]) -> None:
        while self.ahead is None or (not enough() and sum(map(len, self.waiting.values())) < self.ahead):
            proposal = self.propose()
            if proposal is None:
                return
            self.add(proposal)


def halves(members: Sequence[Proposal]) -> list[list[Proposal]]:
    """A pack's members in two packs, or as they are where there is one."""
    middle = (len(members) + 1) // 2
    return [half for half in (list(members[:middle]), list(members[middle:])) if half]
