import pytest
import yaml
from verbs import ROOT

CLUSTERS = [ROOT / "cluster.yaml", *sorted((ROOT / "clusters").glob("*.yaml"))]


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_ray_accepts_the_cluster_file(path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load(path.read_text())))


def test_an_unknown_key_would_be_found():
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(ValidationError):
        validate_config({**yaml.safe_load((ROOT / "cluster.yaml").read_text()), "workers": 3})
