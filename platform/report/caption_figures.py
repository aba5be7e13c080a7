"""ReGen's figures of what models say of clips, several models side by side: words a class, captions, attention."""

from collections.abc import Mapping, Sequence
from textwrap import shorten, wrap

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from platform.report.describing import DescribedClip
from platform.report.style import STYLE, WIDTH, colour_of
from platform.zeroshot.caption_attention import CaptionAttention

_MORE, _FEWER = "#C0392B", "#222222"  # as the paper's Fig. 2: red, black
_SMALL = 7  # points, of what is read beside pictures
_LINE = 0.135  # inches of a line of such letters
_LONGEST = 220  # letters of a caption that are shown
_NAME = 92  # letters of a line of a model's name
_ACROSS = 10  # frames side by side, a word's attention over each
_MOST_NAMED = 26  # tokens whose columns are named too
_GAP, _LABELS = 0.12, 0.8  # inches, between matrices and of their rows' tokens
_MAP = "viridis"  # of attention
_UNBROKEN = "\N{NO-BREAK SPACE}"


def unique_words_figure(counts: Mapping[str, Mapping[str, int]], against: str | None = None) -> Figure:
    """Bars of the unique words in each class's captions, a colour a model, and their change (ReGen, Fig. 2).

    counts: by model and class; against: the model from which the change is counted, in percent; without one it is not
    drawn. As the paper has it, the change of a single model is red where there are more words and black where fewer.
    """
    names = list(dict.fromkeys(name for own in counts.values() for name in own))
    others = [model for model in counts if model != against] if against else []
    with matplotlib.rc_context(STYLE):
        height = 1.2 + 0.16 * len(counts) + len(names) * max(0.25, 0.09 * len(counts))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        sides = figure.subplots(1, 2 if others else 1, sharey=True, squeeze=False)[0]
        for number, (model, own) in enumerate(counts.items()):
            mean = sum(own.values()) / len(own)
            label = f"{model}: {mean:.1f} words a class"
            label += ", from which the change counts" if others and model == against else ""
            label = "\n".join(wrap(label, _NAME))
            _bars(sides[0], names, own, number, len(counts), color=colour_of(number), label=label)
        sides[0].set_yticks(range(len(names)), names)
        sides[0].set_xlabel("unique words")
        for number, model in enumerate(others):
            base = counts[against]
            change = {name: 100 * (n / base[name] - 1) for name, n in counts[model].items() if base.get(name)}
            alone = [_MORE if value > 0 else _FEWER for name in names if (value := change.get(name)) is not None]
            place = list(counts).index(model)
            colours = alone if len(others) == 1 else colour_of(place)
            _bars(sides[1], names, change, number, len(others), color=colours)
        if others:
            place = list(counts).index(against)
            sides[1].axvline(0, color=colour_of(place), linewidth=0.8)
            sides[1].set_xlabel("change, %")
        sides[0].set_ylim(len(names) - 0.4, -0.6)
        figure.legend(loc="outside lower center", ncols=1, fontsize=_SMALL, frameon=False)
    return figure


def captions_figure(clips: Mapping[str, Sequence[DescribedClip]]) -> Figure:
    """Some frames of clips, each beside its true class and what models say of it (ReGen, Fig. 4).

    clips: by model, of all models the same clips in the same order. An arrow leads to the class that a caption was
    taken for.
    """
    strips, rest = 2.3, WIDTH - 2.3 - 0.3  # inches
    texts = [[_said(clip, int(rest * 17)) for clip in of_clip] for of_clip in zip(*clips.values(), strict=True)]
    heights = []
    for lines, clip in zip(texts, next(iter(clips.values())), strict=True):
        heights.append(max(strips / len(clip.frames), _LINE * (1.3 + sum(map(len, lines)))) + 0.1)
    names = [wrap(model, _NAME) for model in clips]
    legend = _LINE * (sum(map(len, names)) + 0.2 * len(names)) + 0.12
    sheet = _Sheet(sum(heights) + legend)
    with matplotlib.rc_context(STYLE):
        top = 0.05
        for number, name in enumerate(names):
            top = sheet.told(0.05, top, number, name) + 0.2 * _LINE
        top = legend
        for lines, clip, height in zip(texts, next(iter(clips.values())), heights, strict=True):
            axes = sheet.axes(0.05, top, strips, strips / len(clip.frames))
            axes.imshow(_side_by_side(clip.frames), interpolation="none", aspect="auto")
            sheet.text(strips + 0.15, top, _short(clip.true, 42), fontsize=8, fontweight="bold")
            below = top + 1.3 * _LINE
            for number, own in enumerate(lines):
                below = sheet.told(strips + 0.15, below, number, own)
            top += height
    return sheet.figure


