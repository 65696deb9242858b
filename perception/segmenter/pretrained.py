"""A folder as transformers saves it becomes one of its networks, strictly and without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.errors import MissingExtraError, WeightsError
from perception.images import printable
from perception.segmenter.checkpoint import first_few, read_state_dict

CONFIG = "config.json"


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


def read_settings(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """A JSON file of the folder; raises WeightsError where there is none, or something else."""
    path = folder / name
    if not path.is_file():
        raise WeightsError(
            f"{_shown(folder)}: it has no {name}: name the folder that holds the model's files as "
            "published (config.json, model.safetensors and what else is beside them)"
        )
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(f"{_shown(path)}: damaged: {_first_line(error)}") from None
    if not isinstance(settings, dict):
        raise WeightsError(f"{_shown(path)}: expected an object, got {type(settings).__name__}")
    return settings


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
        with _quiet():
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
    shapes = [
        f"{name} {tuple(have)} instead of {tuple(want)}"
        for name, have, want in sorted(report["mismatched_keys"])
    ]
    faults = _listed(
        {
            "missing": sorted(report["missing_keys"]),
            "unknown": sorted(report["unexpected_keys"]),
            "wrong shape": shapes,
            "unreadable": [_first_line(error) for error in report.get("error_msgs", ())],
        }
    )
    if faults:
        raise WeightsError(f"{_shown(folder)}: its weights don't fit its {CONFIG}: {faults}")
    loaded: nn.Module = network.eval().requires_grad_(False)
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes and bars of transformers: what is wrong is said by us."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def _listed(faults: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{what}: {first_few(names)}" for what, names in faults.items() if names)


def _shown(path: Path) -> str:
    return printable(str(path))


def _first_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
