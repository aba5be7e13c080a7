"""What the tiny models of ReGen's tests are made of, and clips for them."""

import torch

from platform.population.draws import generator

SIDE = 16  # of their pictures
WORDS = ["a", "man", "woman", "ball", "kicks", "throws", "the", "in", "snow"]
WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS, "##s"]
MERGES = ["m a", "ma n</w>", "b a", "l l</w>", "ba ll</w>"]


def bpe_vocabulary():
    letters = "abcdefghijklmnopqrstuvwxyz"
    joined = [merge.replace(" ", "") for merge in MERGES]
    pieces = [*letters, *(letter + "</w>" for letter in letters), *joined, "<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}


def clips(count=3, frames=2, side=20, seed=0):
    """(N, F, 3, S, S) uint8 of noise."""
    return torch.randint(256, (count, frames, 3, side, side), generator=generator(seed, "clips"), dtype=torch.uint8)
