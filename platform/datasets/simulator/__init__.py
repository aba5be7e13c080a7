"""The embedded default data set: simulated bodies in the layout of NTU RGB+D. No person was recorded.

`actions` tables what is done, `body` and `performer` move a body, `sensor` looks at it, `combinations` names the class
splits, and `dataset` puts it all together.

`captioned_clips` are short clips of the same bodies, drawn by `pictures`, with sentences of `captions`;
`filmed_skeletons` draws recorded motion in the same look, and `captioned_folder` makes either a data set's contents.
"""

from platform.datasets.simulator.dataset import simulate

__all__ = ["simulate"]
