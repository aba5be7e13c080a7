"""Small pictures of moving bodies: figures of thick lines before a painted background. Drawn by Pillow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

COLOURS: dict[str, RGB] = {
    "red": (255, 95, 95),
    "yellow": (255, 240, 80),
    "green": (100, 255, 120),
    "blue": (110, 160, 255),
    "purple": (225, 120, 255),
}
_FINER = 2  # a picture is drawn so many times larger and then reduced, which smooths its edges
_METRES = 2.1  # height of what a picture shows at the body's distance
_DISTANCE = 3.5  # metres
_AIM = 1.0  # metres above the floor: the middle of the picture
_THICKNESS = 0.075  # metres, of a limb
_HEAD = 0.13  # metres, its radius


@dataclass(frozen=True)
class Look:
    """How a layout of joints is drawn: pairs of joints that a line joins, corners of the trunk, the head's middle, and
    the joint that the nose points to, if it has one."""

    lines: Sequence[tuple[int, int]]
    trunk: Sequence[int]
    head: int
    nose: int | None = None


@dataclass(frozen=True)
class Camera:
    """Where a clip is filmed from: degrees aside, a shift in metres, and a magnification."""

    yaw: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0


def film(
    bodies: np.ndarray, look: Look, colour: RGB, background: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a moving body, (F, 3, S, S) uint8, and where its joints are in them, (F, joints, 2) float32.

    bodies: (F, E, joints, 3) metres, x to the body's left, y up from the floor, z forward; the E moments of a frame's
    exposure are averaged, so that what is quick is blurred. background: (S, S, 3) uint8. Joints are right and down from
    the upper left corner, in picture widths.
    """
    side = len(background)
    places, depth = _projected(bodies, camera, side * _FINER)
    canvas = Image.fromarray(background).resize((side * _FINER, side * _FINER), Image.Resampling.NEAREST)
    scale = side * _FINER / _METRES * camera.zoom
    frames = np.zeros((len(bodies), side, side, 3))
    for frame, moments in enumerate(zip(places, depth, strict=True)):
        for points, far in zip(*moments, strict=True):
            image = canvas.copy()
            _draw(ImageDraw.Draw(image), [tuple(p) for p in points.tolist()], far.tolist(), look, colour, scale)
            frames[frame] += np.asarray(image.reduce(_FINER))
    pictures = np.rint(frames / bodies.shape[1]).astype(np.uint8).transpose(0, 3, 1, 2)
    return pictures, (places.mean(axis=1) / (side * _FINER)).astype(np.float32)


def _projected(bodies: np.ndarray, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(..., 2) places in pixels and (...,) depth in metres, nearer to the camera negative."""
    yaw = np.radians(camera.yaw)
    x = bodies[..., 0] * np.cos(yaw) - bodies[..., 2] * np.sin(yaw)
    depth = -(bodies[..., 0] * np.sin(yaw) + bodies[..., 2] * np.cos(yaw))
    scale = size / _METRES * camera.zoom * _DISTANCE / (_DISTANCE + depth)
    right = size / 2 + (x + camera.shift[0]) * scale
    down = size / 2 - (bodies[..., 1] - _AIM + camera.shift[1]) * scale
    return np.stack([right, down], axis=-1), depth


def _draw(
    draw: ImageDraw.ImageDraw, places: Sequence[Point], depth: Sequence[float], look: Look, colour: RGB, scale: float
) -> None:
    """One body, farthest parts first, nearer ones brighter."""
    width = max(round(_THICKNESS * scale), 1)
    things = [(sum(depth[j] for j in joints) / len(joints), joints) for joints in (*look.lines, (look.head,))]
    things.append((sum(depth[j] for j in look.trunk) / len(look.trunk) + 0.02, look.trunk))  # limbs before it are seen
    for far, joints in sorted(things, reverse=True):
        shade, points = _shade(colour, 0.9 - 0.3 * far), [places[j] for j in joints]
        if len(joints) > 2:
            draw.polygon(points, fill=_shade(colour, 0.75))
        elif len(joints) == 2:
            draw.line(points, fill=shade, width=width)
            for point in points:
                _disc(draw, point, width / 2, shade)
        else:
            _disc(draw, points[0], _HEAD * scale, shade)
            if look.nose is not None:
                draw.line([points[0], places[look.nose]], fill=(255, 250, 235), width=width)


def _disc(draw: ImageDraw.ImageDraw, middle: Point, radius: float, fill: RGB) -> None:
    x, y = middle
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _shade(colour: RGB, brightness: float) -> RGB:
    return tuple(min(max(int(c * brightness), 0), 255) for c in colour)


def paint(name: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8: a background of BACKGROUNDS, its texture drawn anew for every clip."""
    rows, columns = np.mgrid[:side, :side] * (64 / side)
    light, shift = rng.uniform(0.9, 1.1), rng.integers(0, 16)
    plain = np.ones((side, side))
    if name == "grey wall":
        texture, colour = plain - 0.25 * (rows > 56), (85, 85, 88)
    elif name == "brick wall":
        odd = (rows // 6) % 2 * 6
        joints = (rows % 6 < 1) | ((columns + odd + shift) % 12 < 1)
        texture, colour = np.where(joints, 1.25, 1.0), (105, 50, 35)
    elif name == "wooden fence":
        texture, colour = np.where((columns + shift) % 9 < 1.5, 0.7, 1.0), (95, 70, 35)
    elif name == "green hedge":
        texture, colour = rng.uniform(0.8, 1.2, (side, side)), (25, 75, 30)
    elif name == "blue curtain":
        texture, colour = 0.9 + 0.1 * np.sin((columns + shift) * 2 * np.pi / 10), (30, 40, 110)
    else:
        texture, colour = np.where(rng.random((side, side)) < 0.015, 5.0, 1.0), (14, 15, 30)
    return np.clip(texture[..., None] * np.array(colour) * light, 0, 255).astype(np.uint8)
