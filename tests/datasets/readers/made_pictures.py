"""Pictures that the tests make: small, and of colours that survive JPEG."""

from io import BytesIO

import numpy as np
from PIL import Image

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def picture(colour=RED, width=40, height=30, mode="RGB"):
    return Image.new("RGB", (width, height), colour).convert(mode)


def encoded(image, kind="PNG", **options):
    """The bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def truncated_jpeg():
    content = encoded(noise(64, 64), "JPEG")
    return content[: len(content) // 2]


def write_classes(folder, classes=("bow", "clap"), count=5):
    """`count` pictures of each class; the green of a picture says its class, its blue its number."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"p{i}.png").write_bytes(encoded(picture((0, 50 * label, 10 * i))))
    return folder
