"""Folders of published detectors become transformers' models and preprocessing, strictly.

No code from the folder is run, nothing is fetched, and every tensor is accounted for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from perception.checkpoints.installed import CONFIG, read_settings, what_instead
from perception.checkpoints.state_dict import quiet_transformers, reported_misfits
from perception.detectors.onnx_files import thickened
from perception.errors import MissingExtraError, WeightsError
from perception.imaging.read import printable
from perception.types import ImageArray

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""The files of weights that are read; a .bin isn't, and none of these models needs it."""

TIMM_SWIN = {"out_indices": [1, 2, 3], "img_size": 640, "always_partition": True}
"""Of a backbone that is named without its settings: those of OmDet-Turbo, which alone has one."""

VOCABULARIES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
"""The files that hold a tokenizer's words, of which one set is enough."""

Loaded = TypeVar("Loaded")


def load_network(kind: type[PreTrainedModel], folder: Path) -> PreTrainedModel:
    """The network in ``folder``, in float32 on the CPU and in evaluation mode.

    Raises WeightsError for a folder without one, for another kind of model, and where a tensor is
    missing, unknown or of another shape.
    """
    settings = _settings(kind, folder)
    _check_weights(folder)

    def read() -> tuple[PreTrainedModel, dict[str, Any]]:
        loaded: tuple[PreTrainedModel, dict[str, Any]] = kind.from_pretrained(  # type: ignore[assignment]
            folder,
            config=kind.config_class.from_dict(settings),  # type: ignore[union-attr]
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # They are told below, in one line.
        )
        return loaded

    network, found = _read(folder, read)
    faults = reported_misfits(found)
    if faults:
        raise WeightsError(
            f"{printable(str(folder))}: its weights don't fit its {CONFIG}: {faults}"
        )
    network.eval()  # type: ignore[no-untyped-call]
    return network.requires_grad_(False)


def load_tokenizer(folder: Path, network: nn.Module) -> Any:
    """The tokenizer in ``folder`` for the network of the same folder.

    Raises WeightsError where its files are missing, damaged or of another model.
    """
    # Without them transformers makes a tokenizer that knows no word, and says nothing.
    if not any(all((folder / name).is_file() for name in names) for names in VOCABULARIES):
        raise WeightsError(
            f"{printable(str(folder))}: has no {VOCABULARIES[0][0]}: copy it there, beside "
            "config.json"
        )
    tokenizer = _read(
        folder,
        lambda: AutoTokenizer.from_pretrained(
            folder,
            config=network.config,  # Not read once more, and not as it may stand there.
            local_files_only=True,
            trust_remote_code=False,
        ),
    )
    known: int = network.config.text_config.vocab_size  # type: ignore[union-attr, assignment]
    if len(tokenizer) > known:
        raise WeightsError(
            f"{printable(str(folder))}: its tokenizer has {len(tokenizer):,} tokens, its network "
            f"knows {known:,}: fetch its files again, all from one place"
        )
    return tokenizer


def load_image_processor(folder: Path) -> Any:
    """The preprocessing in ``folder``; raises WeightsError where it is missing or damaged."""
    return _read(
        folder,
        lambda: AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            folder, local_files_only=True, trust_remote_code=False
        ),
    )


def _settings(kind: type[PreTrainedModel], folder: Path) -> dict[str, Any]:
    """The folder's config.json, once it is known to be of this kind and to ask for no other file.

    Raises WeightsError otherwise.
    """
    wanted = kind.config_class.model_type  # type: ignore[union-attr]
    settings = read_settings(folder)
    have = settings.get("model_type", "nameless")
    if have != wanted:
        raise WeightsError(f"{printable(str(folder))}: holds a {have!s:.40} model, not {wanted}")
    return _with_backbone(settings, folder / CONFIG)


def _with_backbone(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings with their backbone as they would be saved today.

    Before, they only named it, and transformers would ask the hub what the name stands for.
    """
    inner = settings.get("backbone_config")
    name = (inner if isinstance(inner, dict) else settings).get("backbone")
    if name is None:
        return settings
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.]*", name):
        raise WeightsError(f"{printable(str(path))}: refused: its backbone is to be fetched")
    if isinstance(inner, dict):
        return settings
    given = settings.get("backbone_kwargs") or TIMM_SWIN
    old = ("backbone", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone")
    kept = {key: value for key, value in settings.items() if key not in old}
    return {**kept, "backbone_config": {"model_type": "timm_backbone", "backbone": name, **given}}


def _check_weights(folder: Path) -> None:
    """Tells what commonly lies in the place of weights; the library's own words wouldn't."""
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise WeightsError(
            f"{printable(str(folder))}: has no {WEIGHTS[0]}: copy it there, beside config.json"
        )
    fault = what_instead(path)
    if fault:
        raise WeightsError(f"{printable(str(path))}: {fault}")


def _read(folder: Path, read: Callable[[], Loaded]) -> Loaded:
    """What ``read`` gives, without transformers' own talk; all that can fail is a WeightsError.

    A folder may hold anything, and each of its files passes through several libraries that have no
    common base of their errors.
    """
    try:
        with quiet_transformers():
            return read()
    except ImportError as error:
        raise MissingExtraError(
            f"{printable(str(folder))}: needs a package that isn't installed: {_first_line(error)}"
        ) from None
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise WeightsError(
            f"{printable(str(folder))}: can't be loaded ({reason}): fetch its files again"
        ) from None


def _first_line(error: Exception) -> str:
    return printable((str(error).strip().splitlines() or [""])[0][:200])


def to_pixels(processor: Any, images: Sequence[ImageArray]) -> list[Tensor]:
    """RGB images H x W x 3 -> normalized ones 3 x h x w, each of its own size, not padded."""
    return [
        processor(
            thickened(image), do_pad=False, input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"][0]
        for image in images
    ]


def batches(images: Sequence[ImageArray], device: torch.device) -> Iterator[Sequence[ImageArray]]:
    """The images as they go through a network: all at once on a GPU, one by one on a CPU.

    There a batch is no faster, and would need the memory of all its images.
    """
    step = 1 if device.type == "cpu" else max(1, len(images))
    for start in range(0, len(images), step):
        yield images[start : start + step]
