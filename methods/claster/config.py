"""CLASTER's hyperparameters."""

from typing import Literal

from pydantic import Field

from methods.compatibility import CompatibilityConfig


class CLASTERConfig(CompatibilityConfig):
    """Hyperparameters of CLASTER; the defaults are the paper's."""

    clusters: int = Field(6, ge=1, description="k, number of centroids (Section 4; Fig. 8)")
    clustering: Literal["reinforce", "kmeans", "random", "sgd", "netvlad", "none"] = Field(
        "reinforce", description="what becomes of the centroids: CLASTER, or the other rows of Table 1"
    )
    visual_semantic: bool = Field(True, description="estimate semantics and cluster them too; else `w/o SE` (Table 1)")
    aggregation: Literal["concatenation", "average", "dot", "weighted"] = Field(
        "concatenation", description="how features and semantics make a point (Table 7); dot: element by element"
    )
    hidden: int = Field(8192, ge=1, description="width of every MLP's hidden layer (Section 4)")
    channels: int = Field(8, ge=0, description="of the first of V's two convolutional layers; 0: none (not said)")
    semantic_weight: float = Field(1.0, ge=0, description="of the least squares of the estimated semantics (not said)")
    policy: Literal["reinforce", "rllib"] = Field(
        "reinforce", description="which centroid a point moves: its nearest (Eq. 5), or the choice of RLlib's PPO"
    )
    policy_iterations: int = Field(2, ge=1, description="of PPO, before each epoch; policy=rllib (ours)")
    policy_horizon: int = Field(32, ge=1, description="points of an episode of its environment (ours)")
    policy_alpha: float = Field(
        1.0, gt=0, description="step of its environment: large, so that an episode shows what many iterations do (ours)"
    )
    policy_learning_rate: float = Field(1e-3, gt=0, description="of PPO's Adam (ours)")
    policy_hidden: int = Field(64, ge=1, description="width of the policy's two hidden layers (ours)")
    alpha: float = Field(0.1, ge=0, description="step of the centroids at first (Section 4)")
    alpha_steps: int = Field(1000, ge=1, description="iterations after which it is a tenth, and then again (Section 4)")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam (Section 4)")
    weight_decay: float = Field(5e-4, ge=0, description="λ of Eq. 3, inside Adam (Section 4)")
    projection_steps: int = Field(
        5000,
        ge=1,
        description="Adam steps of the semantic-to-visual MLP, at most: it ends once its loss stays (not said)",
    )
    inference: Literal["predicted", "expected", "estimated", "softmax"] = Field(
        "predicted", description="what the nearest unseen class is sought from (Section 4; see methods.claster)"
    )
    neighbours: int = Field(3, ge=0, description="k of the rectification; 0: none (Eq. 6; not said)")
    nearest_temperature: float = Field(0.1, gt=0, description="of the softmax over cosine similarities (not said)")
    train_share: float = Field(1.0, gt=0, le=1, description="of each seen class's samples to train on (Fig. 7: 0.35)")
    seen_classifier: Literal["compatibility", "features", "logits"] = Field(
        "compatibility", description="seen scores: Eq. 2, or another classifier (a softmax layer, given logits)"
    )
    combination: Literal["stacking", "hard", "soft", "joint"] = Field(
        "stacking",
        description="calibrated stacking (ours: see methods.claster), a gate as the paper's bias detector, hard or "
        "soft, or joint: the largest score of all classes",
    )
    batch_size: int = Field(64, ge=1, description="samples an iteration (not said)")
    iterations: int = Field(100, ge=1, description="steps of an epoch; 10,000 in all (Section 4)")
    epochs: int = Field(100, ge=1, description="of so many iterations (Section 4: 10,000 iterations)")
