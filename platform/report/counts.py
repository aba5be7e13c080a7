"""What accuracies were measured on, in words: classes, chance level, samples, and the tests behind a mean."""

from collections.abc import Iterable, Mapping, Sequence

from platform.report.chance import chance_of

Counts = Mapping[str, int]  # as an `Outcome` has them


def measured_on(counts: Iterable[Counts]) -> str:
    """One line for tests on one split or on several; empty where nothing is known of them.

    Only accuracy among the unseen classes has a single chance level. Over all classes it depends on how often a model
    predicts an unseen class, so there the numbers of both sides are shown.
    """
    known = [c for c in counts if "unseen" in c]
    if not known:
        return ""
    seen, unseen = (range_of(c[side] for c in known) for side in ("seen", "unseen"))
    said = f"ZSL among {_chances([c['unseen'] for c in known])}; s, u and H over {seen} seen and {unseen} unseen ones"
    samples = [[c[f"{side}_samples"] for c in known if f"{side}_samples" in c] for side in ("unseen", "seen")]
    if not all(len(own) == len(known) for own in samples):
        return f"{said}; the number of test samples was not recorded"
    of_unseen, of_seen = map(range_of, samples)
    return f"{said}; {of_unseen} test samples of unseen classes, {of_seen} of seen ones"


def behind_a_mean(numbers: Sequence[int], splits: int = 1) -> str:
    """`n = 6 (2 seeds × 3 splits)` or `n = 2 to 5`: the number of tests behind each row's mean."""
    said = f"n = {range_of(numbers)}"
    if splits > 1 and len(set(numbers)) == 1 and numbers[0] % splits == 0:
        seeds = numbers[0] // splits
        said += f" ({seeds} seed{'' if seeds == 1 else 's'} × {splits} splits)"
    return said


def _chances(classes: Sequence[int]) -> str:
    fewest, most = min(classes), max(classes)
    if fewest == most:
        return chance_of(fewest)
    return f"{fewest} to {most} classes, chance {100 / most:.1f} to {100 / fewest:.1f} %"


def range_of(numbers: Iterable[int]) -> str:
    """`80`, or `80 to 216` where they differ."""
    found = sorted(set(numbers))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"
