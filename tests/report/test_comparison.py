from dataclasses import replace

import pytest
from made_up import result

from platform.report.comparison import (
    ALL_SPLITS,
    Cell,
    by_seed_and_split,
    comparison_table,
    published_comparison,
    ranking_agreement,
    row_names,
)
from platform.report.published import published_table


def cells(table, *label):
    """The one row whose labels hold these, by column."""
    (row,) = [row for row in table.rows if set(label) <= set(row.label)]
    return dict(zip(table.columns, row.cells, strict=True))


def test_a_cell_is_the_mean_and_deviation_over_seeds():
    table = comparison_table([result("a", 0.5), result("a", 0.7, seed=1)])
    cell = cells(table, "a")["clips ru5", "ZSL"]
    assert cell.mean == pytest.approx(60)
    assert cell.spread == pytest.approx(200**0.5)


def test_a_published_number_has_the_deviation_that_was_printed():
    table = published_comparison(published_table("claster-7"), ["methods.claster"])
    row = cells(table, "Concatenation")
    (cell,) = row.values()
    assert (cell.mean, cell.spread, cell.protocol) == (43.2, 1.9, "unstated")
    assert any(note.startswith("‡") for note in table.notes)


def test_splits_stand_in_the_order_of_their_numbers_and_together_last():
    results = [result("a", value, split=split) for split, value in (("ru13", 0.2), ("ru5", 0.6), ("ru9", 0.4))]
    table = comparison_table(results, metrics=["zsl"])
    assert table.columns == tuple((group, "ZSL") for group in ("clips ru5", "clips ru9", "clips ru13", ALL_SPLITS))
    assert cells(table, "a")[ALL_SPLITS, "ZSL"].values == pytest.approx((60, 40, 20))


def test_a_method_that_lacks_a_split_has_no_mean_over_all():
    table = comparison_table([result("a", 0.2), result("a", 0.3, split="ru9"), result("b", 0.5)], metrics=["zsl"])
    assert cells(table, "b")["clips ru9", "ZSL"] is None
    assert cells(table, "b")[ALL_SPLITS, "ZSL"] is None


def test_protocols_and_features_are_rows_of_their_own_and_clean_comes_first():
    results = [
        result("a", 0.9, protocol="released"),
        result("a", 0.5),
        result("a", 0.4, data={"features": "stgcn"}),
    ]
    table = comparison_table(results)
    assert [(row.label[1], row.label[-1]) for row in table.rows] == [
        ("shiftgcn", "clean"),
        ("stgcn", "clean"),
        ("shiftgcn", "released"),
    ]
    assert any(note.startswith("† released protocol") for note in table.notes)


def test_the_best_of_each_protocol_is_marked_and_never_the_papers():
    results = [
        result("a", 0.5),
        result("b", 0.6),
        result("a", 0.9, protocol="released"),
        result("b", 0.8, protocol="released"),
    ]
    table = comparison_table(results, metrics=["zsl"])
    assert {table.rows[number].label[0] + table.rows[number].label[-1] for number, _ in table.best()} == {
        "bclean",
        "areleased",
    }


def test_accuracies_are_over_samples_where_asked():
    table = comparison_table([result("a", 0.5)], per_sample=True)
    assert cells(table, "a")["clips ru5", "H"].mean == pytest.approx(25)
    assert any(note.endswith("means over samples") for note in table.notes)


COUNTS = {"seen": 22, "unseen": 5, "seen_samples": 350, "unseen_samples": 80}


def test_classes_chance_samples_and_the_count_of_tests_stand_below():
    def tested(split, unseen, seeds):
        counts = {**COUNTS, "unseen": unseen, "unseen_samples": 16 * unseen}
        return [result("a", 0.5, seed=seed, split=split, counts=counts) for seed in range(seeds)]

    notes = comparison_table([*tested("ru5", 5, 2), *tested("ru9", 9, 2)]).notes
    (of_five,) = [note for note in notes if note.startswith("clips ru5: ")]
    assert "5 classes, chance 20.0 %" in of_five
    assert "80 test samples of unseen classes, 350 of seen ones; n = 2" in of_five
    assert any(note.startswith("clips ru9: ") and "9 classes, chance 11.1 %" in note for note in notes)
    assert "all splits: n = 4 (2 seeds × 2 splits)" in notes


