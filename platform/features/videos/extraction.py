"""I3D features of all videos below a folder: one file a video, so that a run that was killed goes on from there."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError
from platform.features.videos.decoding import CROP, RATE, SHORTER_SIDE, SUFFIXES, Unreadable
from platform.features.videos.extra import needed
from platform.features.videos.flow import flow_method
from platform.features.videos.i3d import I3D, POOLED, outputs, pooled, read_i3d
from platform.features.videos.inputs import SHORTEST, Stream, network_inputs
from platform.files import held, whole, write_json
from platform.training.devices import device_of

RECORD, UNREADABLE = "i3d.json", "unreadable.txt"
_CHANNELS: Mapping[Stream, int] = {"rgb": 3, "flow": 2}
_OPTIONS: Mapping[Stream, str] = {"rgb": "--rgb", "flow": "--flow-weights"}
_KINETICS = TrainedOn(classes="none", other=("Kinetics-400",), source="the weights' logits layer has its 400 classes")
_MOST_BLOCKS = 2000  # of Ray Data: more cost more to keep than they win in evenness

Report = Callable[[str, str | None, int, int], None]  # a video, why it is unreadable or None, how many are done, of all


class Extraction(BaseModel):
    """The options of an extraction. Weights may have any file name; they are identified by content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    rgb: Path | None = Field(None, description="weights of the RGB network")
    flow_weights: Path | None = Field(None, description="weights of the flow network")
    flow: str = Field("none", description="tvl1, farneback or none")
    frames: int = Field(250, ge=SHORTEST, description="most frames, from the centre of the video")
    device: str = "auto"

    def weights(self) -> dict[Stream, Path]:
        """Of the streams that there are, RGB first."""
        given: dict[Stream, Path | None] = {"rgb": self.rgb, "flow": self.flow_weights}
        return {stream: path for stream, path in given.items() if path is not None}

    def dimension(self) -> int:
        """Of a video's feature vector."""
        return POOLED * len(self.weights())

    def trained_on(self) -> TrainedOn:
        """What the weights were made from, told from their logits layers; unknown without these."""
        counts = {outputs(path, _OPTIONS[stream]) for stream, path in self.weights().items()}
        return _KINETICS if counts == {400} else UNKNOWN

    def record(self) -> dict[str, Any]:
        """Everything that the features depend on, to be recorded in their folder."""
        return {
            "network": "Inception-I3D, Mixed_5c, mean over time, pooled by four in space",
            "folder": str(self.folder),
            "weights": {
                stream: {"file": path.name, "sha256": _sha256(path)} for stream, path in self.weights().items()
            },
            "flow": self.flow,
            "frames": self.frames,
            "rate": RATE,
            "shorter_side": SHORTER_SIDE,
            "crop": CROP,
            "dimension": self.dimension(),
        }


@dataclass(frozen=True)
class Extracted:
    """The videos whose features stand in the folder, in sorted order, and those that could not be read, with why."""

    out: Path
    videos: Sequence[str]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    def features(self) -> np.ndarray:
        """(N, D) float32, a row a video."""
        return np.stack([np.load(feature_path(self.out, video), allow_pickle=False) for video in self.videos])


def find_videos(folder: Path) -> list[str]:
    """Paths of the videos below a folder, relative to it, with slashes, sorted. Raises InputError where there are none.

    UCF101 and HMDB51 come as class/video.avi.
    """
    if not folder.is_dir():
        raise InputError(f"FOLDER {folder}: no such folder")
    named = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    found = [path for path in named if path.is_file()]
    if not found:
        raise InputError(f"FOLDER {folder}: no video stands below it; expected files that end in {', '.join(SUFFIXES)}")
    return sorted(path.relative_to(folder).as_posix() for path in found)


def feature_path(out: Path, video: str) -> Path:
    """Where the features of a video stand."""
    return out / f"{video}.npy"


def check(extraction: Extraction, out: Path) -> dict[str, Any]:
    """The record that is to stand in `out`. Raises InputError for what would be refused."""
    if not extraction.weights():
        raise InputError("give --rgb WEIGHTS, --flow-weights WEIGHTS, or both: the released weights of I3D")
    if extraction.flow_weights is None and extraction.flow != "none":
        raise InputError(f"--flow {extraction.flow}: needs --flow-weights WEIGHTS, the flow network's")
    if extraction.flow_weights is not None and extraction.flow == "none":
        raise InputError("--flow none: --flow-weights needs a flow; give tvl1 or farneback, or leave the weights out")
    needed("av")
    if extraction.flow != "none":
        flow_method(extraction.flow)
    device_of(extraction.device)
    for stream, path in extraction.weights().items():
        read_i3d(path, _CHANNELS[stream], _OPTIONS[stream])
    record = extraction.record()
    if (out / RECORD).exists():
        _check_same(json.loads((out / RECORD).read_bytes()), record, out)
    elif out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise InputError(f"OUT {out}: is no folder of features (it has no {RECORD}); choose another, or an empty one")
    return record


