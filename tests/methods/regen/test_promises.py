"""ReGen keeps what methods promise, with tiny models."""

import pytest

from platform.learning.conformance import CHECKS, examine


@pytest.mark.slow
@pytest.mark.parametrize("captioner", ["git", "blip"])
def test_it_keeps_its_promises(models, captioner):
    tiny = {"captioner": models(captioner), "clip": models("clip"), "language_model": models("bert"), "epochs": 2}
    tiny |= {"batch_size": 12, "beams": 2, "max_tokens": 5, "learning_rate": 1e-3, "tau": 0.1, "decoding": "greedy"}
    found = list(examine("methods.regen", tiny))
    assert len(found) == len(CHECKS)
    assert {f.check: f.said for f in found if f.status == "broken"} == {}
