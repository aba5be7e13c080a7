"""A trained extractor in one file: its weights, its configuration, its classes, and what it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from platform.datasets.trained_on import TrainedOn
from platform.errors import InputError
from platform.features.extractors import ExtractorConfig, find_extractor
from platform.features.joints import JOINTS, Layout
from platform.features.network import SkeletonNetwork
from platform.features.released import check_names_and_shapes, read_weights
from platform.training.checkpoints import read_checkpoint, write_checkpoint


@dataclass(frozen=True)
class SavedExtractor:
    """An extractor with its weights. seen: its classes' names, or None of published weights; record: its training."""

    name: str
    config: ExtractorConfig
    layout: Layout
    seen: tuple[str, ...] | None
    network: SkeletonNetwork
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trained_on(self) -> TrainedOn:
        """The training data, for the card of its features; unknown for published weights without `made_from`."""
        if self.seen is not None:
            return TrainedOn(classes=self.seen, other="none", source="trained here")
        return TrainedOn(**self.record.get("trained_on", {}))

    def made_from(self, trained_on: TrainedOn) -> "SavedExtractor":
        """The same published weights, with the data that they were made from."""
        return replace(self, record={**self.record, "trained_on": trained_on.model_dump(mode="json")})

    def write(self, path: Path) -> None:
        """One safetensors file, whole."""
        seen = None if self.seen is None else list(self.seen)
        config = self.config.model_dump(mode="json")
        classes = self.network.classes
        facts = {"name": self.name, "config": config, "layout": self.layout, "seen": seen, "classes": classes}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(path, self.network.state_dict(), facts | {"record": dict(self.record)})

    @classmethod
    def read(cls, path: Path) -> "SavedExtractor":
        """Raises InputError where there is none."""
        found = read_checkpoint(path)
        if found is None:
            raise InputError(f"{path}: no extractor stands there; its training has not ended")
        tensors, facts = found
        extractor = find_extractor(facts["name"])
        config = extractor.Config(**facts["config"])
        network = extractor.build(config, facts["classes"], facts["layout"])
        network.load_state_dict(tensors)
        seen = None if facts["seen"] is None else tuple(facts["seen"])
        return cls(facts["name"], config, facts["layout"], seen, network.eval(), facts["record"])


def published(name: str, config: ExtractorConfig, weights: Path) -> SavedExtractor:
    """An extractor with released weights, by their names: .pt (read without unpickling code) or .safetensors.

    The weights say which sensor's joints and, of Shift-GCN, how many bodies they take. Raises InputError where the file
    is no such thing, or a weight is lacking, unknown, or of another shape.
    """
    where = f"--weights {weights}"
    tensors = read_weights(weights, where)
    first = tensors.get("data_bn.weight")
    last = tensors.get("fc.weight", tensors.get("fcn.weight"))
    if first is None or last is None:
        raise InputError(f"{where}: no weights of {name}: they have no data_bn.weight, or no fc.weight or fcn.weight")
    layouts: dict[int, Layout] = {len(joints): layout for layout, joints in JOINTS.items()}
    bodies = config.bodies or 2
    places = len(first) // 3 // (bodies if name == "shiftgcn" else 1)
    if places not in layouts:
        raise InputError(
            f"{where}: made for {places} joints of {bodies} bodies; known are {', '.join(map(str, layouts))}"
        )
    layout = layouts[places]
    if config.layout not in (None, layout):
        raise InputError(f"{where}: made for {layout}, not for layout={config.layout}")
    config = config.model_copy(update={"layout": layout, "bodies": bodies})
    network = find_extractor(name).build(config, len(last), layout)
    check_names_and_shapes(where, network.state_dict(), tensors)
    network.load_state_dict(tensors)
    return SavedExtractor(name, config, layout, None, network.eval(), {"weights": weights.name})
