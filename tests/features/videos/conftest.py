import pytest
from made_videos import moving, write_video
from made_weights import write_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Files of random weights: rgb.pt and flow.pt."""
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder / "rgb.pt", 3)
    write_weights(folder / "flow.pt", 2, seed=1)
    return folder


@pytest.fixture(scope="session")
def few_videos(tmp_path_factory):
    """Three short videos of two classes that no test changes, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos") / "few"
    write_video(folder / "clap" / "v_1.avi", moving(3, height=64, width=64))
    write_video(folder / "clap" / "v_2.mp4", moving(4, height=64, width=64, speed=-1))
    write_video(folder / "wave hands" / "v_1.AVI", moving(3, height=64, width=80, speed=3))
    (folder / "wave hands" / "broken.mp4").write_text("no video\n")
    (folder / "notes.txt").write_text("no video either\n")
    return folder
