"""A small made-up task on which a method can be tried in seconds."""

import io

import pyarrow as pa
import torch
from torch import Tensor

from platform.datasets.contents import FeatureKind
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.encoded_pictures import EncodedPictures
from platform.datasets.frames_file import FramesWriter
from platform.population.draws import generator
from platform.zeroshot.task import Task

SEEN, FEATURES, TEXT, FRAMES = 6, 16, 12, 2


def made_up(
    seed: int, unseen: int, samples: int, parts: int = 1, kind: FeatureKind = "numbers", side: int = 32
) -> Task:
    """A task whose features follow the class, with `samples` of each of 6 seen classes.

    parts: of a class's text, one after the other; kind: of the features; side: of square pictures, and of the frames of
    clips, of which each has two.
    """
    draw = generator(seed, "made-up task")
    count = SEEN + unseen
    texts = [torch.nn.functional.normalize(torch.randn(count, TEXT, generator=draw), dim=1) for _ in range(parts)]
    semantics = torch.cat(texts, dim=1)
    labels = torch.arange(SEEN).repeat_interleave(samples)
    names = [f"class {number}" for number in range(count)]
    if kind != "numbers":
        colours, shape = 255 * torch.rand(count, 3, generator=draw), (3, side, side)
        shape = (FRAMES, *shape) if kind == "frames" else shape
        noise = 40 * torch.randn(len(labels), *shape, generator=draw)
        pictures = (colours[labels].view(-1, *(1,) * (len(shape) - 3), 3, 1, 1) + noise).clamp(0, 255).to(torch.uint8)
        features = pictures.flatten(1) if kind == "pixels" else _encoded(pictures)
    else:
        prototypes = 2 * semantics @ torch.randn(semantics.shape[1], FEATURES, generator=draw)
        features = prototypes[labels] + 0.3 * torch.randn(len(labels), FEATURES, generator=draw)
    return Task(tuple(names[:SEEN]), tuple(names[SEEN:]), features, labels, semantics)


def _encoded(samples: Tensor) -> EncodedFrames:
    """Clips (N, F, 3, S, S) uint8, or pictures (N, 3, S, S), as frames in a file without a name."""
    from PIL import Image

    clips, held = (samples, EncodedFrames) if samples.ndim == 5 else (samples[:, None], EncodedPictures)
    file = io.BytesIO()
    with FramesWriter(file, clips.shape[1], clips.shape[-1]) as writer:
        for clip in clips:
            contents = [io.BytesIO() for _ in clip]
            for frame, content in zip(clip, contents, strict=True):
                Image.fromarray(frame.permute(1, 2, 0).numpy()).save(content, "JPEG")
            writer.add([content.getvalue() for content in contents])
    return held.of_buffer(pa.py_buffer(file.getvalue()))