def test_many_splits_have_one_line_with_the_range_of_their_counts():
    results = [
        result("a", 0.5, split=f"half:{i}", counts={**COUNTS, "unseen": 13, "unseen_samples": 200 + i})
        for i in range(10)
    ]
    (line,) = [note for note in comparison_table(results).notes if note.startswith("clips")]
    assert line.startswith("clips, each of 10 splits: ZSL among 13 classes, chance 7.7 %")
    assert "200 to 209 test samples of unseen classes" in line


def test_a_row_of_fewer_seeds_is_seen_below():
    results = [result("a", 0.5, seed=seed, counts=COUNTS) for seed in range(3)] + [result("b", 0.5, counts=COUNTS)]
    assert any(note.endswith("; n = 1 to 3") for note in comparison_table(results).notes)


def sided(seen, unseen, split):
    """A test with its own H."""
    metrics = {"zsl": 0.5, "seen": seen, "unseen": unseen, "harmonic_mean": 2 * seen * unseen / (seen + unseen)}
    metrics |= {f"{name}_per_sample": value for name, value in metrics.items()}
    return replace(result("sadvae", 0.5, split=split, data=NTU), metrics=metrics)


NTU = {"name": "ntu", "class_list": "ntu60", "classes": "55/5"}
SIDED = [sided(0.9, 0.1, "a"), sided(0.1, 0.9, "b")]  # H of each is 18; of the means, 50


def test_h_of_several_splits_is_their_mean_or_that_of_the_mean_sides():
    for averaged, shown in (("mean", 18.0), ("of-means", 50.0)):
        table = comparison_table(SIDED, averaged=averaged)
        cell = cells(table, "sadvae")[ALL_SPLITS, "H"]
        assert cell.mean == pytest.approx(shown)
        assert cell.spread == pytest.approx(0.0)  # of the H of each split, either way
        assert cells(table, "sadvae")["ntu a", "H"].mean == pytest.approx(18.0)
        assert sum(note.startswith("H: ") for note in table.notes) == 1
    assert cells(comparison_table(SIDED), "sadvae")[ALL_SPLITS, "H"].mean == pytest.approx(18.0)


def test_beside_a_paper_h_is_averaged_as_the_paper_has_it():
    paper = published_table("sadvae-7")
    own = [replace(r, data=replace(r.data, split=f"sadvae-random-{i}")) for i, r in enumerate(SIDED)]
    table = comparison_table(own, per_sample=True, published=[paper])
    assert cells(table, "sadvae")[ALL_SPLITS, "H"].mean == pytest.approx(50.0)
    assert any(note.startswith("H: of the mean s and the mean u") for note in table.notes)
    asked = comparison_table(own, per_sample=True, published=[paper], averaged="mean")
    assert cells(asked, "sadvae")[ALL_SPLITS, "H"].mean == pytest.approx(18.0)
    single = comparison_table(own, per_sample=True, published=[published_table("sadvae-4")])  # of one split each
    assert cells(single, "sadvae")[ALL_SPLITS, "H"].mean == pytest.approx(18.0)


def test_a_papers_table_says_its_chance_levels_and_which_h_it_has():
    notes = published_comparison(published_table("sadvae-C"), ["methods.sadvae"]).notes
    assert "ZSL among the unseen classes: 55/5 5 classes, chance 20.0 %" in notes
    assert "H over splits: of the mean s and the mean u" in notes


def beside(paper, *splits, per_sample=True):
    """The papers' names below ours on some splits of NTU-60 with as many classes, and the table."""
    ours = [result("sadvae", 0.5, split=split, data=NTU) for split in splits]
    table = comparison_table(ours, metrics=["zsl"], per_sample=per_sample, published=[published_table(paper)])
    return {row.label[0].split(":")[0] for row in table.rows[1:]}, table


def test_papers_rows_on_the_same_split_stand_below():
    named, table = beside("sadvae-3", "55_5")
    assert "SynSE" in named
    shown = cells(table, f"SynSE: {published_table('sadvae-3').reference}")
    assert shown["ntu 55_5", "ZSL"] == Cell((75.81,), "released", True)
    other = comparison_table([result("sadvae", 0.5)], metrics=["zsl"], published=[published_table("sadvae-3")])
    assert len(other.rows) == 1