def extract(
    extraction: Extraction,
    out: Path,
    workers: int = 0,
    gpus: float = 0.0,
    report: Report | None = None,
) -> Extracted:
    """Extract every video, or resume with those whose features are not in `out` yet.

    workers: of Ray Data, which must be connected; 0 for this process alone. gpus: of each worker. The folders must be
    ones that all workers reach. What cannot be read is listed in `unreadable.txt` and tried again by the next run.
    Raises InputError as `check` and `find_videos` do, and where the disk is full.
    """
    videos = find_videos(extraction.folder)
    record = check(extraction, out)
    with _writable(out):
        out.mkdir(parents=True, exist_ok=True)
    with held(out):
        write_json(out / RECORD, record)
        left = [video for video in videos if not feature_path(out, video).exists()]
        done, unreadable = len(videos) - len(left), {}
        for video, reason in _done_one_by_one(extraction, out, left, workers, gpus):
            done += 1
            if reason is not None:
                unreadable[video] = reason
            if report is not None:
                report(video, reason, done, len(videos))
        unreadable = dict(sorted(unreadable.items()))
        _list_unreadable(out / UNREADABLE, unreadable)
    return Extracted(out, [video for video in videos if video not in unreadable], unreadable, record)


def _done_one_by_one(
    extraction: Extraction, out: Path, left: Sequence[str], workers: int, gpus: float
) -> Iterator[tuple[str, str | None]]:
    """The videos as they are done, with why they could not be read."""
    if not left:
        return
    given = {"extraction": extraction.model_dump_json(), "out": str(out.resolve())}
    if workers == 0:
        extracting = _Extracting(**given)
        for video in left:
            yield video, extracting.extract(video)
        return
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the verb shows its own
    blocks = ray.data.from_items([{"video": video} for video in left], override_num_blocks=min(len(left), _MOST_BLOCKS))
    done = blocks.map_batches(
        _Extracting,
        fn_constructor_kwargs=given | {"alone": False},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        **({"num_gpus": gpus} if gpus else {}),
    )
    for batch in done.iter_batches(batch_size=None):
        for video, reason, fault in zip(*(batch[n].tolist() for n in ("video", "reason", "fault")), strict=True):
            if fault:
                raise InputError(fault)
            yield video, reason or None


class _Extracting:
    """A worker: it decodes videos, puts them through the networks and writes their features."""

    def __init__(self, extraction: str, out: str, alone: bool = True) -> None:
        self.extraction, self.out = Extraction.model_validate_json(extraction), Path(out)
        self.device = device_of(self.extraction.device)
        self.networks: dict[Stream, I3D] = {
            stream: read_i3d(path, _CHANNELS[stream], _OPTIONS[stream]).to(self.device)
            for stream, path in self.extraction.weights().items()
        }
        self.flow = None if self.extraction.flow == "none" else flow_method(self.extraction.flow)
        if self.flow is not None and not alone:
            needed("cv2").setNumThreads(1)  # the workers are as many as the CPUs already

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{"video": (n,) paths} to the same, with why each cannot be read and what the user has to mend, "" or a line.

        An InputError is handed over as its text: raised here, it would reach the user as Ray's own error.
        """
        reasons, faults = [], []
        for video in batch["video"].tolist():
            reason = fault = None
            try:
                reason = self.extract(video)
            except InputError as error:
                fault = str(error)
            reasons.append(reason or "")
            faults.append(fault or "")
        return {"video": batch["video"], "reason": np.array(reasons), "fault": np.array(faults)}

    def extract(self, video: str) -> str | None:
        """Write a video's features. Returns why it cannot be read, or None."""
        try:
            inputs = network_inputs(
                self.extraction.folder / video, self.extraction.frames, "rgb" in self.networks, self.flow
            )
        except Unreadable as error:
            return str(error)
        with torch.inference_mode():
            found = [pooled(network.features(inputs[s].to(self.device))) for s, network in self.networks.items()]
        path, features = feature_path(self.out, video), torch.cat(found, dim=1)[0].float().cpu().numpy()
        with _writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as partial, partial.open("wb") as file:
                np.save(file, features, allow_pickle=False)
        return None


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"OUT {path}: cannot be written ({error.strerror or error}); mend that, and give the same command again"
        ) from error


def _list_unreadable(path: Path, unreadable: Mapping[str, str]) -> None:
    with _writable(path):
        if unreadable:
            path.write_text("".join(f"{video}: {reason}\n" for video, reason in unreadable.items()), encoding="utf-8")
        else:
            path.unlink(missing_ok=True)


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    for name in sorted(set(before) | set(now)):
        if before.get(name) != now.get(name):
            raise InputError(
                f"OUT {out}: was begun with {name} {_said(before.get(name))}, not {_said(now.get(name))}; go on with "
                f"the same, or choose another folder"
            )


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{s}: {w['file']} ({w['sha256'][:12]})" for s, w in value.items())
    return str(value)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
