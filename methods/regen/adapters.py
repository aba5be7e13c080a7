"""LoRA (Hu et al., ICLR 2022) on the captioner's attention, through peft: for one small GPU.

A chosen matrix W stays as it is, W + B·A·alpha/rank takes its place, and A and B alone are trained: the optimiser and a
checkpoint hold a hundredth of the numbers. B begins at zero, so that training begins at W. A model's weights are the
sums: it is loaded without peft.
"""

from collections.abc import Iterator
from types import ModuleType

from torch import Tensor, nn

from methods.regen.captioners import Captioner
from methods.regen.config import ReGenConfig
from platform.errors import InputError
from platform.population.draws import named_draws

# of GIT's and BLIP's text decoders, of GIT's vision tower, and of BLIP's, which has one matrix for all three
_QUERY_VALUE = ("self.query", "self.value", "self_attn.q_proj", "self_attn.v_proj", "self_attn.qkv")
_KEY_OUTPUT = (
    "self.key", "attention.output.dense", "self_attn.k_proj", "self_attn.out_proj", "self_attn.projection"
)  # fmt: skip
_ADAPTER = "regen"


def add_adapters(captioner: Captioner, config: ReGenConfig, seed: int) -> dict[str, nn.Parameter]:
    """Give the captioner's attention adapters, in place; returns them by their names: nothing else is to be trained.

    A part that `frozen` names has none. Raises InputError where peft is not installed.
    """
    peft = _peft(config)
    frozen = {id(own) for own in captioner.groups().get(config.frozen, ())}
    ends = _QUERY_VALUE + (_KEY_OUTPUT if config.lora_matrices == "attention" else ())
    named = captioner.network.pretrained.named_modules()
    chosen = [name for name, part in named if name.endswith(ends) and id(part.weight) not in frozen]
    options = peft.LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout, target_modules=chosen
    )
    with named_draws(captioner.temporal.device, seed, "adapters"):
        peft.inject_adapter_in_model(options, captioner.network.pretrained, adapter_name=_ADAPTER)
    found = {name: own for name, own in captioner.named_parameters() if ".lora_" in name}
    for own in captioner.parameters():
        own.requires_grad_(False)
    for own in found.values():
        own.requires_grad_(True)
    return found


def merged_weights(captioner: Captioner) -> dict[str, Tensor]:
    """The weights of the captioner as if it never had adapters: matrices with what the adapters add; copies."""
    added = {f"{name}.base_layer.weight": layer.get_delta_weight(_ADAPTER) for name, layer in _adapted(captioner)}
    state = {name: own.detach() for name, own in captioner.state_dict().items() if ".lora_" not in name}
    plain = {name: name.replace(".base_layer.", ".") for name in state}
    return {plain[name]: own + added[name].detach() if name in added else own.clone() for name, own in state.items()}


def _adapted(captioner: Captioner) -> Iterator[tuple[str, nn.Module]]:
    for name, part in captioner.named_modules():
        if hasattr(part, "lora_A") and hasattr(part, "get_delta_weight"):
            yield name, part


def _peft(config: ReGenConfig) -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise InputError(
            f"lora_rank={config.lora_rank}: needs the Python module `peft` ({error}); install the extra lora: "
            "pip install -e .[lora], or give lora_rank=0"
        ) from error
    return peft
