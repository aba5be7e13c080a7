"""The papers' ablations as plans."""

from pathlib import Path

import pytest
import yaml

from platform.datasets.text import ClassText
from platform.errors import InputError
from platform.method import load_method
from platform.report.ablations import ablation, ablations, planned
from platform.report.comparison import HEADINGS
from platform.report.published import find_published
from platform.zeroshot.problem import ProblemOptions


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


def test_regens_rows_switch_its_rewards_off_and_keep_the_bases_other_values():
    rows = {row.name: row.fields for row in ablation("regen-1").rows}
    off = {name: {f for f in ("lambda_clip", "lambda_grammar") if own.get(f) == 0} for name, own in rows.items()}
    assert off == {
        "REST (no rewards)": set(),
        "ReGen (CLS-R)": {"lambda_clip", "lambda_grammar"},
        "ReGen (CLS-R + CLIP-R)": {"lambda_grammar"},
        "ReGen (CLS-R + GRAMMAR-R)": {"lambda_clip"},
        "ReGen": set(),
    }
    assert [own["objective"] for own in rows.values()] == ["none", *["rewards"] * 4]
    based = {"methods.regen": {"lambda_clip": 2.0, "captioner": "made/captioner"}}
    wanted = planned(ablation("regen-1"), [ProblemOptions(dataset=Path("data"), split="ru5")], based)
    assert [one.config["lambda_clip"] for one in wanted] == [2.0, 0.0, 2.0, 0.0, 2.0]
    assert {one.config["captioner"] for one in wanted} == {"made/captioner"}


@pytest.mark.parametrize("number", range(1, 10))
def test_regens_tables_show_our_rows_under_the_papers_names(number):
    named = {f"{r.name} ({r.variant})" if r.variant else r.name for r in find_published(f"regen-{number}").rows}
    plan = ablation(f"regen-{number}")
    assert {row.name for row in plan.rows} <= named
    # every column that is shown of the paper is measured by us as well
    assert {metric for r in find_published(plan.table).rows for metric in r.values} == set(plan.metrics)
    assert plan.few_shot == (number == 6)


def test_sadvaes_betas_are_tied_as_its_search_ties_them():
    space = yaml.safe_load((Path(__file__).parents[2] / "search_spaces" / "sadvae.yaml").read_text())
    assert space["stages"][0]["sampled"]["lambda_2"] == {"same_as": "beta_y"}
    rows = [row.fields for row in ablation("sadvae-B").rows]
    assert all(fields["lambda_2"] == fields["beta_y"] for fields in rows)
    assert [(fields["beta_x"], fields["beta_y"]) for fields in rows] == [
        (0.01, 0.01), (0.05, 0.01), (0.01, 0.05), (0.05, 0.05), (0.1, 0.1), (0.2, 0.2), (0.023, 0.011),
    ]  # fmt: skip


def test_clasters_regularisation_is_shown_for_all_its_counts_of_clusters():
    rows = [row.fields for row in ablation("claster-fig7").rows]
    for share in (1.0, 0.35):
        counts = [own["clusters"] for own in rows if own["train_share"] == share and own["clustering"] != "none"]
        assert counts == [6, 10, 20, 35, 51]  # the paper's Fig. 6 and, in its supplement, 20 and 35
        assert [own for own in rows if own["train_share"] == share and own["clustering"] == "none"]
    assert len(rows) == 12


@pytest.mark.parametrize(
    ("table", "over"),
    [("C", {"features", "text"}), ("D", {"features"}), ("E", {"features"}), ("G", {"text"}), ("H", {"text"})],
)
def test_sadvaes_features_and_texts_are_compared(table, over):
    plan = ablation(f"sadvae-{table}")
    assert set(plan.over) == over
    problem = ProblemOptions(dataset=Path("data"), split="ru5", features="stgcn")
    canonical = problem.model_copy(update={"features": "stgcn-facing"})
    described = problem.model_copy(update={"text": ClassText(text="llm")})
    for kind, other in (("features", canonical), ("text", described)):
        if kind in over:
            assert len(planned(plan, [problem, other], {})) == 2
        else:
            with pytest.raises(InputError, match=f"--table sadvae-{table}: it compares .*; give one"):
                planned(plan, [problem, other], {})


def test_a_table_of_configurations_takes_one_feature_set_and_one_class_text():
    problem = ProblemOptions(dataset=Path("data"), split="ru5", features="stgcn")
    with pytest.raises(InputError, match="it compares configurations; give one feature set"):
        planned(ablation("sadvae-6"), [problem, problem.model_copy(update={"features": "pose"})], {})
