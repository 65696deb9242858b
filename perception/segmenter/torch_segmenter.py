"""The SAM network as a segmenter, run by torch."""

from __future__ import annotations

import torch

from perception.frame import fit_picture
from perception.segmenter.decoding import decode_prompt
from perception.segmenter.prompts import PromptRows
from perception.segmenter.sam import Sam
from perception.types import Embedding, FloatArray, ImageArray, MaskCandidates, Prompt


class TorchSegmenter:
    """A ``Segmenter`` over a ``Sam`` network.

    sam: the network with its weights; it is put into evaluation mode and moved to ``device``.
    name: the model; version: of its weights. Two segmenters with the same name and version read
    each other's embeddings, also across runtimes.
    """

    def __init__(self, sam: Sam, *, name: str, version: str = "", device: str = "cpu") -> None:
        self.name = name
        self._model = f"{name} {version}".rstrip()
        self._sam = sam.eval().to(device)
        self._device = torch.device(device)

    @torch.inference_mode()
    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding with features C x h x w, float32."""
        frame, pixels = fit_picture(image, self._sam.side)
        features = self._sam.encode(torch.from_numpy(pixels).to(self._device))
        return Embedding(features[0].float().cpu().numpy(), frame, self._model)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return decode_prompt(
            embedding, prompt, model=self._model, mask_size=self._sam.mask_size, run=self._run
        )

    @torch.inference_mode()
    def _run(self, features: FloatArray, rows: PromptRows) -> tuple[FloatArray, FloatArray]:
        masks = None if rows.mask_logits is None else rows.mask_logits[:, None]
        logits, quality = self._sam.decode(
            torch.from_numpy(features).to(self._device)[None],
            torch.from_numpy(rows.coords).to(self._device),
            torch.from_numpy(rows.labels).to(self._device),
            None if masks is None else torch.from_numpy(masks).to(self._device),
        )
        return logits.float().cpu().numpy(), quality.float().cpu().numpy()
