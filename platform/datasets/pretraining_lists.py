"""The classes of the data that extractors are often trained on: published class lists, Kinetics-400 and ImageNet."""

from functools import cache

from platform.datasets.splits import published_class_lists

_SHARED_SAMPLES = ({"ntu60", "ntu120"},)  # NTU RGB+D 120 holds all samples of NTU RGB+D


def class_list_of(name: str) -> str | None:
    """The published class list of some data, however its name is spelled (`NTU-60`); None where none is built in."""
    return next((known for known in published_class_lists() if _letters(known) == _letters(name)), None)


@cache
def classes_of(name: str) -> tuple[str, ...] | None:
    """The class names of some data; None where they are not known here."""
    if (class_list := class_list_of(name)) is not None:
        return tuple(published_class_lists()[class_list]["classes"])
    if _letters(name) in ("kinetics", "kinetics400"):
        from torchvision.models.video import R3D_18_Weights  # here: it takes a second to import

        return tuple(R3D_18_Weights.KINETICS400_V1.meta["categories"])
    if _letters(name) in ("imagenet", "imagenet1k"):
        from torchvision.models import ResNet101_Weights

        return tuple(ResNet101_Weights.IMAGENET1K_V1.meta["categories"])
    return None


def same_samples(class_list: str | None, other: str) -> bool:
    """Whether data of a class list and other data hold the same recordings."""
    theirs = class_list_of(other)
    return theirs is not None and (class_list == theirs or {class_list, theirs} in _SHARED_SAMPLES)


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
