"""What the tiny models of ReGen's tests are made of, and clips for them."""

import io

import torch
from PIL import Image

from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.frames_file import writing_frames
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


def encoded(path, frames):
    """The clips (N, F, 3, S, S) as encoded frames in a new file."""
    with writing_frames(path, frames.shape[1], frames.shape[-1]) as writer:
        for clip in frames:
            sample = []
            for frame in clip:
                content = io.BytesIO()
                Image.fromarray(frame.permute(1, 2, 0).numpy()).save(content, "JPEG")
                sample.append(content.getvalue())
            writer.add(sample)
    return EncodedFrames(path)