@pytest.mark.parametrize(
    ("paper", "splits"),
    [
        ("sadvae-3", ["sadvae-random-1"]),  # another split of as many classes
        ("sadvae-6", ["55_5"]),
        ("sadvae-6", ["sadvae-random-1"]),  # the paper's is a mean over three
        ("sadvae-6", ["sadvae-random-1", "55_5"]),
    ],
)
def test_papers_rows_on_other_splits_do_not(paper, splits):
    assert beside(paper, *splits)[0] == set()


def test_a_papers_mean_over_splits_stands_beside_ours_over_all():
    named, table = beside("sadvae-6", "sadvae-random-1", "sadvae-random-2", "sadvae-random-3")
    assert {"ReViSE", "SA-DVAE (FD+TC)"} <= named
    shown = cells(table, f"ReViSE: {published_table('sadvae-6').reference}")
    assert {column for column, cell in shown.items() if cell is not None} == {(ALL_SPLITS, "ZSL")}


def test_papers_accuracies_over_samples_are_left_out_beside_means_over_classes_and_that_is_said():
    named, table = beside("sadvae-3", "55_5", per_sample=False)
    assert named == set()
    assert any("--per-sample shows them" in note for note in table.notes)


def test_a_papers_table_keeps_the_rows_of_the_methods_asked_for():
    table = published_comparison(published_table("sadvae-3"), ["methods.synse"])
    assert "SynSE" in {row.label[0] for row in table.rows}
    assert "SA-DVAE" not in {row.label[0] for row in table.rows}
    assert all(cell is None or cell.published for row in table.rows for cell in row.cells)


def test_rankings_agree_or_are_turned_round():
    paper = published_table("sadvae-3")
    order = ["sadvae", "smie", "cadavae", "synse", "jpose", "revise"]
    alike = [result(method, 0.9 - 0.1 * i) for i, method in enumerate(order)]
    turned = [result(method, 0.1 + 0.1 * i) for i, method in enumerate(order)]
    found = {a.column: a for a in ranking_agreement(alike, paper)}
    assert found["NTU-60 55/5, ZSL"].tau == pytest.approx(1)
    assert found["NTU-60 55/5, ZSL"].theirs == tuple(order)
    assert {a.column: a for a in ranking_agreement(turned, paper)}["NTU-60 55/5, ZSL"].tau == pytest.approx(-1)
    assert ranking_agreement(alike[:2], paper) == []


def test_a_ranking_is_of_one_data_set_and_of_each_methods_best_configuration():
    paper = published_table("sadvae-3")
    here = [result(method, value) for method, value in (("sadvae", 0.6), ("synse", 0.5), ("revise", 0.4))]
    there = [result(method, value, data={"name": "other"}) for method, value in (("synse", 0.9), ("revise", 0.99))]
    worse = result("sadvae", 0.1, searched=False, config={"beta": 2.0})
    (found,) = [a for a in ranking_agreement([*here, *there, worse], paper) if a.column == "NTU-60 55/5, ZSL"]
    assert (found.data, found.ours) == ("clips", ("sadvae", "synse", "revise"))


def test_a_ranking_is_over_the_splits_that_all_methods_were_tested_on():
    paper = published_table("sadvae-3")
    results = [result(method, value) for method, value in (("sadvae", 0.6), ("synse", 0.5), ("revise", 0.4))]
    easy = result("revise", 0.99, split="easy")
    (found,) = [a for a in ranking_agreement([*results, easy], paper) if a.column == "NTU-60 55/5, ZSL"]
    assert found.ours == ("sadvae", "synse", "revise")


def test_configurations_given_by_hand_are_rows_named_by_what_differs():
    results = [result("a", 0.5, searched=False, config={"beta": beta, "z": 8}) for beta in (1, 2)]
    assert row_names(results) == ["a (beta=1)", "a (beta=2)"]
    searched = [result("a", 0.5, config={"beta": 3, "z": z}, split=f"ru{z}") for z in (5, 9)]
    assert row_names([*results, *searched])[2:] == ["a (searched)", "a (searched)"]
    assert row_names(searched) == ["a", "a"]
    assert row_names([replace(results[0], row="w/o b"), results[1]])[0] == "w/o b"
    assert row_names([*searched, results[0]])[2] == "a (not searched)"


