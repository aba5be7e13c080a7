"""What an accuracy must be compared with before anything else."""


def chance_of(classes: int) -> str:
    """How many classes there are to choose from, and the accuracy of guessing: `5 classes, chance 20.0 %`."""
    return f"{classes} {'class' if classes == 1 else 'classes'}, chance {100 / classes:.1f} %"
