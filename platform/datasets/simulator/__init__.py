"""The embedded default data set: simulated bodies in the layout of NTU RGB+D. No person was recorded.

`actions` tables what is done, `body` and `performer` move a body, `sensor` looks at it, `combinations` names the class
splits, and `dataset` puts it all together.
"""

from platform.datasets.simulator.dataset import simulate

__all__ = ["simulate"]
