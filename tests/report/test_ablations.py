"""The papers' ablations as plans."""

import pytest

from platform.method import load_method
from platform.report.ablations import ablations
from platform.report.comparison import HEADINGS
from platform.report.published import find_published


@pytest.mark.parametrize("plan", ablations().values(), ids=lambda plan: plan.table)
def test_each_row_is_a_configuration_of_its_own(plan):
    configs = [(row.method, load_method(row.method).configure(row.fields).model_dump()) for row in plan.rows]
    assert all(one not in configs[:place] for place, one in enumerate(configs))
    assert set(plan.metrics) <= set(HEADINGS)
    assert find_published(plan.table) or plan.title


def test_erpcnets_rows_differ_in_what_the_paper_leaves_out():
    rows = {row.name: row.fields for row in ablations()["erpcnet-2"].rows}
    assert [(own["sampler"], own["entropy"]) for own in rows.values()] == [
        ("none", True),
        ("random", True),
        ("policy", False),
        ("policy", True),
    ]
    assert list(rows) == ["GlobalNet", "PCNet", "RPCNet", "ERPCNet"]
    assert [row.fields["crops"] for row in ablations()["erpcnet-hardnet"].rows] == ["image", "maps"]
    thresholds = ablations()["erpcnet-fig5"].rows
    assert [row.fields["sigma"] for row in thresholds] == [0.1, 0.3, 0.5, 0.7, 0.9, 1.1]
    assert all(row.fields["entropy"] and row.fields["crops"] == "maps" for row in thresholds)
