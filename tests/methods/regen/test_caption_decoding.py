"""Searches against brute force, over a made model of few tokens: each next token's probabilities by the text so far."""

from itertools import product

import pytest
import torch

from methods.regen.decoding import Decoding, Marks, searched
from platform.errors import InputError
from platform.population.draws import generator

MARKS = Marks(begin=0, end=1, padding=2)
VOCABULARY, LENGTH, CLIPS = 6, 5, 2
CPU = torch.device("cpu")


def _next(clip, prefix, sharpness=2.0):
    """(V,) log-probabilities after a prefix."""
    logits = sharpness * torch.randn(VOCABULARY, generator=generator(clip, *prefix))
    logits[[MARKS.begin, MARKS.padding]] = -torch.inf
    return logits.log_softmax(dim=0)


class _Steps:
    """`decoding.Step` that remembers what each caption has so far, and forgets as the search says."""

    def __init__(self, count):
        self.prefixes = [[[] for _ in range(count)] for _ in range(CLIPS)]

    def __call__(self, last, rows):
        if rows is not None:
            self.prefixes = [[self.prefixes[clip][row] for row in own] for clip, own in enumerate(rows.tolist())]
        self.prefixes = [
            [[*prefix, token] for prefix, token in zip(own, tokens, strict=True)]
            for own, tokens in zip(self.prefixes, last.tolist(), strict=True)
        ]
        return torch.stack([torch.stack([_next(clip, own) for own in rows]) for clip, rows in enumerate(self.prefixes)])


def _all_captions(clip):
    """Every caption of at most LENGTH tokens, and its log-probability."""
    words = [token for token in range(VOCABULARY) if token not in (MARKS.begin, MARKS.end, MARKS.padding)]
    for count in range(LENGTH):
        for inside in product(words, repeat=count):
            caption = [MARKS.begin, *inside] + ([MARKS.end] if count < LENGTH - 1 else [])
            total = sum(float(_next(clip, caption[:at])[caption[at]]) for at in range(1, len(caption)))
            yield caption, total


@pytest.mark.parametrize("penalty", [1.0, 0.0, 2.0, -1.0])
def test_a_wide_beam_finds_what_brute_force_finds(penalty):
    width = 30  # at least as many as there are beginnings of three words
    found = searched(_Steps(width), CLIPS, Decoding("beam", width, length_penalty=penalty), MARKS, LENGTH, CPU)
    for clip in range(CLIPS):
        ranked = sorted(_all_captions(clip), key=lambda own: own[1] / (len(own[0]) - 1) ** penalty, reverse=True)
        for place, (caption, total) in enumerate(ranked[:width]):
            assert found.tokens[clip, place, : len(caption)].tolist() == caption
            assert set(found.tokens[clip, place, len(caption) :].tolist()) <= {MARKS.padding}
            assert found.log_probabilities[clip, place] == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("penalty", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_narrow_beam_keeps_the_best_of_what_it_meets(width, penalty):
    found = searched(_Steps(width), CLIPS, Decoding("beam", width, length_penalty=penalty), MARKS, LENGTH, CPU)
    for clip in range(CLIPS):
        live, met = [([MARKS.begin], 0.0)], []
        for length in range(1, LENGTH):
            longer = [
                ([*own, token], total + float(_next(clip, own)[token])) for own, total in live for token in (1, 3, 4, 5)
            ]
            met += [(own, total / length**penalty) for own, total in longer if own[-1] == MARKS.end]
            going = [pair for pair in longer if pair[0][-1] != MARKS.end]
            live = sorted(going, key=lambda pair: pair[1], reverse=True)[:width]
        met += [(own, total / (LENGTH - 1) ** penalty) for own, total in live]
        expected = [own for own, _ in sorted(met, key=lambda pair: pair[1], reverse=True)[:width]]
        found_rows = [[token for token in row if token != MARKS.padding] for row in found.tokens[clip].tolist()]
        assert found_rows == expected


def test_samples_come_as_often_as_they_are_likely():
    count = 3000
    drawn = Decoding("sample", count, generator=generator("often"))
    found = searched(_Steps(count), CLIPS, drawn, MARKS, 2, CPU)
    for clip in range(CLIPS):
        shares = torch.bincount(found.tokens[clip, :, 1], minlength=VOCABULARY) / count
        torch.testing.assert_close(shares, _next(clip, [MARKS.begin]).exp(), atol=0.03, rtol=0)


def test_the_same_generator_draws_the_same_captions():
    first, again, other = (
        searched(_Steps(9), CLIPS, Decoding("sample", 9, generator=generator(seed)), MARKS, LENGTH, CPU).tokens
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_top_p_leaves_the_unlikely_tokens_out():
    likeliest = searched(_Steps(20), CLIPS, Decoding("sample", 20, top_p=1e-6), MARKS, LENGTH, CPU)
    greedy = searched(_Steps(1), CLIPS, Decoding(), MARKS, LENGTH, CPU)
    assert torch.equal(likeliest.tokens, greedy.tokens.expand_as(likeliest.tokens))
    count, top_p = 500, 0.8
    found = searched(_Steps(count), CLIPS, Decoding("sample", count, top_p=top_p), MARKS, 2, CPU)
    for clip in range(CLIPS):
        probabilities, order = _next(clip, [MARKS.begin]).exp().sort(descending=True)
        needed = int((probabilities.cumsum(dim=0) < top_p).sum()) + 1
        assert set(found.tokens[clip, :, 1].tolist()) == set(order[:needed].tolist())


def test_a_high_temperature_evens_the_tokens_out():
    count = 3000
    hot = Decoding("sample", count, temperature=1e4, generator=generator("hot"))
    found = searched(_Steps(count), CLIPS, hot, MARKS, 2, CPU)
    shares = torch.bincount(found.tokens[0, :, 1], minlength=VOCABULARY) / count
    torch.testing.assert_close(shares[[1, 3, 4, 5]], torch.full((4,), 0.25), atol=0.03, rtol=0)
    own = _next(0, [MARKS.begin])[found.tokens[0, :, 1]]
    torch.testing.assert_close(found.log_probabilities[0], own)  # the model's own, whatever the temperature


@pytest.mark.parametrize(
    "values",
    [{"kind": "best"}, {"count": 2}, {"kind": "beam", "count": 0}, {"temperature": 0}, {"top_p": 0}, {"top_p": 1.1}],
)
def test_values_out_of_range_are_one_line(values):
    with pytest.raises(InputError, match=f"{list(values)[-1]}="):
        Decoding(**values)
