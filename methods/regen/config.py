"""ReGen's hyperparameters."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from platform.method import MethodConfig


class ReGenConfig(MethodConfig):
    """Hyperparameters of ReGen; the defaults are the paper's (Section 4), or said to be ours."""

    captioner: str = Field(
        "microsoft/git-base", description="GIT or BLIP, Hugging Face id or folder; the paper's went through REST first"
    )
    clip: str = Field(
        "openai/clip-vit-base-patch16",
        description="CLIP of rewards and decisions: id, folder or open_clip:ARCHITECTURE/WEIGHTS (3.2.1: ViT-B/16)",
    )
    template: str = Field(
        "{}", pattern=r"\{\}", description="a class name as CLIP reads it, {} being the name (3.2.1: the name itself)"
    )
    objective: Literal["rewards", "class_names", "none"] = Field(
        "rewards", description="of the epochs after REST's: ReGen, the class name's language-model loss, or none (REST)"
    )
    lambda_cls: float = Field(1.0, ge=0, description="weight of CLS-R (Section 4)")
    lambda_clip: float = Field(5.0, ge=0, description="weight of CLIP-R (Section 4)")
    lambda_grammar: float = Field(0.2, ge=0, description="weight of GRAMMAR-R (Section 4)")
    tau: float = Field(0.01, gt=0, description="τ of Eq. 1, and of the decisions' probabilities (not said; CLIP's own)")
    grammar: Literal["lm", "discriminator"] = Field("lm", description="which GRAMMAR-R: Eq. 5, or Eq. 6")
    language_model: str = Field("bert-large-uncased", description="masked language model of Eq. 5 (Table 3: BERT-L)")
    dense_grammar: bool = Field(False, description="Eq. 5 without its sum: a reward for each token (3.2.3)")
    explore: Literal["beam", "sample"] = Field("beam", description="how w_b is found (Eq. 3: beam search)")
    beams: int = Field(5, ge=1, description="captions that are explored for a clip (not said; ours)")
    temperature: float = Field(1.0, gt=0, description="of explore=sample (ours)")
    top_p: float = Field(1.0, gt=0, le=1, description="of explore=sample (ours)")
    max_tokens: int = Field(24, ge=2, description="longest caption, in tokens (not said; ours)")
    decoding: Literal["greedy", "beam"] = Field("beam", description="of a trained model's captions (not said; ours)")
    corpus: str = Field("", description="file of captions, one a line: for REST's stage and the discriminator")
    rest_epochs: int = Field(0, ge=0, description="first epochs, of REST's self-training on retrieved captions (ours)")
    rest_captions: int = Field(5, ge=1, description="captions retrieved for a clip, one drawn a step (ours)")
    rest_learning_rate: float = Field(1e-5, gt=0, description="of AdamW in REST's stage (ours)")
    frozen: Literal["none", "vision", "decoder"] = Field("none", description="a part that is left as it is (ours)")
    lora_rank: int = Field(0, ge=0, description="of LoRA's adapters, which alone are trained; 0: all weights (ours)")
    lora_alpha: float = Field(16.0, gt=0, description="what LoRA's products are multiplied by, over the rank (ours)")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="of adapters' inputs in stages of text (ours)")
    lora_matrices: Literal["query_value", "attention"] = Field(
        "query_value",
        description="that have adapters: queries and values (Hu et al., 2022), or all of attention",
    )
    learning_rate: float = Field(1e-7, gt=0, description="of AdamW (Section 4)")
    weight_decay: float = Field(0.001, ge=0, description="of AdamW (Section 4)")
    gradient_cut: float = Field(1.0, ge=0, description="largest norm of a step's gradient; 0: uncut (not said; ours)")
    batch_size: int = Field(8, ge=1, description="clips a step (Section 4)")
    accumulation: int = Field(1, ge=1, description="parts in which a batch goes through the networks (ours)")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the captioner's products (ours)")
    checkpointing: bool = Field(False, description="recompute activations in the backward step, to save memory (ours)")
    epochs: int = Field(10, ge=1, description="passes over the training clips, REST's included (Section 4)")
    combination: Literal["joint", "stacking", "soft", "hard"] = Field(
        "joint", description="joint: the nearest of all class names (1-vs-620, Table 8), calibrated stacking, or a gate"
    )

    def read(self, names: Sequence[str]) -> list[str]:
        """Class names as CLIP reads them."""
        return [self.template.replace("{}", as_words(name)) for name in names]

    @property
    def judges_by_language_model(self) -> bool:
        """Whether rewards ask the language model."""
        return self.objective == "rewards" and self.grammar == "lm" and self.lambda_grammar > 0

    @property
    def first_epoch(self) -> int:
        """The first epoch whose model may be chosen: REST's alone prepare."""
        return min(self.rest_epochs, self.epochs - 1)


def as_words(name: str) -> str:
    """A class name as one writes it."""
    return name.replace("_", " ")
