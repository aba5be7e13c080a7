"""`python -m platform.features videos`: I3D features of a folder of videos, and a data folder of them."""

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress

from platform import cli, options
from platform.errors import InputError
from platform.groups import Expected, grouped

if TYPE_CHECKING:  # PyTorch stands behind it, and the verb's help should not wait for it
    from platform.datasets.trained_on import TrainedOn
    from platform.features.videos.extraction import Extracted, Extraction, Report

_SHOWN = 5  # unreadable videos; the others stand in the list


@dataclass(frozen=True)
class FeatureOptions:
    """The networks, and the frames that they are given."""

    rgb: Annotated[Path | None, typer.Option(help="I3D weights for RGB, .pt or .safetensors")] = None
    flow_weights: Annotated[Path | None, typer.Option(help="I3D weights for optical flow")] = None
    flow: Annotated[
        Literal["tvl1", "farneback", "none"] | None,
        typer.Option(help="tvl1, farneback or none; tvl1 if absent and --flow-weights is given"),
        Expected("tvl1, farneback or none"),
    ] = None
    frames: Annotated[int, typer.Option(min=16, help="most frames of a video, at 25 a second, from its centre")] = 250
    pretrained_on: options.PretrainedOn = None

    def asked(self, folder: Path, device: str) -> "Extraction":
        """Options of the extraction from a folder of videos."""
        from platform.features.videos.extraction import Extraction

        return Extraction(
            folder=folder.resolve(),
            rgb=self.rgb and self.rgb.resolve(),
            flow_weights=self.flow_weights and self.flow_weights.resolve(),
            flow=self.flow or ("none" if self.flow_weights is None else "tvl1"),
            frames=self.frames,
            device=device,
        )


@dataclass(frozen=True)
class DataFolderOptions:
    """Options of the data folder that is written, if any."""

    data_folder: Annotated[
        Path | None, typer.Option(help="also write a data folder with these features; must not exist")
    ] = None
    partition: Annotated[
        Path | None, typer.Option(help="text file of the training videos, CLASS/VIDEO a line; drawn if absent")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="seed of the drawn partition")] = 0

    def training(self, found: list[str]) -> frozenset[str] | None:
        """The listed training videos. Raises InputError early for what would be refused at the end."""
        if self.data_folder is None:
            if self.partition is not None:
                raise InputError(f"--partition {self.partition}: goes with --data-folder DIR")
            return None
        from platform.features.videos.data_folder import check_folders, read_training_list

        if self.data_folder.exists():
            raise InputError(f"--data-folder {self.data_folder}: exists already; choose another folder or remove it")
        check_folders(found)
        return None if self.partition is None else read_training_list(self.partition, frozenset(found))


@dataclass(frozen=True)
class VideosPlace:
    """Where features are extracted, and by how many workers."""

    device: options.Device = "auto"
    address: options.Address = None
    workers: Annotated[
        int | None, typer.Option(min=0, help="workers of Ray Data; default: one per CPU; 0: this process, without Ray")
    ] = None


@grouped
def videos(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="of videos: CLASS/VIDEO, as of UCF101")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="one .npy a video; a stopped run goes on there")],
    features: FeatureOptions,
    written: DataFolderOptions,
    place: VideosPlace,
    as_json: options.Json = False,
) -> None:
    """Extract I3D features (CLASTER's 8192: RGB and flow) of every video below FOLDER."""
    from platform.features.videos.extraction import check, extract, find_videos

    extraction, data_folder = features.asked(folder, place.device), written.data_folder
    found = find_videos(extraction.folder)
    training = written.training(found)
    if features.pretrained_on is not None and data_folder is None:
        raise InputError(f"--pretrained-on {features.pretrained_on}: is for the card of --data-folder DIR")
    check(extraction, out)
    made_from = _trained_on(extraction, features.pretrained_on)
    try:
        workers, gpus = _workers(place)
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

        dataset = write_videos(extracted, data_folder, extraction.folder.name, training, written.seed, made_from).folder
    if as_json:
        counts = {"videos": len(extracted.videos), "unreadable": len(extracted.unreadable)}
        cli.event("written", {"folder": out, "features": extraction.dimension(), **counts, "data_folder": dataset})
    else:
        _say(extraction, extracted, dataset)


def _trained_on(extraction: "Extraction", pretrained_on: str | None) -> "TrainedOn":
    from platform.datasets.readers.trained_on_options import as_said
    from platform.datasets.trained_on import TrainedOn

    if pretrained_on is None:
        return extraction.trained_on()
    start = TrainedOn(classes="unknown" if pretrained_on == "unknown" else "none")
    return as_said(start, None, pretrained_on, ())


def _workers(place: VideosPlace) -> tuple[int, float]:
    """Workers of Ray Data, which is connected where there are any, and the share of a GPU that each gets.

    Decoding and flow want a CPU for much longer than the networks want the GPU, so several workers share one.
    """
    if place.workers == 0:
        return 0, 0.0
    from platform import runtime

    runtime.connect(place.address)
    cpus, gpus = (int(count) for count in runtime.resources())
    workers = place.workers or max(1, cpus)
    if workers > cpus:
        raise InputError(f"--workers {workers}: there are {cpus} CPUs, and each worker needs one")
    if not gpus or place.device == "cpu":
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
    cli.line(f"{extracted.out}: {extraction.dimension()} features ({streams}) of {len(extracted.videos):,} videos")
    for video, reason in list(extracted.unreadable.items())[:_SHOWN]:
        cli.line(f"left out: {video}: {reason}")
    if len(extracted.unreadable) > _SHOWN:
        cli.line(f"left out: {len(extracted.unreadable):,} in all, listed in {extracted.out / UNREADABLE}")
    if dataset is not None:
        from platform.features.videos.data_folder import FEATURE_SET

        chosen = f"--split random:UNSEEN:SEED --features {FEATURE_SET}"
        cli.line(f"Next: python -m platform.train METHOD --dataset {dataset} {chosen}")
