"""What an extractor was trained on, as the card keeps it for each feature set and for the logits."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

Names = tuple[str, ...] | Literal["none", "unknown"]


class TrainedOn(BaseModel):
    """The data that an extractor has learned from.

    classes: names of this data set's classes on whose samples it was trained; other: other data sets that it was
    trained on, by their class list (`ntu60`) or by name (`Kinetics-400`); source: how one knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Names = "unknown"
    other: Names = "unknown"
    source: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes` as far as they are known."""
        return () if isinstance(self.classes, str) else self.classes

    @property
    def other_names(self) -> tuple[str, ...]:
        """`other` as far as it is known."""
        return () if isinstance(self.other, str) else self.other

    def of_classes(self, classes: Iterable[str]) -> "TrainedOn":
        """The same with these classes; `none` where there are none."""
        return self.model_copy(update={"classes": tuple(classes) or "none"})

    def described(self) -> str:
        """In a few words, as `none of these classes, ntu60`."""
        if self.classes == self.other == "unknown":
            return "unknown"
        own = {"none": "none of these classes", "unknown": "unknown which of these classes"}
        other = {"none": "no other data", "unknown": "unknown which other data"}
        classes = f"{len(self.class_names)} of these classes" if self.class_names else own[str(self.classes)]
        return f"{classes}, {' and '.join(self.other_names) if self.other_names else other[str(self.other)]}"


UNKNOWN = TrainedOn()
NOT_TRAINED = TrainedOn(classes="none", other="none", source="computed from the sample, without training")
