"""`python -m platform.features videos`: I3D features of a folder of videos, and a data folder of them."""

# ruff: noqa: RUF013 (the options' types stand in platform/options.py)

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from platform import cli, options
from platform.errors import InputError

if TYPE_CHECKING:  # PyTorch stands behind it, and the verb's help should not wait for it
    from platform.datasets.trained_on import TrainedOn
    from platform.features.videos.extraction import Extracted, Extraction, Report

_SHOWN = 5  # unreadable videos; the others stand in the list


def videos(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="of videos: CLASS/VIDEO, as of UCF101")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="one .npy a video; a stopped run goes on there")],
    rgb: Annotated[Path | None, typer.Option(help="I3D weights for RGB, .pt or .safetensors")] = None,
    flow_weights: Annotated[Path | None, typer.Option(help="I3D weights for optical flow")] = None,
    pretrained_on: options.PretrainedOn = None,
    flow: Annotated[
        str | None, typer.Option(help="tvl1, farneback or none; tvl1 if absent and --flow-weights is given")
    ] = None,
    frames: Annotated[int, typer.Option(min=16, help="at most, at 25 a second, from the centre of a video")] = 250,
    data_folder: Annotated[
        Path | None, typer.Option(help="also write a data folder with these features; must not exist")
    ] = None,
    partition: Annotated[
        Path | None, typer.Option(help="text file of the training videos, CLASS/VIDEO a line; drawn if absent")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the drawn partition")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=0, help="of Ray Data; a CPU each if absent; 0: this process, without Ray")
    ] = None,
    device: options.Device = "auto",
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Extract I3D features (CLASTER's 8192: RGB and flow) of every video below FOLDER."""
    from platform.features.videos.extraction import Extraction, check, extract, find_videos

    if flow is None:
        flow = "none" if flow_weights is None else "tvl1"
    extraction = Extraction(
        folder=folder.resolve(),
        rgb=rgb and rgb.resolve(),
        flow_weights=flow_weights and flow_weights.resolve(),
        flow=flow,
        frames=frames,
        device=device,
    )
    found = find_videos(extraction.folder)
    training = _training(found, data_folder, partition)
    if pretrained_on is not None and data_folder is None:
        raise InputError(f"--pretrained-on {pretrained_on}: is for the card of --data-folder DIR")
    check(extraction, out)
    made_from = _trained_on(extraction, pretrained_on)
    try:
        workers, gpus = _workers(workers, address, device)
        if as_json:
            extracted = extract(extraction, out, workers, gpus, _events)
        else:
            with Progress(console=cli.console, transient=True) as progress:
                extracted = extract(extraction, out, workers, gpus, _bar(progress))
    except KeyboardInterrupt:
        cli.stopped(f"the same command, python -m platform.features {shlex.join(sys.argv[1:])}")
    dataset = None
    if data_folder is not None:
        from platform.features.videos.data_folder import write_videos

        dataset = write_videos(extracted, data_folder, extraction.folder.name, training, seed, made_from).folder
    if as_json:
        counts = {"videos": len(extracted.videos), "unreadable": len(extracted.unreadable)}
        cli.event("written", {"folder": out, "features": extraction.dimension(), **counts, "data_folder": dataset})
    else:
        _say(extraction, extracted, dataset)


def _training(found: list[str], data_folder: Path | None, partition: Path | None) -> frozenset[str] | None:
    """The listed training videos. Raises InputError for what would be refused once all videos are done."""
    if data_folder is None:
        if partition is not None:
            raise InputError(f"--partition {partition}: goes with --data-folder DIR")
        return None
    from platform.features.videos.data_folder import check_folders, read_training_list

    if data_folder.exists():
        raise InputError(f"--data-folder {data_folder}: exists already; choose another folder or remove it")
    check_folders(found)
    return None if partition is None else read_training_list(partition, frozenset(found))


def _trained_on(extraction: "Extraction", pretrained_on: str | None) -> "TrainedOn":
    from platform.datasets.readers.trained_on_options import as_said
    from platform.datasets.trained_on import TrainedOn

    if pretrained_on is None:
        return extraction.trained_on()
    start = TrainedOn(classes="unknown" if pretrained_on == "unknown" else "none")
    return as_said(start, None, pretrained_on, ())


def _workers(asked: int | None, address: str | None, device: str) -> tuple[int, float]:
    """Workers of Ray Data, which is connected where there are any, and the share of a GPU that each gets.

    Decoding and flow want a CPU for much longer than the networks want the GPU, so several workers share one.
    """
    if asked == 0:
        return 0, 0.0
    from platform import runtime

    runtime.connect(address)
    cpus, gpus = (int(count) for count in runtime.resources())
    workers = asked or max(1, cpus)
    if workers > cpus:
        raise InputError(f"--workers {workers}: there are {cpus} CPUs, and each worker needs one")
    if not gpus or device == "cpu":
        return workers, 0.0
    return workers, math.floor(1e4 / math.ceil(workers / gpus)) / 1e4  # Ray counts in ten-thousandths


def _events(video: str, reason: str | None, done: int, total: int) -> None:
    if reason is not None:
        cli.event("unreadable", {"video": video, "reason": reason})
    cli.event("video", {"video": video, "videos": done, "of": total})


def _bar(progress: Progress) -> "Report":
    bars = []

    def report(video: str, reason: str | None, done: int, total: int) -> None:
        if not bars:
            bars.append(progress.add_task("videos", total=total))
        progress.update(bars[0], completed=done)

    return report


def _say(extraction: "Extraction", extracted: "Extracted", dataset: Path | None) -> None:
    from platform.features.videos.extraction import UNREADABLE

    streams = " and ".join(extraction.weights())
    _line(f"{extracted.out}: {extraction.dimension()} features ({streams}) of {len(extracted.videos):,} videos")
    for video, reason in list(extracted.unreadable.items())[:_SHOWN]:
        _line(f"left out: {video}: {reason}")
    if len(extracted.unreadable) > _SHOWN:
        _line(f"left out: {len(extracted.unreadable):,} in all, listed in {extracted.out / UNREADABLE}")
    if dataset is not None:
        from platform.features.videos.data_folder import FEATURE_SET

        chosen = f"--split random:UNSEEN:SEED --features {FEATURE_SET}"
        _line(f"Next: python -m platform.train METHOD --dataset {dataset} {chosen}")


def _line(text: str) -> None:
    cli.console.print(text, soft_wrap=True, markup=False, highlight=False)
