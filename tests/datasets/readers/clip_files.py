"""Small files in the formats of the raw skeleton data sets, one helper a layout, and bodies to put into them."""

import json
import pickle
import zipfile
from io import BytesIO

import numpy as np
from scipy.io import savemat


def body(frames=4, joints=25, seed=0, motion=1.0):
    """(T, joints, 3) of a body that trembles around a pose, the same for all."""
    pose = np.random.default_rng(0).normal(size=(joints, 3))
    tremble = np.random.default_rng(seed).normal(size=(frames, joints, 3))
    return (pose + motion * 0.1 * tremble).astype(np.float32)


def skeleton_text(tracks, frames):
    """A `.skeleton` file. tracks: (tracking id, first frame, (T, 25, 3)); an id may come twice."""
    lines = [str(frames)]
    for frame in range(frames):
        present = [(name, joints[frame - first]) for name, first, joints in tracks if 0 <= frame - first < len(joints)]
        lines.append(str(len(present)))
        for name, joints in present:
            lines += [f"{name} 0 1 1 1 1 0 0.01119184 -0.256052 2", "25"]
            lines += [" ".join([*map(str, joint), "281.2 191.4 1036.2 519.9 -0.2 0.1 0.9 -0.03 2"]) for joint in joints]
    return "\r\n".join(lines) + "\r\n"


def write_ntu(folder, clips, packed=False):
    """`.skeleton` files. clips: name to the text of a file, or to one body, (T, 25, 3)."""
    texts = {
        f"nturgb+d_skeletons/{name}.skeleton": clip
        if isinstance(clip, str)
        else skeleton_text([("72057594037944738", 0, clip)], len(clip))
        for name, clip in clips.items()
    }
    return write_members(folder, texts, packed)


def write_ucla(folder, clips, packed=False, **changes):
    """JSON files of NW-UCLA. clips: name to (T, 20, 3) in the order of the Kinect SDK; changes: keys set otherwise."""
    actions = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
    texts = {}
    for name, joints in clips.items():
        action = int(name[1:3])
        label = actions.index(action) + 1 if action in actions else 0
        content = {"file_name": name, "skeletons": np.asarray(joints).tolist(), "label": label} | changes
        texts[f"all_sqe/{name}.json"] = json.dumps(content)
    return write_members(folder, texts, packed)


def msr_text(joints):
    """A text file of MSR-Action3D. joints: (T, 20, 3) in its own order."""
    return "".join("{:e} {:e} {:e} 1\n".format(*joint) for frame in joints for joint in frame)


def write_msr(folder, clips, packed=False):
    """clips: name to the text of a file, or to (T, 20, 3)."""
    texts = {
        f"{name}_skeleton3D.txt": clip if isinstance(clip, str) else msr_text(clip) for name, clip in clips.items()
    }
    return write_members(folder, texts, packed)


def penn_mat(action="baseball_pitch", train=1, frames=3, **changes):
    """A label file of Penn Action; changes: variables set otherwise, or left out where None."""
    rng = np.random.default_rng(frames)
    content = {
        "action": action,
        "pose": "left",
        "x": 100 * rng.random((frames, 13)),
        "y": 100 * rng.random((frames, 13)),
        "visibility": rng.integers(0, 2, (frames, 13)).astype(np.uint8),
        "train": train,
        "nframes": frames,
    } | changes
    file = BytesIO()
    savemat(file, {key: value for key, value in content.items() if value is not None})
    return file.getvalue()


def write_penn(folder, clips, packed=False):
    """clips: name to the bytes of a file."""
    return write_members(folder, {f"labels/{name}.mat": content for name, content in clips.items()}, packed)


def annotation(name, label, joints, **more):
    """A clip of a pyskl pickle. joints: (T, bodies, joints, axes)."""
    keypoint = np.ascontiguousarray(joints.transpose(1, 0, 2, 3))
    return {"frame_dir": name, "label": label, "keypoint": keypoint, "total_frames": keypoint.shape[1], **more}


def write_pyskl(path, annotations, split, protocol=4):
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}, protocol))
    return path


def write_members(folder, members, packed):
    """The files below `folder`, or in a zip archive of that name."""
    contents = {name: c.encode() if isinstance(c, str) else c for name, c in members.items()}
    if packed:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return folder.with_suffix(".zip")
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
