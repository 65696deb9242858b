"""Masks agree with the colors of the image, and with nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import SIDE, ColorDetector, ColorSegmenter, drawing

from perception.evaluate.boxes import PredictorBoxMasks
from perception.imaging.preprocess import Frame
from perception.models.model import Model
from perception.ops.masks import rle_to_mask
from perception.ops.windows import MEAN_COLOR, Tile
from perception.pipeline import predict_masks
from perception.predictor import refine as color_model
from perception.predictor.crop import ImageCrops
from perception.predictor.refine import ColorHistogram, ColorModel, color_bins
from perception.predictor.zoom import ZoomPredictor
from perception.types import Prompt

HW = (96, 128)
BLUE = (40, 24, 88, 72)


@pytest.fixture
def image():
    """A blue square on white, with the noise of a camera."""
    picture = drawing(*HW, [("blue", BLUE)]).astype(np.int64)
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def inside(box, hw=HW):
    mask = np.zeros(hw, bool)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    return mask


def logits_of(*masks, logit=1.5, side=128):
    """M masks in a square of side x side, one cell a pixel, as sure as ``logit``."""
    logits = np.full((len(masks), side, side), -logit, np.float32)
    for one, mask in zip(logits, masks, strict=True):
        one[: mask.shape[0], : mask.shape[1]][mask] = logit
    return logits


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_a_mask_that_is_a_little_off_is_put_right(image):
    off = inside((45, 28, 93, 76))
    frame = Frame(HW, 128)
    seen = ColorModel(image, Tile(0, 0, 128, 96), frame, (128, 128))
    logits = logits_of(off, inside(BLUE))
    refined = seen.refine_masks(logits)
    assert iou(off, inside(BLUE)) < 0.72
    for mask in frame.logits_to_masks(refined):
        assert iou(mask, inside(BLUE)) > 0.93
    assert np.array_equal(seen.refine_masks(logits[:1])[0], refined[0])  # each mask by itself
    assert np.array_equal(logits, logits_of(off, inside(BLUE)))  # a copy


def test_colors_do_not_outvote_a_network_that_is_sure(image):
    off = inside((45, 28, 93, 76))
    for logit, changed in ((2.9, True), (3.1, False)):
        refined = ColorHistogram(image).agreeing(
            np.where(off, np.float32(logit), np.float32(-logit))
        )
        assert ((refined > 0) != off).any() == changed


def test_colors_that_are_everywhere_say_nothing():
    """Noise of one kind in the mask and around it: what is added is small."""
    noise = np.random.default_rng(1).integers(0, 256, (*HW, 3)).astype(np.uint8)
    logits = np.where(inside(BLUE), np.float32(2), np.float32(-2))
    assert np.array_equal(ColorHistogram(noise).agreeing(logits) > 0, inside(BLUE))


def test_another_thing_of_that_color_is_another_thing():
    """Though colors alone would join it; what the network has seen of it, it keeps."""
    other = (96, 24, 120, 72)
    picture = drawing(*HW, [("blue", BLUE), ("blue", other)])
    network = logits_of(inside(BLUE))
    at = np.s_[0, :96, :128]
    network[at][inside(other)] = -1
    assert (ColorHistogram(picture).agreeing(network[at])[inside(other)] > 0).all()
    frame = Frame(HW, 128)
    seen = ColorModel(picture, Tile(0, 0, 128, 96), frame, (128, 128))
    alone = frame.logits_to_masks(seen.refine_masks(network))[0]
    assert iou(alone, inside(BLUE)) > 0.93
    assert not alone[inside(other)].any()
    network[0, 30:40, 100:110] = 1
    both = frame.logits_to_masks(seen.refine_masks(network))[0]
    assert iou(both, inside(BLUE) | inside(other)) > 0.93


def test_colors_have_the_say_where_the_network_saw_nothing(image):
    """It thought of two things, and of neither enough."""
    network = np.full((1, 128, 128), -4, np.float32)
    network[0, :96, :128][inside(BLUE)] = -0.5
    refined = ColorModel(image, Tile(0, 0, 128, 96), Frame(HW, 128), (128, 128)).refine_masks(
        network
    )
    assert iou(refined[0, :96, :128] > 0, inside(BLUE)) > 0.9


def test_what_lies_beyond_the_picture_stays_and_has_no_say():
    """A thing at the right border that has the color of the padding; the view goes on there."""
    picture = np.full((96, 64, 3), 250, np.uint8)
    thing = inside((40, 24, 64, 72), (96, 64))
    picture[thing] = MEAN_COLOR
    view = Tile(-16, 0, 112, 128)
    off = inside((36, 20, 60, 68), (96, 64))
    mask = np.zeros((128, 128), bool)
    mask[:96, 16:80] = off
    frame = Frame((128, 128), 128)
    refined = ColorModel(picture, view, frame, (128, 128)).refine_masks(logits_of(mask))
    beyond = np.ones((128, 128), bool)
    beyond[:96, 16:80] = False
    assert np.array_equal(refined[0][beyond], logits_of(mask)[0][beyond])
    assert iou(off, thing) < 0.7
    assert iou(view.pasted(frame.logits_to_masks(refined)[0], (96, 64)), thing) > 0.9


def test_a_view_of_nothing_of_the_picture_has_no_colors(image):
    logits = logits_of(inside(BLUE))
    unseen = ColorModel(image, Tile(200, 0, 328, 128), Frame((128, 128), 128), (128, 128))
    assert np.array_equal(unseen.refine_masks(logits), logits)


def test_an_empty_and_a_full_mask_stay(image):
    for mask in (inside((0, 0, 0, 0)), inside((0, 0, 128, 96))):
        logits = np.where(mask, np.float32(8), np.float32(-8))
        refined = ColorHistogram(image).agreeing(logits)
        assert np.isfinite(refined).all()
        assert np.array_equal(refined > 0, mask)


def test_the_bins_are_of_lightness_and_of_two_opposites():
    picture = np.uint8([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255], [128, 128, 128]]])
    bins = color_bins(picture)[0]
    assert bins.min() >= 0
    assert bins.max() < 16**3
    assert len(set(bins.tolist())) == 5
    lightness = bins // 256
    assert lightness[0] == 0
    assert lightness[1] == 15


def test_neighbours_share_a_color_and_none_is_lost():
    cells = color_model._histogram(np.array([0, 0]), np.ones(2, np.float32))
    assert cells.sum() == pytest.approx(2)
    assert cells[0] > cells[1] > cells[2] > cells[3] == 0  # along b
    assert cells[16] == cells[256] == pytest.approx(cells[1])  # along a, and lightness
    middle = (7 * 16 + 7) * 16 + 7
    cells = color_model._histogram(np.array([middle]), np.ones(1, np.float32))
    assert cells.sum() == pytest.approx(1)
    assert cells[middle - 16] == cells[middle + 16] == pytest.approx(cells[middle + 256])


@pytest.mark.parametrize("image_hw", [(213, 320), (320, 101), (7, 320), (1, 1), (1, 320)])
@pytest.mark.parametrize("stretched", [False, True])
def test_all_cells_that_the_picture_touches_are_refined(image_hw, stretched):
    frame = Frame(image_hw, 320, stretched)
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (*image_hw, 3)).astype(np.uint8)
    logits = np.abs(rng.normal(0, 2, (1, 160, 160))).astype(np.float32)
    whole = Tile(0, 0, image_hw[1], image_hw[0])
    refined = ColorModel(image, whole, frame, (160, 160)).refine_masks(logits)
    rows, columns = frame.logits_in_image(logits)[0].shape
    assert np.array_equal(refined[0, rows:], logits[0, rows:])
    assert np.array_equal(refined[0, :, columns:], logits[0, :, columns:])
    if min(image_hw) > 1:
        assert (refined[0, :rows, :columns] != logits[0, :rows, :columns]).all()


class OffTheMark(ColorSegmenter):
    """Its masks lie too far to the right, by a sixteenth of what it sees."""

    def decode(self, embedding, prompt):
        decoded = super().decode(embedding, prompt)
        shifted = np.roll(decoded.logits, decoded.logits.shape[-1] // 16, axis=-1)
        return replace(decoded, logits=np.sign(shifted) * np.float32(1.5))


def test_only_refined_crops_agree_with_the_colors(image):
    whole = Tile(0, 0, 128, 96)
    plain, refined = (
        ImageCrops(ColorSegmenter(), image, refined=refined).crop(whole)
        for refined in (False, True)
    )
    logits = logits_of(inside((45, 28, 93, 76)))
    assert plain.refine(logits) is logits
    seen = ColorModel(image, whole, Frame(HW, SIDE), (128, 128))
    assert np.array_equal(refined.refine(logits), seen.refine_masks(logits))
    assert not np.array_equal(seen.refine_masks(logits), logits)


def test_a_crop_is_asked_in_pixels_of_the_image(image):
    segmenter, window = ColorSegmenter(), Tile(30, 10, 110, 90)
    prompt = Prompt(points=[(50, 30)], boxes=[BLUE])
    inner = Prompt(points=[(20, 20)], boxes=[(10, 14, 58, 62)])
    expected = segmenter.decode(segmenter.encode(window.cut_from(image).copy()), inner)
    crop = ImageCrops(segmenter, image, refined=True).crop(window)
    assert np.array_equal(crop.decode(prompt).logits, expected.logits)


def test_every_way_to_a_mask_shows_it_refined(image):
    box, point = np.float32([BLUE]), np.float32([(60, 40)])
    off = OffTheMark()
    (network,) = off.decode(off.encode(image), Prompt(boxes=box)).masks()
    assert iou(network, inside(BLUE)) < 0.8
    predictor = ZoomPredictor(off)
    encoded = predictor.encode(image)
    model = Model(ColorDetector(), predictor)
    shown = {
        "a box": rle_to_mask(predict_masks(encoded, box).rles[0]),
        "evaluated": next(PredictorBoxMasks(predictor).masks(image, box))[0],
        "a click": model.segment(image, points=point).masks[0],
        "a session": model.interactive(image).click(60, 40).mask(),
    }
    for name, mask in shown.items():
        assert iou(mask, inside(BLUE)) > 0.9, name
    assert np.array_equal(shown["a click"], shown["a session"])
    assert np.array_equal(shown["a box"], shown["evaluated"])
