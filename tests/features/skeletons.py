"""A data folder of 60 short clips, whose classes move different joints, and trainings on it that take a second."""

import numpy as np

from platform.datasets.contents import ClassInfo, ClassSplit, Contents, FeatureArray, Skeletons
from platform.datasets.folder import write_dataset
from platform.features.training import Training

CLASSES = ["bow", "clap", "kick", "raise", "wave"]
MOVING = {"bow": [0, 1], "clap": [6, 7, 10, 11], "kick": [14, 15], "raise": [4, 5], "wave": [10, 11]}  # of Kinect v1
UNSEEN = ["raise", "wave"]
TINY = {"frames": 4, "lengthen": "resample", "batch_size": 8, "epochs": 2, "centre": "first_frame"}
TINY |= {"learning_rate": 0.05, "decay_epochs": (), "bodies": 1}


def body(rng=None):
    """(20, 3): a standing person, hip centre at the origin, y up, seen from the front: its left is at +x."""
    pose = np.zeros((20, 3))
    pose[:4, 1] = [0.7, 0.5, 0.2, 0.0]
    for side, (arm, leg) in zip((1, -1), ((4, 12), (8, 16)), strict=True):
        pose[arm : arm + 4] = [[side * 0.2, 0.5 - 0.25 * i, 0.02 * i] for i in range(4)]
        pose[leg : leg + 4] = [[side * 0.1, -0.4 * i, 0.01 * i] for i in range(4)]
    return pose if rng is None else pose * rng.uniform(0.9, 1.1) + rng.normal(0, 0.01, pose.shape)


def clip_of(name, frames, rng):
    """(T, 1, 20, 3) float32."""
    clip = np.repeat(body(rng)[None], frames, axis=0)
    clip[:, MOVING[name], 1] += 0.3 * np.sin(np.linspace(0, 2 * np.pi, frames))[:, None]
    return (clip + rng.normal(0, 0.005, clip.shape) + [0.1, 0.8, 2.5])[:, None].astype(np.float32)


def small_contents(odd=False, spoil=()):
    """60 clips of 5 classes by 6 subjects; the feature set `row` holds each sample's own row.

    odd: one clip shows nothing, one is one frame, one shows two bodies. spoil: classes whose clips are noise.
    """
    rng = np.random.default_rng(0)
    labels, subjects = (a.ravel() for a in np.meshgrid(np.arange(5), np.arange(1, 7), indexing="ij"))
    labels, subjects = labels.repeat(2), subjects.repeat(2)
    clips = [clip_of(CLASSES[label], int(rng.integers(6, 13)), rng) for label in labels]
    for i, label in enumerate(labels):
        if CLASSES[label] in spoil:
            clips[i] = np.random.default_rng(i).normal(size=clips[i].shape).astype(np.float32) * 100
    if odd:
        clips[0], clips[1] = clips[0][:1], np.zeros_like(clips[1])
        clips[4] = np.concatenate([clips[4], clips[4] + np.float32(0.5)], axis=1)
    return Contents(
        name="small",
        modality="skeleton",
        licence="none",
        source="made here",
        classes=[ClassInfo(name=n, attributes=a) for n, a in zip(CLASSES, np.eye(5).tolist(), strict=True)],
        labels=labels,
        train=subjects % 2 == 1,
        features={"row": FeatureArray(np.arange(len(labels), dtype=np.float32)[:, None], "its row")},
        groups=subjects,
        splits={
            "one": ClassSplit(unseen=UNSEEN, source="made up"),
            "two": ClassSplit(unseen=["kick", "wave"], source="made up"),
        },
        embeddings={"codes": np.eye(5, dtype=np.float32)},
        skeletons=Skeletons(clips, layout="kinect_v1"),
    )


def write_small(folder, **options):
    return write_dataset(small_contents(**options), folder).folder


def tiny_training(dataset, extractor="stgcn", split="one", **fields):
    options = {name: fields.pop(name) for name in list(fields) if name in Training.model_fields}
    config = {**TINY, **fields}
    return Training(extractor=extractor, config=config, dataset=dataset, split=split, device="cpu", **options)
