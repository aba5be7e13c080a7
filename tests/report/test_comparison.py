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
    assert table.notes[-1].endswith("means over samples")


def test_papers_rows_on_the_same_classes_stand_below():
    data = {"name": "my ntu", "class_list": "ntu60", "classes": "55/5"}
    paper = published_table("sadvae-3")
    table = comparison_table([result("sadvae", 0.5, data=data)], metrics=["zsl"], published=[paper])
    labels = [row.label[0] for row in table.rows]
    assert f"SynSE: {paper.reference}" in labels
    assert cells(table, f"SynSE: {paper.reference}")["my ntu ru5", "ZSL"] == Cell((75.81,), "released", True)
    other = comparison_table([result("sadvae", 0.5)], metrics=["zsl"], published=[paper])
    assert len(other.rows) == 1


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
    assert [row.label[0] for row in table.rows] == ["a", "a §"]
    assert [note for note in table.notes if "§" in note] == [f"§ clips: {SELECTION}; such an accuracy is not clean"]
    assert row_names([replace(together[0], row="w/o b")]) == ["w/o b §"]
    assert not any("§" in text for text in (*comparison_table(apart).notes, *row_names(apart)))


def test_values_are_paired_by_data_split_and_seed():
    found = by_seed_and_split([result("a", 0.5, seed=3), result("b", 0.25)], "zsl")
    assert found == {
        "a, shiftgcn, minilm, name": {("clips", "ru5", 3): 50.0},
        "b, shiftgcn, minilm, name": {("clips", "ru5", 0): 25.0},
    }


def test_published_counts_are_no_rows_beside_ours():
    ours = result("erpcnet", 0.5, data={"name": "cub", "class_list": "CUB", "classes": "150/50"})
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
