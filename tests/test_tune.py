import pytest
import yaml
from verbs import SMALL_SPACE, invoked, small_options, write_small_dataset


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SMALL_SPACE)
    return path


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--trials", "2"], "--trials 2: expected 2 numbers, one a stage, as in 2,4"),
        (["--trials", "2,many"], "--trials 2,many: expected 2 numbers"),
        (["--trials", "2,0"], "--trials 2,0: expected 2 numbers"),
        (["--sampler", "rndom"], "sampler `rndom`; did you mean `random`?"),
        (["--set", "beta_x=0.1"], "beta_x: stage `first` of space.yaml samples it; use another --space"),
        (["--pack", "0"], "--pack 0: expected auto, or a number of trials"),
        (["--pack", "many"], "--pack many: expected auto"),
        (["--splits", "one,seen"], "--splits one,seen: expected different names separated by commas, and no --split"),
        (["--warm-start", "before"], "no search's folder, MLflow experiment or run in"),
        (["--warm-start", "."], "--warm-start .: no search stands there"),
        (["--protocol", "released"], "--protocol released: expected clean, or both"),
        (["--device", "gpu"], "device `gpu`: expected auto, cpu, cuda or cuda:N"),
        (["--space", "no.yaml"], "no.yaml: no such search-space file; give one with --space"),
        (["--split", "random:9:0"], "split `random:9:0`: UNSEEN must be 1 to 7, and SEED 0 or more"),
    ],
)
def test_what_is_wrong_is_one_line_before_a_folder_is_made(small_dataset, space, tmp_path, wrong, message):
    runs = tmp_path / "runs"
    arguments = ["methods.sadvae", *small_options(small_dataset, runs), "--space", space, *wrong]
    code, output, errors = invoked("tune", *arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert not list(runs.glob("tune-*"))


def test_a_space_that_does_not_fit_the_method_is_refused(small_dataset, space, tmp_path):
    stages = yaml.safe_load(SMALL_SPACE)
    stages["stages"][1]["sampled"]["lambda_1"] = {"integer": [1, 2]}
    space.write_text(yaml.safe_dump(stages))
    runs = tmp_path / "runs"
    code, _, errors = invoked("tune", "methods.sadvae", *small_options(small_dataset, runs), "--space", space)
    assert code == 2
    assert errors == (
        f"error: {space}: stage `second`: `lambda_1` is no integer; sample it with uniform, log_uniform or choice\n"
    )
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "give a METHOD, such as methods.sadvae, or --resume FOLDER"),
        (["--resume", "."], "no search stands there"),
        (["methods.sadvae", "--resume", "."], "--resume goes on with what was asked for then"),
    ],
)
def test_a_search_is_new_or_goes_on(arguments, message):
    code, _, errors = invoked("tune", *arguments)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
