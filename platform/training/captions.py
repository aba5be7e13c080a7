"""What a model that describes samples said of the test samples, as a table to read."""

import csv
from pathlib import Path

from platform.capabilities import captions_of
from platform.files import whole, writing
from platform.method import Model
from platform.zeroshot.task import Samples


def write_captions(path: Path, model: Model, samples: Samples) -> None:
    """Write each test sample's class, the class that it was taken for, and its caption, as CSV.

    A sample of an unseen class is decided among these, one of a seen class among all. Nothing is written for a model
    without captions. Raises NotWritable where the folder cannot be written to.
    """
    samples = samples.to("cpu")
    captions = captions_of(model, samples.features)
    if captions is None:
        return
    names, seen = (*model.seen, *model.unseen), len(model.seen)
    among_all = model.scores(samples.features).argmax(dim=1).tolist()
    among_unseen = (seen + model.unseen_scores(samples.features).argmax(dim=1)).tolist()
    with writing(path.parent), whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "seen", "predicted", "caption"])
        for label, *predicted, caption in zip(samples.labels.tolist(), among_all, among_unseen, captions, strict=True):
            writer.writerow([names[label], label < seen, names[predicted[label >= seen]], caption])
