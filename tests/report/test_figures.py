from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from platform.report.figures import (
    clusters_figure,
    confusion_figure,
    failures_figure,
    latents_figure,
    learning_figure,
    looks_figure,
    per_class_figure,
    seen_unseen_figure,
    sensitivity_figure,
    step_accuracy_figure,
    svg,
)
from platform.report.localities import LookedAt

NAMES = ["bow", "clap", "hop", "wave"]


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    return {"z_r": rng.normal(size=(60, 8)) + 5 * labels[:, None], "z_v": rng.normal(size=(60, 3))}, labels


def test_latents_stand_side_by_side_with_unseen_classes_named(latents):
    figure = latents_figure(*latents, NAMES, seen=2)
    assert [axes.get_title() for axes in figure.axes] == ["z_r", "z_v"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seen", "hop", "wave"]
    shown = [len(points.get_offsets()) for points in figure.axes[0].collections]
    assert shown == [30, 15, 15]


def test_a_thousand_samples_are_drawn_at_most(monkeypatch, latents):
    monkeypatch.setattr("platform.report.figures._POINTS", 20)
    figure = latents_figure(*latents, NAMES, seen=2)
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 20


def test_each_class_has_a_bar_of_each_model():
    figure = per_class_figure({"a": {"hop": 0.5, "wave": 0.25}, "b": {"hop": 1.0}})
    (axes,) = figure.axes
    assert [bar.get_width() for container in axes.containers for bar in container] == [50, 25, 100]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["hop", "wave"]


def test_long_names_of_models_stand_below_each_other():
    names = ["short", "other", "third"]
    for columns, given in ((3, names), (1, [name * 12 for name in names])):
        (legend,) = per_class_figure({name: {"hop": 0.5} for name in given}).legends
        assert legend._ncols == columns
        (legend,) = learning_figure({name: {"zsl": [0.5]} for name in given}).legends
        assert legend._ncols == min(columns, 2)


def test_a_confusion_matrix_shows_shares_of_each_true_class():
    figure = confusion_figure(np.array([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]), NAMES, seen=2)
    shares = figure.axes[0].images[0].get_array()
    assert shares.shape == (4, 4)
    np.testing.assert_allclose(shares.sum(axis=1), [1, 1, 1, 0])


def test_of_many_classes_only_the_unseen_have_rows():
    names = [f"class {i}" for i in range(40)]
    figure = confusion_figure(np.ones((40, 40)), names, seen=35)
    assert figure.axes[0].images[0].get_array().shape == (5, 40)


def test_curves_are_in_percent_with_their_area():
    curves = {"a": (np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 0.75]))}
    (axes,) = seen_unseen_figure(curves, {"a": 0.4567}).axes
    assert axes.lines[0].get_xdata().tolist() == [100, 50, 0]
    assert axes.get_legend().get_texts()[0].get_text() == "a: AUSUC 45.7"


def test_sensitivity_shows_every_point():
    figure = sensitivity_figure([(0.01, 0.01, 73.5), (0.05, 0.01, 73.6), (0.2, 0.2, 67.1)], "H")
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["67.1", "73.5", "73.6"]


def test_svg_is_well_formed_the_same_each_time_and_has_ids_of_its_own():
    def drawn(name):
        return svg(per_class_figure({"a": {"hop": 0.5}}), name)

    assert drawn("one") == drawn("one")
    ids = [{e.get("id") for e in ElementTree.fromstring(drawn(name)).iter() if e.get("id")} for name in ("one", "two")]
    assert not ids[0] & ids[1]
    root = ElementTree.fromstring(drawn("one"))
    used = {v.removeprefix("#") for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    assert used <= ids[0]


def test_each_class_has_its_shares_of_the_clusters_before_and_after():
    labels = np.array([0, 0, 2, 2, 3, 3])
    clusters = {"before": np.array([0, 1, 1, 1, 0, 2]), "after": np.array([0, 0, 1, 1, 2, 2])}
    before, after, _ = clusters_figure(clusters, labels, NAMES, seen=2).axes
    assert before.images[0].get_array().tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]
    assert after.images[0].get_array().tolist() == np.eye(3).tolist()
    assert [text.get_text() for text in before.get_yticklabels()] == ["bow", "hop", "wave"]
    assert before.lines[0].get_ydata()[0] == 0.5  # one seen class stands above the line


def test_learning_curves_are_of_seen_classes_on_one_side_and_unseen_ones_on_the_other():
    curves = {"k-means": {"accuracy": [0.5, 0.9], "seen_alone": [0.4, 0.6], "zsl": [0.2, 0.3]}, "none": {"zsl": [0.1]}}
    seen, unseen = learning_figure(curves).axes
    assert [line.get_ydata().tolist() for line in seen.lines] == [[50, 90], [40, 60], [], []]
    assert [line.get_ydata().tolist() for line in unseen.lines] == [[20, 30], [10]]
    assert [line.get_marker() for line in unseen.lines] == ["None", "."]  # a single epoch is a point


def test_steps_are_counted_from_the_whole_picture_on():
    (axes,) = step_accuracy_figure({"a": np.array([0.5, 0.6, 0.75]), "b": np.array([0.25, 0.5])}).axes
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0, 1, 2], [0, 1]]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[50, 60, 75], [25, 50]]


def test_failures_have_a_bar_for_each_look_and_model():
    (axes,) = failures_figure({"a": np.array([8, 3]), "b": np.array([0, 1])}).axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[8, 3], [0, 1]]
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.containers[0]] == pytest.approx([0.8, 1.8])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a: 11", "b: 1"]


def test_looks_are_blue_where_the_prediction_is_right_and_yellow_where_it_is_not():
    def looked_at(right):
        boxes = np.array([[0, 0, 40, 40], [30, 0, 70, 40]])
        picture = np.zeros((8, 8, 3), dtype=np.uint8)
        return LookedAt(picture, 70, boxes, np.array([0.4, 0.6, 0.8]), np.array(right), "hop", "wave")

    pictures = [looked_at([False, True, True]), looked_at([True, True, False]), looked_at([True] * 3)]
    first, second, *_ = looks_figure(pictures).axes
    assert [text.get_text() for text in first.texts] == ["0: 40 %", "1: 60 %", "2: 80 %"]
    assert [box.get_bbox().extents.tolist() for box in first.patches] == [
        [0, 0, 70, 70],
        [0, 0, 40, 40],
        [30, 0, 70, 40],
    ]
    blue, yellow = "#0072b2", "#f0e442"
    assert [to_hex(box.get_edgecolor()) for box in first.patches] == [yellow, blue, blue]
    assert [axes.get_title() for axes in (first, second)] == ["hop", "hop, taken for wave"]
    shown = svg(looks_figure(pictures), "looks")
    assert shown == svg(looks_figure(pictures), "looks")
    assert shown.count("data:image/png;base64,") == 3
    assert len(shown) < 60_000
    ElementTree.fromstring(shown)
