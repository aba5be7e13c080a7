import pytest
import torch
from made_erpcnet import SEEN

from platform.population.draws import generator


@pytest.fixture(autouse=True)
def _quick_policy(request, monkeypatch):
    """A policy that only drifts, by the seed, in place of RLlib's PPO, but in the slow tests."""

    def drifted(weights, localities, options, seed):
        count, cells, width = localities.embeddings.shape
        assert localities.joint(torch.zeros(count, (options.steps + 1) * width)).shape == (count, SEEN)
        assert localities.ratios.shape == (count, cells)
        draw = generator(seed)
        fared = {"policy_return": 1.0, "random_return": 0.5, "policy_steps": 2.0, "random_steps": 3.0}
        learned = {name: t + 0.1 * torch.randn(t.shape, generator=draw) for name, t in weights.items()}
        return dict(reversed(learned.items())), fared  # in another order, as RLlib's is

    if "slow" not in request.keywords:
        monkeypatch.setattr("methods.environments.locality_ppo.improved", drifted)
