"""A folder as transformers saves it becomes one of its networks, strictly and without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.errors import MissingExtraError, WeightsError
from perception.images import printable
from perception.segmenter.checkpoint import read_state_dict
from perception.weights.contents import CONFIG, read_settings
from perception.weights.misfits import reported_misfits
from perception.weights.quiet import quiet_transformers


def load_pretrained(folder: str | Path, classes: Mapping[str, str], *, family: str) -> nn.Module:
    """The network in a folder, in evaluation mode and in float32, on the CPU.

    classes: what its configuration may call itself -> the class of transformers. family: for
    messages. No code of the folder is run.

    Raises WeightsError when a file is missing or damaged, holds another model, or when a weight is
    missing, unknown or of another shape; MissingExtraError for transformers without the class.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in classes:
        raise WeightsError(
            f"{_shown(folder / CONFIG)}: the model is of type {kind!r:.60}, {family} is "
            f"{' or '.join(map(repr, classes))}: name the family that it is of, or another folder"
        )
    network_class = _transformers_class(classes[kind], family)
    config = _configuration(network_class, settings, folder)
    return _filled(network_class, config, read_state_dict(folder), folder)


def _transformers_class(name: str, family: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtraError(
            f'{family} needs transformers: pip install "perception-masks[torch]"'
        ) from None
    found = getattr(transformers, name, None)
    if found is None:
        raise MissingExtraError(
            f"transformers {transformers.__version__} has no {name}, which {family} needs: "
            "pip install --upgrade transformers"
        )
    return found


def _configuration(network_class: Any, settings: dict[str, Any], folder: Path) -> Any:
    try:
        return network_class.config_class.from_dict(settings)
    except Exception as error:  # noqa: BLE001 - its checks raise errors of many libraries
        path = _shown(folder / CONFIG)
        raise WeightsError(f"{path}: can't be used: {_first_line(error)}") from None


def _filled(network_class: Any, config: Any, weights: dict[str, Tensor], folder: Path) -> nn.Module:
    """The network with these weights; whatever doesn't fit is told in one line."""
    try:
        with quiet_transformers():
            network, report = network_class.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are told with the other faults
                local_files_only=True,
                dtype=torch.float32,
            )
    except (RuntimeError, ValueError, TypeError, OSError, LookupError, AttributeError) as error:
        raise WeightsError(
            f"{_shown(folder)}: its weights don't fit its {CONFIG}: {_first_line(error)}"
        ) from None
    faults = reported_misfits(report)
    if faults:
        raise WeightsError(f"{_shown(folder)}: its weights don't fit its {CONFIG}: {faults}")
    loaded: nn.Module = network.eval().requires_grad_(False)
    return loaded


def _shown(path: Path) -> str:
    return printable(str(path))


def _first_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
