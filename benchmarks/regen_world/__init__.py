"""A small SIMULATED world for ReGen (Bulat et al., ICCV 2023): clips with sentences, and models trained on them alone.

Nothing here was pretrained on real data, no person was recorded and nobody wrote a sentence: numbers tell how a method
behaves in this world, and nothing of Kinetics or UCF101.
"""

from benchmarks.regen_world.world import World, world

__all__ = ["World", "world"]
