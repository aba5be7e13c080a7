"""Real videos, cut into pieces, through import, training, prediction and comparison, with models that know nothing."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from made_videos import write_video
from verbs import invoked

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[3] / ".." / "shared" / "data")).resolve() / "clips"
# what a video's parts are taken for: classes, of five pieces each
PARTS = {
    "demo.mp4": ("arm wrestling", "shaking hands"),
    "part_0.mp4": ("playing outside",),
    "test.mp4": ("making a cake", "eating a cake"),
}

av = pytest.importorskip("av")
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not all((DATA / name).exists() for name in PARTS), reason=f"no videos in UNSEEN_DATA ({DATA})"),
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of CLASS/VIDEO.mp4."""
    folder = tmp_path_factory.mktemp("videos")
    for name, classes in PARTS.items():
        with av.open(str(DATA / name)) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        for part, own in zip(np.array_split(frames, len(classes)), classes, strict=True):
            for number, piece in enumerate(np.array_split(part, 5)):
                write_video(folder / own / f"{number}.mp4", piece)
    return folder


def test_real_clips_are_imported_captioned_predicted_and_drawn(videos, models, tmp_path):
    def run(*arguments):
        code, output, errors = invoked(*arguments)
        assert code == 0, errors
        return output

    run("data", "import", "videos", videos, tmp_path / "data", "--frames", "2", "--size", "32")
    (tmp_path / "corpus.txt").write_text("a man kicks the ball\na woman throws a ball in the snow\n")
    values = {
        "captioner": models("git"),
        "clip": models("clip"),
        "language_model": models("bert"),
        "corpus": tmp_path / "corpus.txt",
        "rest_epochs": 1,
        "epochs": 2,
        "batch_size": 4,
        "beams": 2,
        "max_tokens": 8,
    }
    asked = [argument for name, value in values.items() for argument in ("--set", f"{name}={value}")]
    runs = tmp_path / "runs"
    run(
        *("train", "methods.regen", "--dataset", tmp_path / "data", "--split", "random:2:0", *asked),
        *("--folds", "1", "--protocol", "clean", "--runs", runs),
    )
    (model,) = runs.glob("*/models/0-clean")
    with (model / "captions.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert {row["class"] for row in told} == {name for names in PARTS.values() for name in names}
    assert any(row["caption"] for row in told)
    predicted = run("predict", model, DATA / "demo.mp4", "--classes", "juggling, playing chess")
    assert "juggling" in predicted or "playing chess" in predicted
    run("compare", "--runs", runs)
    (page,) = runs.glob("compare-*/page.html")
    assert "captions of clips of unseen classes" in page.read_text(encoding="utf-8").lower()
