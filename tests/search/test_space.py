from itertools import pairwise

import optuna
import pytest
import yaml
from verbs import ROOT

from methods.sadvae import SADVAEConfig
from platform.errors import InputError
from platform.method import load_method
from platform.search.space import read_space

SPACES = ROOT / "search_spaces"


@pytest.fixture
def write(tmp_path):
    """A function of one stage's sampled fields and whatever else, to the file that says so."""

    def written(sampled, stages=1, fixed=None, **top):
        stage = {"name": "only", "trials": 2, "sampled": sampled, "fixed": fixed or {}}
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump({"source": "a test", "stages": [stage] * stages, **top}, sort_keys=False))
        return path

    return written


def with_points(path, *points):
    space = yaml.safe_load(path.read_text())
    space["stages"][0]["points"] = list(points)
    path.write_text(yaml.safe_dump(space, sort_keys=False))
    return path


def sampled(stage, count=50, kept=None):
    """Configurations that the stage proposes at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [stage.sample(study.ask(), kept or {}) for _ in range(count)]


def inside(dimension, value):
    (kind, range_), *_ = dimension.kinds().items()
    if kind == "choice":
        return value in range_
    if kind == "integer":
        low, high, step = (*range_, 1)[:3]
        return low <= value <= high and (value - low) % step == 0
    return range_[0] <= value <= range_[1]


ALL_SPACES = pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)


def config_of(path):
    return load_method(f"methods.{path.stem.partition('_')[0]}").Config


@ALL_SPACES
def test_every_sample_is_inside_its_range_and_a_valid_configuration(path):
    for stage in read_space(path, config_of(path)).stages:
        for values in sampled(stage):
            config_of(path)(**values)
            for name, dimension in stage.sampled.items():
                if not dimension.applies(values):
                    assert name not in values
                elif dimension.same_as:
                    assert values[name] == values[dimension.same_as]
                else:
                    assert inside(dimension, values[name]), name


@ALL_SPACES
def test_what_an_earlier_stage_fixes_a_later_one_fixes_or_samples(path):
    """A stage's fixed values hold in that stage alone: a forgotten one would be the default again."""
    stages = read_space(path, config_of(path)).stages
    for earlier, later in pairwise(stages):
        assert set(earlier.fixed) <= {*later.fixed, *later.sampled, *earlier.sampled}


@ALL_SPACES
def test_whoever_searches_what_joins_both_sides_tries_the_gates_and_stacking(path):
    stages = read_space(path, config_of(path)).stages
    tried = [set(s.sampled["combination"].choice) for s in stages if "combination" in s.sampled]
    assert all(choice >= {"hard", "soft", "stacking"} for choice in tried)
    assert tried or path.stem in {
        "sadvae",
        "erpcnet",
        "erpcnet_small",
        "regen",
        "eszsl",
        "ridge",
    }  # Table A alone; the papers' own


def test_table_a_is_stated():
    """SA-DVAE, supplementary material, Table A."""
    betas, rest = read_space(SPACES / "sadvae.yaml", SADVAEConfig).stages
    assert betas.sampled["beta_x"].uniform == betas.sampled["beta_y"].uniform == (0, 1)
    assert rest.sampled["learning_rate"].log_uniform == (1e-6, 1e-3)
    assert rest.sampled["batch_size"].choice == (32, 64, 128, 256)
    assert rest.sampled["n_d"].integer == (1, 16)
    assert rest.sampled["z_r"].integer == (128, 256, 16)
    assert rest.sampled["z_v"].integer == (8, 32, 4)


@pytest.mark.parametrize(
    ("field", "dimension", "message"),
    [
        ("betax", {"uniform": [0, 1]}, "unknown field `betax` of SADVAEConfig; did you mean `beta_x`?"),
        ("beta_x", {"uniform": [1.0, 0.5]}, r"`beta_x` has an empty range: uniform \[1.0, 0.5\]"),
        ("batch_size", {"choice": []}, r"`batch_size` has an empty range: choice \[\]"),
        ("learning_rate", {"log_uniform": [0, 1]}, "`learning_rate`: log_uniform starts at 0.0; it must start above 0"),
        ("n_d", {"uniform": [1, 16]}, "`n_d` is an integer; sample it with integer or choice, not uniform"),
        ("beta_x", {"integer": [1, 16]}, "`beta_x` is no integer; sample it with uniform, log_uniform or choice"),
        ("noise", {"uniform": [0, 1]}, "noise=0.0: input should be 'dimension' or 'sample'"),
        ("z_r", {"integer": [128, 256, 0]}, "`z_r`: integer has the step 0; it must be 1 or more"),
        ("beta_x", {"uniform": [-1, 1]}, "beta_x=-1.0: input should be greater than or equal to 0"),
        ("batch_size", {"choice": [32, 1]}, "batch_size=1: input should be greater than or equal to 2"),
        ("combination", {"choice": ["soft", "firm"]}, "combination='firm': input should be 'soft', 'hard' or"),
        ("lambda_2", {"same_as": "beta_y"}, "`lambda_2` depends on `beta_y`, which must be fixed in the stage or"),
        ("lambda_2", {"uniform": [0, 1], "when": {"noise": ["sample"]}}, "`lambda_2` depends on `noise`, which must"),
        ("lambda_2", {"uniform": [0, 1], "when": {"aligment": ["fd"]}}, "unknown field `aligment` of SADVAEConfig"),
        ("lambda_2", {"uniform": [0, 1], "when": {"noise": ["fd"]}}, "noise='fd': input should be 'dimension' or"),
    ],
)
def test_what_a_field_cannot_be_is_one_line_with_file_stage_and_field(write, field, dimension, message):
    path = write({field: dimension})
    with pytest.raises(InputError, match=f"^{path}: stage `only`: {message}") as refused:
        read_space(path, SADVAEConfig)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ({"uniform": [0, 1], "choice": [0.5]}, "expected exactly one of"),
        ({}, "expected exactly one of"),
        ({"normal": [0, 1]}, "Extra inputs are not permitted"),
        ({"uniform": [0]}, "Field required"),
        ({"uniform": ["low", 1]}, "valid number"),
    ],
)
def test_a_dimension_that_cannot_be_read_is_named(write, dimension, message):
    path = write({"beta_x": dimension})
    with pytest.raises(InputError, match=rf"^{path}: stages\.0\.sampled\.beta_x.*{message}"):
        read_space(path, SADVAEConfig)


