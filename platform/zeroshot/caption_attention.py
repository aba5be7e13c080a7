"""What the words of a caption attended to: places of a picture, and the words before."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class CaptionAttention:
    """Attention of one caption's T tokens, t of them chosen one after the other, T = t + 1.

    tokens: (T,), the first of which only begins the caption; image: (t, L), row i what was attended to of L visual
    tokens as tokens[i + 1] was chosen, rows · columns of which, the last, are the places of a picture, row by row from
    the upper left; text: (t, t), the same of the tokens before; grid: rows and columns; of: which attention it is, in
    words.
    """

    tokens: tuple[str, ...]
    image: Tensor
    text: Tensor
    grid: tuple[int, int]
    of: str

    def __post_init__(self) -> None:
        """Raises ValueError where shapes do not fit."""
        chosen, rows, columns = len(self.tokens) - 1, *self.grid
        if len(self.image) != chosen or self.text.shape != (chosen, chosen) or rows * columns > self.image.shape[1]:
            shapes = f"{tuple(self.image.shape)} and {tuple(self.text.shape)}"
            raise ValueError(f"attention of {shapes} for {chosen} chosen tokens and {rows} × {columns} places")

    @property
    def chosen(self) -> tuple[str, ...]:
        """(t,) the tokens that were chosen."""
        return self.tokens[1:]

    def places(self) -> Tensor:
        """(t, rows, columns) of the attention to the picture's places, without tokens that stand for no place."""
        rows, columns = self.grid
        return self.image[:, self.image.shape[1] - rows * columns :].unflatten(1, (rows, columns))

    def image_share(self) -> Tensor | None:
        """(t,) the part of each row that went to the visual tokens; None where image and text are not shared between.

        It is shared where one softmax is over both, as in GIT; in BLIP each has a softmax of its own.
        """
        image, text = self.image.sum(dim=1), self.text.sum(dim=1)
        return image if bool(((image + text - 1).abs() < 1e-2).all()) else None