def attention_figure(clip: Mapping[str, DescribedClip]) -> Figure:
    """What the words of models' captions of one clip attended to (ReGen, Fig. 3).

    A row of a matrix is a token as it was chosen: what it took from the visual tokens, left, and from the tokens before
    it, right; where one softmax is over both, bars tell the image's share. Below, each token's attention to the places
    of the picture, over a frame of the clip, from its own least to its most. Colours of matrices have the same scale
    for all models.

    clip: by model, each with attention.
    """
    found = {model: own.attention for model, own in clip.items() if own.attention is not None}
    told = [_said(clip[model], int(WIDTH * 18)) for model in found]
    names = [wrap(model, _NAME) for model in found]
    lines = [len(name) + len(own) for name, own in zip(names, told, strict=True)]
    blocks = [_block_height(attention, count) for attention, count in zip(found.values(), lines, strict=True)]
    scales = {
        part: PowerNorm(0.5, 0, max(float(getattr(own, part).max()) for own in found.values()))
        for part in ("image", "text")
    }
    sheet, top = _Sheet(sum(blocks) + 0.55), 0.05
    with matplotlib.rc_context({**STYLE, "font.size": _SMALL}):
        for number, (model, attention) in enumerate(found.items()):
            below = sheet.told(0.05, top, number, names[number], weight="bold")
            below = sheet.told(0.05, below + 0.2 * _LINE, number, told[number], mark=False)
            _draw_matrices(sheet, below + 1.3 * _LINE, attention, scales)
            top += blocks[number]
            _draw_overlays(sheet, top - _overlay_height(attention), clip[model], attention)
        for left, (part, scale) in zip((_LABELS, WIDTH / 2 + 0.3), scales.items(), strict=True):
            place = sheet.axes(left, top + 0.05, 1.8, 0.09)
            place.set_axis_on()
            how = {"orientation": "horizontal", "label": f"attention, text to {part}", "format": "%.2g"}
            ticks = [share * scale.vmax for share in (0, 1 / 16, 1 / 4, 9 / 16, 1)]  # as far from each other
            sheet.figure.colorbar(ScalarMappable(scale, _MAP), cax=place, ticks=ticks, **how)
    return sheet.figure


class _Sheet:
    """A figure on which things stand by inches from the upper left."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Without ticks or frame."""
        place = left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height
        axes = self.figure.add_axes(place)
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, text: str, **how: object) -> None:
        values = {"va": "top", "fontsize": _SMALL, "parse_math": False, **how}
        self.figure.text(left / WIDTH, 1 - top / self.height, text, **values)

    def told(
        self, left: float, top: float, number: int, lines: Sequence[str], mark: bool = True, **how: object
    ) -> float:
        """Lines after a mark in the colour of a model; returns where the next may stand."""
        if mark:
            self.text(left, top, "■", color=colour_of(number))
        for place, line in enumerate(lines):
            self.text(left + (0.14 if mark else 0.0), top + place * _LINE, line, **how)
        return top + len(lines) * _LINE


def _bars(axes: Axes, names: Sequence[str], values: Mapping[str, float], number: int, of: int, **how: object) -> None:
    """The `number`-th of so many bars in each named row."""
    height = 0.8 / of
    places = [place - 0.4 + (number + 0.5) * height for place, name in enumerate(names) if name in values]
    axes.barh(places, [values[name] for name in names if name in values], height, **how)


def _said(clip: DescribedClip, letters: int) -> list[str]:
    """A caption and what it was taken for, in lines of so many letters."""
    caption = shorten(clip.caption, _LONGEST, placeholder=" …") or "(no word)"
    decided = f"→ {clip.decided} {'✓' if clip.decided == clip.true else '✗'}"
    if len(decided) <= letters:
        decided = decided.replace(" ", _UNBROKEN)
    return [line.replace(_UNBROKEN, " ") for line in wrap(f"{caption} {decided}", letters)]


