"""The skeleton as ST-GCN's graph, with the spatial configuration partition (Yan et al., AAAI 2018, Section 3.3)."""

from collections.abc import Sequence

import numpy as np

from platform.features.joints import CENTRE, Layout, bones, joint_index


def spatial_configuration(layout: Layout) -> np.ndarray:
    """(3, V, V) float32: normalised adjacency of each subset, [k, v, w] from joint v to joint w.

    The subsets of a joint's neighbours are itself, those farther from the graph's centre (the centrifugal ones), and
    those nearer (the centripetal ones), in the order of the released weights. Every joint's weights sum to one over the
    subsets (A D⁻¹, as released; the paper's Equation 10 normalises by D^−1/2 on both sides).
    """
    edges, centre = bones(layout), joint_index(layout, CENTRE)
    distance = hops(edges, centre)
    count = len(distance)
    adjacency = np.eye(count)
    for joint, parent in edges:
        adjacency[joint, parent] = adjacency[parent, joint] = 1
    normal = adjacency / adjacency.sum(axis=0)
    source, target = distance[:, None], distance[None, :]
    subsets = [source == target, source > target, source < target]
    return np.stack([normal * subset for subset in subsets]).astype(np.float32)


def hops(edges: Sequence[tuple[int, int]], centre: int) -> np.ndarray:
    """(V,) bones between each joint and the centre."""
    parents = dict(edges)
    distance = np.zeros(len(edges) + 1, np.int64)
    for joint in range(len(distance)):
        at = joint
        while at != centre:
            at = parents[at]
            distance[joint] += 1
    return distance