def test_a_fixed_value_that_the_configuration_refuses_is_named(write):
    path = write({"beta_x": {"uniform": [0, 1]}}, fixed={"z_r": 0})
    with pytest.raises(InputError, match=f"^{path}: stage `only`: z_r=0: input should be greater than"):
        read_space(path, SADVAEConfig)


def test_an_unknown_metric_is_answered_with_the_known_ones(write):
    path = write({"beta_x": {"uniform": [0, 1]}}, metric="accuracy")
    with pytest.raises(InputError, match=f"^{path}: metric.0: Input should be 'harmonic_mean', 'zsl'"):
        read_space(path, SADVAEConfig)


def test_several_metrics_are_ranked_by_the_harmonic_mean_that_weighs_them(write):
    one = read_space(write({"beta_x": {"uniform": [0, 1]}}, metric="zsl"), SADVAEConfig)
    two = read_space(write({"beta_x": {"uniform": [0, 1]}}, metric=["unseen", "seen"]), SADVAEConfig)
    assert (one.metric, one.leading) == (["zsl"], "zsl")
    assert (two.metric, two.leading) == (["unseen", "seen"], "harmonic_mean")
    with pytest.raises(InputError, match="names one twice"):
        read_space(write({"beta_x": {"uniform": [0, 1]}}, metric=["seen", "seen"]), SADVAEConfig)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"beta_x": 2.0}, "beta_x: 2.0"),
        ({"z_r": 130}, "z_r: 130"),
        ({"z_r": True}, "z_r: True"),
        ({"combination": "hard"}, "combination: hard"),
        ({"n_d": 3}, "n_d: 3"),
        ({"betax": 0.5}, "betax: 0.5"),
        ({"lambda_2": 0.5}, "lambda_2: 0.5"),
        ({"beta_x": "much"}, "beta_x: much"),
    ],
)
def test_a_point_that_the_stage_could_not_sample_is_named(write, point, said):
    fields = {
        "beta_x": {"uniform": [0, 1]},
        "z_r": {"integer": [128, 256, 16]},
        "combination": {"choice": ["soft", "stacking"]},
        "lambda_2": {"same_as": "beta_x"},
    }
    path = with_points(write(fields), {"beta_x": 0.5, "z_r": 144, "combination": "soft"}, point)
    with pytest.raises(InputError) as refused:
        read_space(path, SADVAEConfig)
    assert str(refused.value) == f"{path}: stage `only`: points: `{said}` is no value that the stage can sample"


def test_numbers_are_read_as_people_write_them(tmp_path):
    """YAML 1.1 takes 1e-3 for a text, and 1.0e-3 for a number."""
    path = tmp_path / "space.yaml"
    path.write_text(
        """
        source: a test
        stages:
          - name: only
            trials: 2
            fixed: {temperature_scaling: true, lambda_1: 1E0}
            sampled:
              beta_x: {log_uniform: [1e-3, 1.5e1]}
              learning_rate: {choice: [1e-3, 1e-2]}
              lambda_2: {uniform: [0, 1], when: {learning_rate: [1e-2]}}
            points:
              - {beta_x: 1e-2, learning_rate: 1e-2}
        """
    )
    (stage,) = read_space(path, SADVAEConfig).stages
    assert stage.points == [{"beta_x": 0.01, "learning_rate": 0.01}]
    assert stage.sampled["beta_x"].log_uniform == (0.001, 15.0)
    assert stage.sampled["learning_rate"].choice == (0.001, 0.01)
    assert list(stage.distributions({"beta_x": 1.0, "learning_rate": 0.01, "lambda_2": 0.5})) == [
        "beta_x", "learning_rate", "lambda_2",
    ]  # fmt: skip
    assert stage.fixed["lambda_1"] == 1.0


