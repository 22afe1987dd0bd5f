"""The weight matrices of a model and what fine-tuning added to them, one at a time.

A model is a `transformers` or `peft` model, or a folder with safetensors files: of a model, or of a LoRA adapter. From
folders one matrix is in memory at a time.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.experiment import BadInput

PREFIX = re.compile(r"^(base_model\.model\.|_orig_mod\.|module\.)+")
TABLES = re.compile(r"(^|\.)(embed_tokens|embeddings?|wte|wpe|lm_head|embed_out)(\.|$)")
ADAPTER = "adapter_model.safetensors"
LORA_PART = re.compile(r"\.lora_[AB]\.weight$")
# in the names of what `peft` saves, all that is not the name of the model's own weight
OF_PEFT = re.compile(r"\.(?:lora_|base_layer|token_adapter).*?(\.bias)?$")
# GPT-2 and its like store these matrices transposed; a folder doesn't say so, only the name of its model does
TURNED_MODELS = ("decision_transformer", "gpt2", "imagegpt", "openai-gpt")
TURNED = re.compile(r"\.(c_attn|q_attn|c_fc|c_proj)\.weight$")


def is_tall(matrix: Float[Tensor, "m n"]) -> bool:
    """Whether a matrix has no more columns than rows."""
    return matrix.shape[0] >= matrix.shape[1]


@dataclass(frozen=True, eq=False)
class Update:
    """What was added to one matrix: `dense`, or the product scale * left @ right of a LoRA."""

    dense: Float[Tensor, "m n"] | None = None
    left: Float[Tensor, "m rank"] | None = None
    right: Float[Tensor, "rank n"] | None = None
    scale: float = 1.0

    def matrix(self) -> Float[Tensor, "m n"]:
        """The update itself."""
        return self.dense if self.dense is not None else self.scale * self.left @ self.right

    @cached_property
    def moment(self) -> Float[Tensor, "n n"]:
        """D^T D of a dense update, or D D^T where that is smaller."""
        return self.dense.T @ self.dense if is_tall(self.dense) else self.dense @ self.dense.T

    @property
    def parts(self) -> tuple[Tensor, ...]:
        return tuple(part for part in (self.dense, self.left, self.right) if part is not None)


@dataclass(frozen=True, eq=False)
class Changed:
    """One matrix: its name, its base weights W0 and its update, in float32."""

    name: str
    base: Float[Tensor, "m n"]
    update: Update


def changed_matrices(base: Any, tuned: Any) -> Iterator[Changed]:
    """Every matrix of `base` between activations with its update in `tuned`; embeddings and heads are left out.

    What an adapter changes besides is named by `left_out`. Raises BadInput where the two are not a model and its tuned
    version, or a weight is not finite.
    """
    weights, source = matrices_of(base), updates_of(tuned)
    names = [name for name in source if name in weights]
    if not names:
        few = ", ".join(list(source)[:2]) or "none"
        raise BadInput(
            f"base and tuned share no matrix; those of tuned: {few}, of base: {', '.join(list(weights)[:2])}"
        )
    if strangers := [name for name in source if name not in weights]:
        raise BadInput(
            f"tuned changes {strangers[0]}, which base does not have: is it the base of this model?"
        )
    with torch.no_grad():
        for name in names:
            before = in_float32(name, weights[name])
            yield Changed(name, before, checked(name, before, source[name](before)))


def checked(name: str, base: Tensor, update: Update) -> Update:
    shape = (
        tuple(update.dense.shape) if update.dense is not None else (len(update.left), update.right.shape[1])
    )
    if shape != tuple(base.shape):
        raise BadInput(f"{name} has shape {tuple(base.shape)} in base and {shape} in tuned")
    if not all(part.isfinite().all() for part in update.parts):
        raise BadInput(f"{name} of tuned has weights that are not finite")
    return update


def in_float32(name: str, weight: Tensor) -> Float[Tensor, "*shape"]:
    """A finite float32 copy of a weight. Raises BadInput for one that is packed (quantised) or not finite."""
    if not weight.is_floating_point():
        raise BadInput(f"{name} holds {weight.dtype}: load the model without quantisation")
    found = weight.detach().float()
    if not found.isfinite().all():
        raise BadInput(f"{name} has weights that are not finite")
    return found


class Lazily(Mapping):
    """Tensors of safetensors files by their plain names, read when they are asked for."""

    def __init__(self, files: list[Path], wanted: Any = lambda name, piece: True):
        from safetensors import safe_open

        self.places = {}
        for file in files:
            with safe_open(file, "pt") as tensors:
                found = ((PREFIX.sub("", key), key) for key in tensors.keys())  # noqa: SIM118 no mapping
                self.places |= {
                    name: (file, key) for name, key in found if wanted(name, tensors.get_slice(key))
                }

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import safe_open

        file, key = self.places[name]
        with safe_open(file, "pt") as tensors:
            return tensors.get_tensor(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


class Turned(Lazily):
    """The same, the matrices that GPT-2 and its like store transposed turned."""

    def __getitem__(self, name: str) -> Tensor:
        found = super().__getitem__(name)
        return found.T if TURNED.search(name) else found


def matrices_of(model: Any) -> Mapping[str, Tensor]:
    """Name -> weight of every matrix between activations, by the names of the model without adapters."""
    if isinstance(model, (str, Path)):
        files = weight_files_of(model)
        kind = Turned if model_type(model) in TURNED_MODELS else Lazily
        return kind(files, lambda name, piece: is_matrix(name, len(piece.get_shape())))
    if not isinstance(model, nn.Module):
        raise BadInput(
            f"a model is a transformers model, a peft model or a folder, not {type(model).__name__}"
        )
    found = {}
    for name, module in model.named_modules():
        plain = getattr(module, "base_layer", module)
        weight = getattr(plain, "weight", None)
        if name.endswith(".base_layer") or ".lora_" in name or not isinstance(weight, Tensor):
            continue
        label = f"{PREFIX.sub('', name)}.weight"
        if is_matrix(label, weight.dim()) and not isinstance(plain, nn.Embedding):
            found[label] = weight.T if is_turned(plain) else weight
    return found


def is_turned(layer: nn.Module) -> bool:
    """Whether a layer stores its matrix transposed (GPT-2's do)."""
    return type(layer).__name__ == "Conv1D"


def model_type(folder: str | Path) -> str:
    """What `transformers` calls the kind of model in a folder; empty where the folder doesn't say."""
    config = Path(folder) / "config.json"
    return json.loads(config.read_text(encoding="utf-8")).get("model_type", "") if config.is_file() else ""


def parameters_of(model: nn.Module | str | Path) -> Mapping[str, Tensor]:
    """Name -> every weight, of the model itself or of its folder, as it is stored."""
    return dict(model.named_parameters()) if isinstance(model, nn.Module) else Lazily(weight_files_of(model))


def is_matrix(name: str, dimensions: int) -> bool:
    return dimensions == 2 and name.endswith(".weight") and not TABLES.search(name)


def weight_files_of(folder: str | Path) -> list[Path]:
    """The safetensors files of a model's folder. Raises BadInput if there are none."""
    files = sorted(Path(folder).glob("*.safetensors")) if Path(folder).is_dir() else []
    if not files:
        raise BadInput(
            f"{folder} is no folder with safetensors files: download the model there, or give a loaded one"
        )
    return files


def updates_of(tuned: Any) -> Mapping[str, Any]:
    """Name -> function from the base weight to its update."""
    if is_adapter_folder(tuned):
        return AdapterFolder(Path(tuned)).updates
    layers = lora_layers(tuned) if isinstance(tuned, nn.Module) else {}
    if layers:
        return {
            name: lambda base, layer=layer, name=name: of_layer(name, layer) for name, layer in layers.items()
        }
    weights = matrices_of(tuned)
    return {name: lambda base, name=name: difference(name, weights[name], base) for name in weights}


def is_adapter_folder(tuned: Any) -> bool:
    return isinstance(tuned, (str, Path)) and (Path(tuned) / ADAPTER).is_file()


def is_adapter(tuned: Any) -> bool:
    """Whether what was tuned is a LoRA beside its base, a model or a folder."""
    return is_adapter_folder(tuned) or (isinstance(tuned, nn.Module) and bool(all_lora_layers(tuned)))


def left_out(tuned: Any) -> tuple[str, ...]:
    """Weights that an adapter changes and `changed_matrices` leaves out: heads, embeddings, norms, biases."""
    if is_adapter_folder(tuned):
        saved = set(AdapterFolder(Path(tuned)).tensors)
    else:
        saved = saved_by_adapters(tuned) if is_adapter(tuned) else set()
    found = set()
    for key in saved:
        name = OF_PEFT.sub(lambda part: part[1] or ".weight", key)
        carried = LORA_PART.search(key) and not TABLES.search(name)
        if not carried and ".lora_magnitude_vector" not in key:  # of DoRA, which is refused as such
            found.add(name)
    return tuple(sorted(found))


def saved_by_adapters(model: nn.Module) -> set[str]:
    """What `peft` would write of a model's active adapters, by name."""
    from peft import get_peft_model_state_dict

    active = {a for layer in all_lora_layers(model).values() for a in layer.active_adapters}
    found = set()
    for adapter in active:
        # "auto" for the embeddings would ask the hub for the size of the vocabulary
        state = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
        found |= {PREFIX.sub("", key) for key in state}
    return found


def difference(name: str, after: Tensor, before: Tensor) -> Update:
    after = in_float32(name, after)
    if after.shape != before.shape:
        raise BadInput(f"{name} has shape {tuple(before.shape)} in base and {tuple(after.shape)} in tuned")
    return Update(dense=after - before)


def lora_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Weight's plain name -> layer of `peft` with a LoRA beside a matrix between activations."""
    return {name: layer for name, layer in all_lora_layers(model).items() if not TABLES.search(name)}


def all_lora_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The same with heads and embeddings."""
    if not hasattr(model, "peft_config"):
        return {}
    from peft.tuners.lora import LoraLayer

    return {f"{PREFIX.sub('', n)}.weight": m for n, m in model.named_modules() if isinstance(m, LoraLayer)}


def of_layer(name: str, layer: Any) -> Update:
    """The update of one layer of `peft`, of all adapters that are active, with its gradient."""
    if layer.merged:
        raise BadInput(f"{name}: the adapter is merged into the weights: call unmerge_adapter() first")
    if any(layer.use_dora.get(adapter, False) for adapter in layer.active_adapters):
        raise BadInput(f"{name}: DoRA rescales columns, so its update is no product of two matrices")
    active = [a for a in layer.active_adapters if a in layer.lora_A]
    plain = layer.get_base_layer()
    if not active or not (isinstance(plain, nn.Linear) or is_turned(plain)):
        raise BadInput(f"{name}: no active LoRA on a linear layer")
    lefts = [layer.scaling[a] * layer.lora_B[a].weight.float() for a in active]
    rights = [layer.lora_A[a].weight.float() for a in active]
    return Update(left=torch.cat(lefts, 1), right=torch.cat(rights, 0))


class AdapterFolder:
    """A LoRA adapter on disk, as `peft` saves it."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        if self.config.get("peft_type") != "LORA" or self.config.get("use_dora"):
            raise BadInput(
                f"{folder} holds a {self.config.get('peft_type')} adapter; only plain LoRA is a matrix product"
            )
        if self.config.get("rank_pattern") or self.config.get("alpha_pattern"):
            raise BadInput(
                f"{folder} has ranks or alphas of its own for some layers: load it with peft and give the model"
            )
        self.tensors = Lazily([folder / ADAPTER])

    @cached_property
    def updates(self) -> dict[str, Any]:
        names = [n.removesuffix(".lora_A.weight") for n in self.tensors if n.endswith(".lora_A.weight")]
        return {
            f"{name}.weight": lambda base, name=name: self.update(name)
            for name in names
            if not TABLES.search(f"{name}.weight")
        }

    def update(self, name: str) -> Update:
        right, left = (in_float32(name, self.tensors[f"{name}.lora_{part}.weight"]) for part in "AB")
        rank = self.config["r"] ** 0.5 if self.config.get("use_rslora") else self.config["r"]
        return Update(left=left, right=right, scale=self.config["lora_alpha"] / rank)
