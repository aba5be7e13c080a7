"""What a model that describes samples said of the test samples, as a table to read."""

import csv
from pathlib import Path

from platform.capabilities import captions_of
from platform.files import whole, writing
from platform.method import Model
from platform.zeroshot.task import Samples

CAPTIONS_FILE = "captions.csv"  # in a model's folder


def write_captions(path: Path, model: Model, samples: Samples) -> None:
    """Write each test sample's number, caption and class, and the class that it was taken for, as CSV.

    Models that are tested on the same samples number them alike. A sample of an unseen class is decided among these,
    one of a seen class among all. Nothing is written for a model without captions. Raises NotWritable where the folder
    cannot be written to.
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
        writer.writerow(["sample", "caption", "class", "predicted", "seen"])  # MLflow compares the second
        told = zip(samples.labels.tolist(), among_all, among_unseen, captions, strict=True)
        ids = samples.ids or range(len(captions))
        for sample, (label, *predicted, caption) in zip(ids, told, strict=True):
            writer.writerow([sample, caption, names[label], names[predicted[label >= seen]], label < seen])
