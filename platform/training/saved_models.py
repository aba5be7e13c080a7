"""Models on disk: model.safetensors and model.json in one folder."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from platform.errors import InputError
from platform.files import writing
from platform.method import Model, load_method
from platform.training.ensembles import Ensemble
from platform.zeroshot.gate import Gate, Stacking


def save_model(method_name: str, model: Model, folder: Path, record: Mapping[str, Any]) -> None:
    """Write a model's folder whole, in place of a former one; `record` is kept beside the model's own values."""
    tensors, values = model.state()
    combination = model.combination and {"type": type(model.combination).__name__, **asdict(model.combination)}
    values = {**values, "seen": model.seen, "unseen": model.unseen, "combination": combination}
    # copies: an ensemble's parts may share a tensor, but safetensors needs separate memory for each name
    copies = {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    kind = "ensemble" if isinstance(model, Ensemble) else "model"
    text = json.dumps({"method": method_name, "kind": kind, "record": dict(record), "values": values}, indent=1)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    with writing(folder.parent):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            save_file(copies, partial / "model.safetensors")
            (partial / "model.json").write_text(text + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[Model, dict[str, Any]]:
    """The model of a folder, on a device, and the record saved with it. Raises InputError where there is none."""
    saved = _saved(folder)
    values = saved["values"]
    if values["combination"] is not None:
        fields = dict(values["combination"])
        kind = {"Gate": Gate, "Stacking": Stacking}[fields.pop("type")]
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        values["combination"] = kind(**fields)
    values["seen"], values["unseen"] = tuple(values["seen"]), tuple(values["unseen"])
    restored = Ensemble.from_state if saved["kind"] == "ensemble" else load_method(saved["method"]).restored
    tensors = load_file(folder / "model.safetensors", device=str(device))
    try:
        return restored(tensors, values), saved["record"]
    except (KeyError, TypeError, ValidationError) as error:
        said = str(error).splitlines()[0]
        raise InputError(
            f"{folder}: saved by another version of its method, which names tensors or fields otherwise ({said}); "
            "train it again, or load it with that version"
        ) from error


def method_of(folder: Path) -> str:
    """The method's name of a folder's single model. Raises InputError where there is none, or an ensemble."""
    saved = _saved(folder)
    if saved["kind"] == "ensemble":
        raise InputError(f"{folder}: an ensemble; give the folder of a single model, such as RUN/models/0-clean")
    return saved["method"]


def _saved(folder: Path) -> dict[str, Any]:
    if not (folder / "model.json").exists():
        raise InputError(f"{folder} holds no model: it has no model.json")
    return json.loads((folder / "model.json").read_text())
