from dataclasses import replace

import pytest
from made_up import result

from platform.report.verdicts import purity_table, significance_table, steps_table


def clustered(method, before, after, **others):
    found = result(method, 0.5, **others)
    found.metrics.update(purity_before=0.2, purity_after=0.3, class_purity_before=before, class_purity_after=after)
    return found


def test_purity_stands_before_and_after_for_those_that_have_clusters():
    results = [clustered("claster", 0.7, 0.9, seed=0), clustered("claster", 0.8, 0.9, seed=1), result("sadvae", 0.4)]
    table = purity_table(results)
    (row,) = table.rows
    assert row.label == ("claster", "clean")
    assert [round(cell.mean, 6) for cell in row.cells] == [20, 30, 75, 90]
    assert row.cells[2].spread == pytest.approx(100 * 0.05 * 2**0.5)
    assert purity_table(results[2:]) is None


@pytest.mark.parametrize(("splits", "pairs", "said"), [(3, "6", "seeds of one split share"), (5, "5", "one pair")])
def test_many_splits_are_paired_by_their_means_over_seeds(splits, pairs, said):
    results = [
        result(method, value + 0.01 * split * (1 + seed), seed=seed, split=f"half:{split}")
        for method, value in (("a", 0.2), ("b", 0.3))
        for split in range(splits)
        for seed in (0, 1)
    ]
    results[0].metrics["zsl"] += 0.02  # equal differences could not be tested
    table = significance_table(results, "zsl", "b", per_sample=False, protocol="clean")
    assert table.rows[0].cells[2] == pairs
    assert any(said in note for note in table.notes)


def test_it_is_the_best_of_those_that_were_tested_beside_others_that_all_are_compared_with():
    several = [result(method, 0.3 + 0.1 * seed, seed=seed) for method in ("a", "b") for seed in (0, 1)]
    several[0].metrics["zsl"] += 0.05
    elsewhere = result("c", 0.9, split="half:9")
    table = significance_table([*several, elsewhere], "zsl", None, per_sample=False, protocol="clean")
    assert table.title.startswith("ZSL: against a, ")
    apart = next(row for row in table.rows if row.label[0].startswith("c,"))
    assert apart.cells[:3] == ("—", "no pair in common", "0")


@pytest.mark.parametrize("against", ["w/o RL", "CLASTER"])
def test_a_row_of_an_ablation_can_be_tested_against(against):
    results = [
        replace(result("claster", value + 0.1 * seed * value, seed=seed), row=row)
        for row, value in (("CLASTER", 0.2), ("CLASTER w/o SE", 0.4), ("w/o RL", 0.3))
        for seed in (0, 1)
    ]
    table = significance_table(results, "zsl", against, per_sample=False, protocol="clean")
    assert table.title.startswith(f"ZSL: against {against}, ")
    assert len(table.rows) == 2
    own = [r for r in results if r.row != against]  # as under a protocol that it was not tested with
    assert significance_table(own, "zsl", against, per_sample=False, protocol="released") is None


def test_steps_are_counted_where_there_are_some():
    results = [result("erpcnet", 0.5, seed=seed) for seed in range(3)]
    for found, steps in zip(results, (1.5, 2.0, 4.0), strict=True):
        found.metrics["average_steps"] = steps
    (row,) = steps_table([*results, result("sadvae", 0.4)]).rows
    assert row.label == ("erpcnet", "clean")
    assert row.cells == ("1.5", "2.5", "4.0")
    assert steps_table([result("sadvae", 0.4)]) is None
