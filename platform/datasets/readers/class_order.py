"""Classes of data whose names, and not their labels, say which class of a published list they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from platform.datasets.class_spelling import LISTS_BY_NAME, published_positions
from platform.datasets.contents import ClassSplit, Contents
from platform.datasets.splits import published_class_lists
from platform.datasets.trained_on import TrainedOn


def follows_list_order(names: Sequence[str], class_list: str | None) -> bool:
    """Whether the classes stand as the list has them. Raises InputError where a name is none of the list's."""
    if class_list not in LISTS_BY_NAME:
        return True
    return published_positions(names, class_list) == list(range(len(names)))


def in_published_order(contents: Contents) -> Contents:
    """The same data with the classes in the order and the spelling of their class list, labels and all.

    Only for the lists that are matched by name; the others' classes follow their labels.
    """
    if contents.class_list not in LISTS_BY_NAME:
        return contents
    names = [c.name for c in contents.classes]
    known = published_class_lists()[contents.class_list]["classes"]
    if names == known:
        return contents
    places = published_positions(names, contents.class_list)
    ordered = _ordered(contents, places, known)
    if places == sorted(places):
        return ordered
    note = f"classes brought into the order of the class list `{contents.class_list}`, which their labels had not"
    return replace(ordered, notes=[*contents.notes, note])


def _ordered(contents: Contents, places: Sequence[int], known: Sequence[str]) -> Contents:
    """places: (C,) the new index of each class."""
    order = np.argsort(places)
    names = {c.name: known[place] for c, place in zip(contents.classes, places, strict=True)}
    return replace(
        contents,
        classes=[contents.classes[i].model_copy(update={"name": known[places[i]]}) for i in order],
        labels=np.asarray(places)[contents.labels],
        embeddings={name: values[order] for name, values in contents.embeddings.items()},
        features={
            n: replace(f, trained_on=_renamed_classes(f.trained_on, names)) for n, f in contents.features.items()
        },
        logits=None if contents.logits is None else contents.logits[:, order],
        logits_trained_on=_renamed_classes(contents.logits_trained_on, names),
        splits={name: _renamed(split, names) for name, split in contents.splits.items()},
        validation=contents.validation and _ordered(contents.validation, places, known),
    )


def _renamed(split: ClassSplit, names: Mapping[str, str]) -> ClassSplit:
    folds = [[names[n] for n in fold] for fold in split.pseudo_unseen]
    return split.model_copy(update={"unseen": [names[n] for n in split.unseen], "pseudo_unseen": folds})


def _renamed_classes(trained_on: TrainedOn, names: Mapping[str, str]) -> TrainedOn:
    if not trained_on.class_names:
        return trained_on
    return trained_on.of_classes(names[name] for name in trained_on.class_names)
