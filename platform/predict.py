"""Classify samples, also among class names that the model was never trained on.

`python -m platform.predict MODEL FEATURES.npy --classes "wave with both hands, jump on one leg"`
`python -m platform.predict MODEL PICTURE.jpg`, or a folder of pictures, for a model that was trained on pictures
`python -m platform.predict MODEL VIDEO.mp4`, or a folder of videos, for one that was trained on encoded frames
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from platform import cli, options
from platform.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from platform.datasets.encoded_frames import EncodedFrames
    from platform.datasets.encoded_pictures import EncodedPictures
    from platform.zeroshot.normaliser import Normaliser

app = cli.application(__doc__)


@app.command(no_args_is_help=True)
def predict(
    model: Annotated[Path, typer.Argument(help="folder of a model, such as RUN/models/0-clean", metavar="MODEL")],
    samples: Annotated[
        Path,
        typer.Argument(
            help="(N, D) features or uint8 pixels, .npy; or a picture, or a folder or .zip of them; or a video, or a "
            "folder of them",
            metavar="SAMPLES",
        ),
    ],
    classes: Annotated[str | None, typer.Option(help="new unseen classes, by name, separated by commas")] = None,
    generalised: Annotated[bool, typer.Option(help="also consider the seen classes")] = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Classify samples. Features must come from the extractor of the model's training features."""
    import torch

    from platform.capabilities import captions_of
    from platform.datasets.folder import Dataset
    from platform.datasets.text import ClassText, encode_names
    from platform.training.devices import device_of
    from platform.training.saved_models import load_model
    from platform.zeroshot.normaliser import Normaliser

    place = device_of(device)
    trained, record = load_model(model, place)
    if classes is not None:
        names = _new_classes(classes, trained.seen)
        text = ClassText(**record["problem"]["text"])
        folder = Path(record["problem"]["dataset"])
        semantics = encode_names(text.encoder, names, text, known=lambda: Dataset(folder))
        trained = trained.with_classes(names, torch.from_numpy(semantics))
    normaliser = Normaliser.from_record(record["normaliser"])
    x, files = _samples(samples, normaliser)
    x = normaliser(x).to(place)
    captions, of_file = captions_of(trained, x), "video" if normaliser.kind == "frames" else "picture"
    scores = trained.scores(x) if generalised else trained.unseen_scores(x)
    names = (*trained.seen, *trained.unseen) if generalised else trained.unseen
    probabilities, chosen = scores.softmax(dim=1).max(dim=1)
    for row, (probability, index) in enumerate(zip(probabilities.tolist(), chosen.tolist(), strict=True)):
        sample = {"row": row} | ({of_file: files[row]} if files else {})
        caption = {"caption": captions[row]} if captions else {}
        if as_json:
            cli.event("prediction", {**sample, "class": names[index], "probability": round(probability, 4), **caption})
        else:  # for other programs: rich would turn tabs into spaces
            told = [str(files[row] if files else row), names[index], f"{probability:.3f}", *caption.values()]
            print("\t".join(told))


def _new_classes(classes: str, seen: Sequence[str]) -> list[str]:
    """Names that differ from each other and from those of the seen classes, in more than how they are written."""
    names = [name.strip() for name in classes.split(",") if name.strip()]
    if len(names) < 2:
        raise InputError(f"--classes {classes!r}: give at least two names, separated by commas")
    trained_on, given = {_read(name): name for name in seen}, dict[str, str]()
    for name in names:
        if (same := _read(name)) in trained_on:
            raise InputError(
                f"--classes: the model was trained on `{trained_on[same]}`; with --generalised it is among the answers"
            )
        if same in given:
            raise InputError(f"--classes: `{given[same]}` and `{name}` are the same class; leave one of them out")
        given[same] = name
    return names


def _read(name: str) -> str:
    """A name as encoders of text read it: most pass over capitals, and names have underscores for spaces."""
    return " ".join(name.replace("_", " ").casefold().split())


def _samples(samples: Path, normaliser: "Normaliser") -> "tuple[Tensor | EncodedFrames, Sequence[str]]":
    """What the model scores, and the names of files, where samples are pictures or videos."""
    import torch

    if normaliser.kind == "frames":
        return _frames(samples, *normaliser.shape)
    if normaliser.kind == "pictures":
        return _pictures(samples, normaliser.shape[1], normaliser.exact)
    values, pictures = _values(samples, normaliser)
    x = torch.from_numpy(np.array(values, dtype=np.uint8 if normaliser.pixels else np.float32))
    if not normaliser.pixels and not (finite := x.isfinite().all(dim=1)).all():
        raise InputError(f"{samples}: row {int(finite.int().argmin())} holds NaN or infinity; it must be finite")
    return x, pictures


def _frames(source: Path, frames: int, side: int) -> "tuple[EncodedFrames, Sequence[str]]":
    """Videos, prepared as for training; unreadable ones are reported and left out."""
    from platform.datasets.readers.frames import read_frames
    from platform.datasets.readers.odd_files import OddFiles
    from platform.features.videos.decoding import SUFFIXES

    if not source.exists():
        raise InputError(f"{source}: no such video or folder")
    found = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    paths = [path for path in found if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise InputError(f"{source}: no video; expected one, or a folder of them: {', '.join(SUFFIXES)}")
    folder, odd = (source.parent if source.is_file() else source), OddFiles("videos")
    read = read_frames(folder, paths, frames, side, 0, odd)
    for note in odd.notes():
        cli.say(note)
    kept = [path.relative_to(folder).as_posix() for path, there in zip(paths, read.kept, strict=True) if there]
    return read.encoded.values, kept


def _values(samples: Path, normaliser: "Normaliser") -> tuple[np.ndarray, Sequence[str]]:
    """(N, D) features or pixels, and the names of files where they are pictures."""
    from platform.datasets.readers.arrays import load_npy

    width = len(normaliser.shift)
    if samples.suffix.lower() != ".npy":
        if not normaliser.pixels:
            raise InputError(f"{samples}: the model was trained on features; give them as a .npy file")
        pictures, names = _pictures(samples, math.isqrt(width // 3), exact=True)
        return pictures.decoded().flatten(1).numpy(), names
    values = load_npy(samples)
    if values.ndim != 2 or values.shape[1] != width:
        raise InputError(f"{samples}: shape {values.shape}, expected (samples, {width})")
    if values.dtype.kind not in "fiu":
        raise InputError(f"{samples}: holds {values.dtype}, expected numbers")
    if normaliser.pixels and values.dtype != np.uint8:
        raise InputError(f"{samples}: holds {values.dtype}; the model was trained on pixels, expected uint8")
    return values, ()


def _pictures(source: Path, side: int, exact: bool) -> "tuple[EncodedPictures, Sequence[str]]":
    """Pictures, prepared as for training; unreadable ones are reported and left out."""
    from platform.datasets.readers.odd_files import OddFiles
    from platform.datasets.readers.picture_files import SUFFIXES, list_pictures
    from platform.datasets.readers.pictures import read_pictures

    odd = OddFiles("pictures")
    if source.is_file() and source.suffix.lower() != ".zip":
        if source.suffix.lower() not in SUFFIXES:
            raise InputError(f"{source}: expected .zip, a folder, or a picture: {', '.join(SUFFIXES)}")
        source, names = source.parent, [source.name]
    else:
        names = list_pictures(source).names
    pictures = read_pictures(source, names, side, exact, 0, odd)
    for note in odd.notes():
        cli.say(note)
    return pictures.encoded.values, [name for name, kept in zip(names, pictures.kept, strict=True) if kept]


if __name__ == "__main__":
    cli.run(app, "platform.predict")
