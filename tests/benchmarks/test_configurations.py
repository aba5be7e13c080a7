"""The configurations that the scripts on real data train with are ones that the methods take."""

import pytest

from benchmarks import claster_tables, real_data, skeletons
from platform.method import load_method
from platform.report.ablations import ablation


@pytest.mark.parametrize("name", skeletons.CONFIGS)
def test_of_the_skeleton_methods(name):
    config = load_method(f"methods.{name}").configure(skeletons.CONFIGS[name])
    assert config.epochs <= 60  # within an hour


@pytest.mark.parametrize("choices", real_data.CHOICES)
def test_of_sadvae(choices):
    method = load_method("methods.sadvae")
    assert method.configure({**real_data.VALUES, **real_data.CHOICES[choices]}).learning_rate == 1e-3
    assert method.configure(real_data.AWA_VALUES).beta_x == 1e-3


@pytest.mark.parametrize("name", claster_tables.TITLES)
def test_of_clasters_rows(name):
    method = load_method(claster_tables.METHOD)
    base = {**method.presets["small"], **claster_tables.FIELDS[name]}
    rows = [method.configure({**base, **row.fields}) for row in ablation(claster_tables.TABLE).rows]
    assert len({config.model_dump_json() for config in rows}) == len(rows) == 7
