"""The configurations that the scripts on real data train with are ones that the methods take."""

import pytest

from benchmarks import claster_tables, closed_forms, real_data, skeletons
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


@pytest.mark.parametrize("name", real_data.ON_AWA)
def test_the_values_of_each_method_on_awa1_are_its_own(name):
    config = load_method(f"methods.{name}").configure(real_data.ON_AWA[name])
    assert {field: getattr(config, field) for field in real_data.ON_AWA[name]} == real_data.ON_AWA[name]


@pytest.mark.parametrize("name", closed_forms.GRIDS)
def test_the_grid_of_each_closed_form_has_no_point_twice(name):
    configs = [load_method(f"methods.{name}").configure(values) for values in closed_forms.GRIDS[name]]
    assert len({config.model_dump_json() for config in configs}) == len(configs) > 1


@pytest.mark.parametrize("name", claster_tables.TITLES)
def test_of_clasters_rows(name):
    method = load_method(claster_tables.METHOD)
    base = {**method.presets["small"], **claster_tables.FIELDS[name]}
    rows = [method.configure({**base, **row.fields}) for row in ablation(claster_tables.TABLE).rows]
    assert len({config.model_dump_json() for config in rows}) == len(rows) == 7