SELECTION = "chosen together over splits: 6 of the 13 unseen classes of `ru13` are seen in another split"


def test_what_a_search_chose_for_several_splits_is_a_marked_row_and_said_below():
    together = [result("a", 0.5, split=split, selection=SELECTION) for split in ("ru5", "ru13")]
    apart = [result("a", 0.6, split=split) for split in ("ru5", "ru13")]
    table = comparison_table([*together, *apart])
    assert [row.label[0] for row in table.rows] == ["a", "a #"]
    said = [note for note in table.notes if note.startswith("#")]
    assert said == [f"# clips: {SELECTION}; such an accuracy is not clean"]
    assert row_names([replace(together[0], row="w/o b")]) == ["w/o b #"]
    assert not any("#" in text for text in (*comparison_table(apart).notes, *row_names(apart)))


def test_values_are_paired_by_data_split_and_seed():
    found = by_seed_and_split([result("a", 0.5, seed=3), result("b", 0.25)], "zsl")
    assert found == {
        "a, shiftgcn, minilm, name": {("clips", "ru5", 3): 50.0},
        "b, shiftgcn, minilm, name": {("clips", "ru5", 0): 25.0},
    }


def test_published_counts_are_no_rows_beside_ours():
    ours = result("erpcnet", 0.5, split="proposed", data={"name": "cub", "class_list": "CUB", "classes": "150/50"})
    table = comparison_table(
        [ours], metrics=["zsl"], published=[published_table("erpcnet-3"), published_table("erpcnet-2")]
    )
    assert [row.label[0].split(":")[0] for row in table.rows] == [
        "erpcnet",
        "ERPCNet (GlobalNet)",
        "ERPCNet (PCNet)",
        "ERPCNet (RPCNet)",
        "ERPCNet",
    ]
    counts = published_comparison(published_table("erpcnet-3"), ["methods.erpcnet"])
    assert counts.columns == (("CUB 150/50", "count"),)


def seen_by_extractor(*kinds, features="shiftgcn", pretrained_on=""):
    return {"extractor": kinds, "pretrained_on": pretrained_on, "features": features}


def test_every_number_of_an_extractor_that_is_not_clean_is_marked():
    tuned = seen_by_extractor("unseen", "pretrained", features="tuned", pretrained_on="ntu60")
    results = [result("a", 0.5), result("b", 0.4), result("a", 0.9, data=tuned), result("b", 0.8, data=tuned)]
    table = comparison_table(results)
    assert [row.label[-1] for row in table.rows] == ["clean", "clean §¶", "clean", "clean §¶"]
    marked = [row for row in table.rows if row.label[-1] != "clean"]
    assert {cell.marks for row in marked for cell in row.cells} == {"§¶"}
    assert {cell.marks for row in table.rows if row not in marked for cell in row.cells} == {""}
    said = " ".join(table.notes)
    for words in (
        "§ the features' extractor was trained on unseen",
        "¶ the features'",
        "trained on ntu60: tuned of clips",
    ):
        assert words in said


def test_a_row_has_the_marks_of_any_of_its_splits_and_a_cell_its_own():
    results = [result("a", 0.5, data=seen_by_extractor("pretrained")), result("a", 0.4, split="ru9")]
    (row,) = comparison_table(results, metrics=["zsl"]).rows
    assert row.label[-1] == "clean ¶"
    assert [cell.marks for cell in row.cells] == ["¶", "", "¶"]


def test_what_was_trained_on_unseen_classes_is_best_among_its_own_kind():
    tuned = seen_by_extractor("unseen", features="tuned")
    results = [
        result(m, v, data=d) for d, bonus in (({}, 0), (tuned, 0.3)) for m, v in (("a", bonus), ("b", bonus + 0.1))
    ]
    table = comparison_table(results, metrics=["zsl"])
    assert {table.rows[number].label[:2] for number, _ in table.best()} == {("b", "shiftgcn"), ("b", "tuned")}
