"""The world's clips as a data folder, of which methods learn as of any other. SIMULATED, and its card says so."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.regen_world.world import World
from platform.datasets.contents import FeatureArray
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.folder import write_dataset
from platform.datasets.frames_file import FramesWriter
from platform.datasets.simulator.captioned_folder import contents_of
from platform.datasets.trained_on import NOT_TRAINED


def data_folder(made: World) -> Path:
    """The folder `data` of a world, written where it is not there yet."""
    path = made.folder / "data"
    if not path.exists():
        clips, file = made.clips, io.BytesIO()
        with FramesWriter(file, clips.frames.shape[1], clips.frames.shape[-1]) as writer:
            for clip in clips.frames:
                writer.add([_jpeg(frame) for frame in clip])
        encoded = EncodedFrames.of_buffer(pa.py_buffer(file.getvalue()))
        frames = FeatureArray(encoded, "simulated clips, JPEG quality 95", kind="frames", trained_on=NOT_TRAINED)
        write_dataset(contents_of(clips, {"frames": frames}), path)
    return path


def _jpeg(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame.transpose(1, 2, 0)).save(file, "JPEG", quality=95)
    return file.getvalue()
