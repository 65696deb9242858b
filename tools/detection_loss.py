"""The detector's loss: task-aligned assignment, word scores by cross entropy, boxes by GIoU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TOP = 10  # regions that one thing may claim


def detection_loss(
    boxes: Tensor,
    logits: Tensor,
    true_boxes: Tensor,
    truth: Tensor,
    centers: Tensor,
    known: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its parts for the log.

    boxes: B x Q x 4; logits: B x Q x P; true_boxes: B x G x 4, zero where none; truth: B x G x P,
    which phrases are true of a thing; centers: Q x 2; known: B x P in 0..1, what a phrase weighs in
    a picture; without, 1.
    """
    if known is None:
        known = torch.ones_like(truth[:, 0], dtype=torch.float32)
    owner, weight = assign(boxes.detach(), logits.detach(), true_boxes, truth, centers)
    taken = owner >= 0  # B x Q
    batch = torch.arange(len(boxes), device=boxes.device)[:, None]
    # In the logits' own type: under autocast the wide arrays take half of the memory traffic.
    target = truth[batch, owner.clamp(min=0)] * weight[..., None].to(logits)  # B x Q x P
    total = weight.sum().clamp(min=1)
    weights = known[:, None].to(logits)  # B x 1 x P
    # The cross entropy of chances, -target * logit + softplus(logit), summed in single precision.
    wrong = (weights * F.softplus(logits)).sum(dtype=torch.float32)
    right = (weights * target * logits).sum(dtype=torch.float32)
    words = (wrong - right) / total
    mine, theirs = boxes[taken], true_boxes[batch, owner.clamp(min=0)][taken]
    overlap = (1 - giou(mine, theirs)) * weight[taken]
    place = overlap.sum() / total
    rivals = known[:, None].expand_as(logits)[taken]
    named = naming_loss(logits[taken], truth[batch, owner.clamp(min=0)][taken], rivals)
    named = named * weight[taken]
    parts = {"words": words, "names": named.sum() / total, "boxes": place}
    return words + 2 * parts["names"] + 5 * place, {
        name: part.item() for name, part in parts.items()
    }


def naming_loss(logits: Tensor, truth: Tensor, known: Tensor | None = None) -> Tensor:
    """How far each region is from ranking its true phrases above all false ones: R x P -> R.

    known: R x P; only those of 1 count as false.

    The cross entropy of each true phrase against the false ones, as in contrastive learning: the
    independent scores alone learn to tell hundreds of names apart only slowly.
    """
    logits = logits.float()
    left_out = truth if known is None else truth | (known < 1)
    false = logits.masked_fill(left_out, -1e4).logsumexp(1, keepdim=True)  # R x 1
    each = F.softplus(false - logits) * truth
    return each.sum(1) / truth.sum(1).clamp(min=1)


@torch.no_grad()
def assign(
    boxes: Tensor, logits: Tensor, true_boxes: Tensor, truth: Tensor, centers: Tensor
) -> tuple[Tensor, Tensor]:
    """Which thing each region answers for, B x Q (-1 = none), and how well it does, B x Q in 0..1.

    Feng et al. 2021, "TOOD": a thing claims the regions in it that score its phrases and fit its
    box best; the target of a region grows with its fit. A thing's score is the mean of those of its
    true phrases.
    """
    real = true_boxes[..., 2] > true_boxes[..., 0]  # B x G
    inside = (
        (centers[:, 0] > true_boxes[..., None, 0])
        & (centers[:, 0] < true_boxes[..., None, 2])
        & (centers[:, 1] > true_boxes[..., None, 1])
        & (centers[:, 1] < true_boxes[..., None, 3])
    ) & real[..., None]  # B x G x Q
    iou = pair_iou(true_boxes, boxes)  # B x G x Q
    count = truth.sum(-1).clamp(min=1)[..., None]
    score = (truth.to(logits) @ logits.sigmoid().transpose(1, 2)).float() / count  # B x G x Q
    fit = (score.clamp(min=1e-6).sqrt() * iou**5) * inside
    best = fit.topk(min(TOP, fit.shape[-1]), dim=-1).values[..., -1:]
    fit = fit * ((fit >= best) & (fit > 0))
    top, owner = (iou * (fit > 0)).max(dim=1)  # B x Q: of several claims the best fitting box wins
    claimed = top > 0
    fit = fit * F.one_hot(owner, fit.shape[1]).transpose(1, 2)
    scale = (iou * (fit > 0)).amax(-1, keepdim=True) / fit.amax(-1, keepdim=True).clamp(min=1e-9)
    return torch.where(claimed, owner, -1), (fit * scale).amax(1) * claimed


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """B x G x 4 and B x Q x 4 -> B x G x Q."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    return overlap / (area(a)[:, :, None] + area(b)[:, None] - overlap).clamp(min=1e-6)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of boxes N x 4 with boxes N x 4: N."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    union = (area(a) + area(b) - overlap.prod(-1)).clamp(min=1e-6)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1)
    return overlap.prod(-1) / union - (hull - union) / hull.clamp(min=1e-6)


def area(boxes: Tensor) -> Tensor:
    """... x 4 -> ..."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
