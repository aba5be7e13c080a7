import numpy as np
import pytest

from platform.features.graph import hops, spatial_configuration
from platform.features.joints import CENTRE, JOINTS, bones, joint_index, joint_map

LAYOUTS = list(JOINTS)


@pytest.mark.parametrize(("layout", "count"), [("kinect_v1", 20), ("kinect_v2", 25)])
def test_the_bones_join_all_joints_to_the_centre(layout, count):
    edges = bones(layout)
    assert len(JOINTS[layout]) == len(set(JOINTS[layout])) == count
    assert sorted(joint for joint, _ in edges) == [i for i in range(count) if i != joint_index(layout, CENTRE)]
    distance = hops(edges, joint_index(layout, CENTRE))
    assert all(distance[joint] == distance[parent] + 1 for joint, parent in edges)


def test_the_larger_skeleton_is_the_released_graph_of_ntu():
    pairs = "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19"
    pairs += " 22-23 23-8 24-25 25-12"
    released = {tuple(int(joint) - 1 for joint in pair.split("-")) for pair in pairs.split()}
    assert set(bones("kinect_v2")) == released


@pytest.mark.parametrize("layout", LAYOUTS)
def test_neighbours_are_parted_by_their_distance_from_the_centre(layout):
    subsets = spatial_configuration(layout)
    distance = hops(bones(layout), joint_index(layout, CENTRE))
    own, farther, nearer = ({*zip(*np.nonzero(subset), strict=True)} for subset in subsets)
    assert own == {(i, i) for i in range(len(distance))}
    assert farther == set(bones(layout))
    assert nearer == {(parent, joint) for joint, parent in bones(layout)}
    np.testing.assert_allclose(subsets.sum(axis=(0, 1)), 1, rtol=1e-6)
    degree = (subsets.sum(axis=0) > 0).sum(axis=0)
    for joint, parent in bones(layout):
        assert subsets[1, joint, parent] == pytest.approx(1 / degree[parent])


def test_joint_maps_keep_the_joints_names():
    up, down = joint_map("kinect_v1", "kinect_v2"), joint_map("kinect_v2", "kinect_v1")
    assert [JOINTS["kinect_v2"][i] for i in down] == list(JOINTS["kinect_v1"])
    taken = dict(zip(JOINTS["kinect_v2"], (JOINTS["kinect_v1"][i] for i in up), strict=True))
    renamed = {name: source for name, source in taken.items() if name != source}
    hands = {f"{side} {part}": f"{side} hand" for side in ("left", "right") for part in ("hand tip", "thumb")}
    assert renamed == {"neck": "shoulder centre", **hands}
    assert up[down].tolist() == list(range(20))
    assert joint_map("kinect_v1", "kinect_v1").tolist() == list(range(20))
