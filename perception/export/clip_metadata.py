"""What the files of OWLv2 and OmDet-Turbo are to say about themselves, from their networks."""

from __future__ import annotations

import hashlib
from typing import Any

from perception.detector.clip_files import ClipMetadata
from perception.errors import ExportError

VERSION = "1"


def clip_metadata(
    network: Any,
    processor: Any,
    vocabulary: bytes,
    *,
    name: str,
    source: str,
    side: int,
    queries: int,
) -> ClipMetadata:
    """processor: transformers'; vocabulary: what its file holds; the rest as ``ClipMetadata`` says.

    Raises ExportError for preprocessing of another make than the published.
    """
    is_square = dict(processor.size) == {"height": side, "width": side}
    if not is_square or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise ExportError(
            "only the published preprocessing can be exported: pictures as squares of the "
            "network's size, with values in 0..1"
        )
    red, green, blue = processor.image_mean
    red_std, green_std, blue_std = processor.image_std
    return ClipMetadata(
        name=name,
        version=VERSION,
        source=source,
        side=side,
        limit=network.config.text_config.max_position_embeddings,
        queries=queries,
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
        vocabulary=hashlib.sha256(vocabulary).hexdigest(),
    )
