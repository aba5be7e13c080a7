"""The chance level in words, for every place where an accuracy is shown."""


def chance_of(classes: int) -> str:
    """`5 classes, chance 20.0 %`: for accuracies per class and per sample."""
    return f"{classes} class{'' if classes == 1 else 'es'}, chance {100 / classes:.1f} %"