@pytest.mark.parametrize("metric", [[], "harmonic", ["seen", "harmonic"], {"seen": 1}])
def test_metrics_that_cannot_be_are_one_line(write, metric):
    path = write({"beta_x": {"uniform": [0, 1]}}, metric=metric)
    with pytest.raises(InputError, match=f"^{path}: metric") as refused:
        read_space(path, SADVAEConfig)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("points", [[3], [["beta_x"]], [None]])
def test_points_are_fields_with_values(write, points):
    path = with_points(write({"beta_x": {"uniform": [0, 1]}}), *points)
    with pytest.raises(InputError, match=rf"^{path}: stages\.0\.points\.0: ") as refused:
        read_space(path, SADVAEConfig)
    assert "\n" not in str(refused.value)


def test_only_the_fields_that_a_configuration_samples_have_distributions(write):
    fields = {
        "combination": {"choice": ["soft", "hard"]},
        "beta_y": {"uniform": [0, 1], "when": {"combination": ["soft"]}},
        "lambda_2": {"same_as": "beta_y"},
    }
    (stage,) = read_space(write(fields), SADVAEConfig).stages
    assert list(stage.distributions({"combination": "hard", "beta_y": 5.0})) == ["combination"]
    assert list(stage.distributions({"combination": "soft", "beta_y": 0.5})) == ["combination", "beta_y"]
    assert stage.distributions({"combination": "soft", "beta_y": 5.0}) is None
    assert stage.distributions({"combination": "soft"}) is None
    assert stage.distributions({"combination": "stacking"}) is None


def test_the_last_stage_is_not_preliminary(write):
    path = write({"beta_x": {"uniform": [0, 1]}})
    space = yaml.safe_load(path.read_text())
    first, last = ({**space["stages"][0], "name": name, "preliminary": True} for name in ("first", "last"))
    path.write_text(yaml.safe_dump({**space, "stages": [first, {**last, "preliminary": False}]}))
    assert [stage.preliminary for stage in read_space(path, SADVAEConfig).stages] == [True, False]
    path.write_text(yaml.safe_dump({**space, "stages": [first, last]}))
    with pytest.raises(InputError, match=f"^{path}: stage `last` is the last and preliminary"):
        read_space(path, SADVAEConfig)


def test_erpcnet_without_its_policy_is_never_its_searchs_best():
    network, policy = read_space(SPACES / "erpcnet.yaml", load_method("methods.erpcnet").Config).stages
    assert (network.fixed["sampler"], network.preliminary) == ("random", True)
    assert (policy.fixed["sampler"], policy.preliminary) == ("policy", False)


def test_stages_need_names_of_their_own(write):
    path = write({"beta_x": {"uniform": [0, 1]}}, stages=2)
    with pytest.raises(InputError, match=f"^{path}: two stages have one name"):
        read_space(path, SADVAEConfig)


@pytest.mark.parametrize("text", ["", "stages: [", "- a list", "only text"])
def test_a_file_that_is_no_space_is_named(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{path}: ") as refused:
        read_space(path, SADVAEConfig)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.yaml: no such search-space file; give one with --space"):
        read_space(tmp_path / "no.yaml", SADVAEConfig)


def test_a_field_is_sampled_only_when_another_has_the_value(write):
    weight = {"uniform": [0.5, 1], "when": {"alignment": ["fd+tc"]}}
    (stage,) = read_space(write({"alignment": {"choice": ["fd+tc", "fd"]}, "lambda_2": weight}), SADVAEConfig).stages
    several = sampled(stage)
    assert {v["alignment"] for v in several} == {"fd+tc", "fd"}
    assert all(("lambda_2" in v) == (v["alignment"] == "fd+tc") for v in several)


def test_a_field_equals_another_where_that_one_is_sampled(write):
    sampled_fields = {
        "alignment": {"choice": ["fd+tc", "fd"]},
        "beta_y": {"uniform": [0.5, 1], "when": {"alignment": ["fd"]}},
        "lambda_2": {"same_as": "beta_y"},
    }
    (stage,) = read_space(write(sampled_fields), SADVAEConfig).stages
    for values in sampled(stage):
        assert values.get("lambda_2") == values.get("beta_y")
        assert ("lambda_2" in values) == (values["alignment"] == "fd")


def test_a_field_cannot_depend_on_one_that_is_sampled_later(write):
    path = write({"lambda_2": {"same_as": "beta_y"}, "beta_y": {"uniform": [0, 1]}})
    with pytest.raises(InputError, match="`lambda_2` depends on `beta_y`"):
        read_space(path, SADVAEConfig)


def test_what_earlier_stages_kept_is_in_every_configuration(write):
    (stage,) = read_space(write({"beta_x": {"uniform": [0, 1]}}, fixed={"z_r": 192}), SADVAEConfig).stages
    (values,) = sampled(stage, 1, {"beta_y": 0.25, "z_r": 64})
    assert (values["beta_y"], values["z_r"]) == (0.25, 64)
    assert 0 <= values["beta_x"] <= 1
