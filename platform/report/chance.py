"""What an accuracy is by chance, in words: it stands wherever an accuracy is shown."""


def chance_of(classes: int) -> str:
    """As in `5 classes, chance 20.0 %`: of an accuracy among so many classes, per class as per sample."""
    return f"{classes} class{'' if classes == 1 else 'es'}, chance {100 / classes:.1f} %"