def _short(text: str, letters: int = 14) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _side_by_side(frames: np.ndarray) -> np.ndarray:
    """(side, width, 3) of (f, side, side, 3), white between them."""
    gap = np.full((frames.shape[1], max(1, frames.shape[2] // 32), 3), 255, np.uint8)
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1], axis=1)


def _overlay_height(attention: CaptionAttention) -> float:
    lines = -(-len(attention.chosen) // _ACROSS)
    return lines * (WIDTH / _ACROSS + _LINE) + 0.15


def _block_height(attention: CaptionAttention, lines: int) -> float:
    """Inches of a model's part of an attention figure: its name, its caption, matrices, names below, overlays."""
    named = 0.058 * min(14, max(map(len, attention.tokens))) if len(attention.chosen) <= _MOST_NAMED else 0.0
    matrices = _LINE * len(attention.chosen) + max(named, 0.25) + 0.1
    return (1.5 + lines) * _LINE + matrices + _overlay_height(attention)


def _draw_matrices(sheet: _Sheet, top: float, attention: CaptionAttention, scales: Mapping[str, PowerNorm]) -> None:
    """Text to image, text to text, and the image's share, side by side: a row a token."""
    chosen, share = len(attention.chosen), attention.image_share()
    tall, wide_text, wide_share = _LINE * chosen, min(2.4, max(1.3, 0.11 * chosen)), 0.0 if share is None else 0.6
    wide_image = WIDTH - _LABELS - wide_text - wide_share - _GAP * (2 if share is None else 3)
    image = sheet.axes(_LABELS, top, wide_image, tall)
    text = sheet.axes(_LABELS + wide_image + _GAP, top, wide_text, tall)
    before = np.ma.masked_where(np.triu(np.ones((chosen, chosen)), 1) > 0, attention.text.numpy(force=True))
    for axes, part, values in ((image, "image", attention.image.numpy(force=True)), (text, "text", before)):
        axes.imshow(values, norm=scales[part], cmap=_MAP, aspect="auto", interpolation="none")
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        axes.tick_params(length=0)
        axes.set_title(f"text to {part}", fontsize=_SMALL, pad=3)
    image.set_yticks(range(chosen), [_short(token) for token in attention.chosen], parse_math=False)
    places = attention.grid[0] * attention.grid[1]
    beyond = attention.image.shape[1] - places
    grid = " × ".join(map(str, attention.grid))
    image.set_xlabel(f"visual tokens: {f'{beyond} + ' if beyond else ''}{grid}")
    image.axvline(beyond - 0.5, color="white", linewidth=0.8)
    if chosen <= _MOST_NAMED:
        named = [_short(token) for token in attention.tokens[:-1]]
        text.set_xticks(range(chosen), named, rotation=90, parse_math=False)
    if share is not None:
        _draw_shares(sheet.axes(WIDTH - wide_share - _GAP, top, wide_share, tall), share.numpy(force=True))


def _draw_shares(axes: Axes, share: np.ndarray) -> None:
    axes.set_axis_on()
    axes.barh(range(len(share)), 100 * share, 0.8, color="#888888")
    axes.set(xlim=(0, 100), ylim=(len(share) - 0.5, -0.5), yticks=[], xticks=[0, 100])
    axes.set_title(f"image: {100 * share.mean():.0f} %", fontsize=_SMALL, pad=3)


def _draw_overlays(sheet: _Sheet, top: float, clip: DescribedClip, attention: CaptionAttention) -> None:
    """A frame of the clip for each token, its attention over it."""
    frame, cell = clip.frames[len(clip.frames) // 2], WIDTH / _ACROSS
    for number, (token, places) in enumerate(zip(attention.chosen, attention.places(), strict=True)):
        line, column = divmod(number, _ACROSS)
        left, upper = column * cell + 0.02, top + line * (cell + _LINE)
        axes = sheet.axes(left, upper + _LINE, cell - 0.04, cell - 0.04)
        axes.imshow(overlaid(frame, places.numpy(force=True)), interpolation="none", aspect="auto")
        middle = left + cell / 2 - 0.02
        sheet.text(middle, upper + 0.01, _short(token, 10), ha="center")


def overlaid(frame: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A frame (side, side, 3) uint8 in grey under a map of attention (rows, columns), from its least to its most."""
    side = len(frame)
    rows, columns = (np.arange(side) * count // side for count in places.shape)
    span = places.max() - places.min()
    heat = ((places - places.min()) / span if span > 0 else np.zeros_like(places))[rows][:, columns]
    grey = frame.mean(axis=2, keepdims=True) / 255
    share = 0.75 * heat[..., None]
    shown = (1 - share) * grey + share * colormaps["plasma"](0.3 + 0.7 * heat)[..., :3]
    return (255 * shown).round().astype(np.uint8)
