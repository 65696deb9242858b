"""The frame: sizes, pixels, points, boxes and masks, there and back."""

import numpy as np
import pytest

from perception.errors import ImageError, PromptError
from perception.imaging.preprocess import RGB_MEAN, RGB_STD, Frame, fit_picture
from perception.imaging.resample import Window
from perception.types import Prompt


@pytest.mark.parametrize(
    ("image_hw", "side", "resized_hw"),
    [
        ((480, 640), 320, (240, 320)),
        ((640, 480), 320, (320, 240)),
        ((333, 1000), 320, (107, 320)),
        ((1, 1), 320, (320, 320)),
        ((1, 4000), 320, (1, 320)),
        ((1365, 2048), 1024, (683, 1024)),
    ],
)
def test_resized_size(image_hw, side, resized_hw):
    assert Frame(image_hw, side).resized_hw == resized_hw


@pytest.mark.parametrize(("image_hw", "side"), [((0, 5), 8), ((5, 5), 0)])
def test_size_zero_is_refused(image_hw, side):
    with pytest.raises(ValueError, match="at least 1"):
        Frame(image_hw, side)


def test_pixels_are_normalised_and_then_padded():
    image = np.full((2, 4, 3), 100, np.uint8)
    pixels = Frame((2, 4), 8).pixels(image)
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == np.float32
    expected = (100 - np.array(RGB_MEAN)) / np.array(RGB_STD)
    np.testing.assert_allclose(pixels[:, 3, 7], expected, rtol=1e-6)
    assert not pixels[:, 4:].any()


def test_resize_refuses_another_picture():
    with pytest.raises(ValueError, match="expected an image"):
        Frame((2, 4), 8).resize(np.zeros((4, 2, 3), np.uint8))


def test_points_use_the_ratio_of_each_axis():
    frame = Frame((333, 1000), 320)
    model = frame.points_to_model([[1000, 333], [0, 0]])
    np.testing.assert_allclose(model, [[320, 107], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(frame.points_to_image(model), [[1000, 333], [0, 0]], rtol=1e-6)


def test_boxes_go_there_and_back():
    frame = Frame((37, 101), 64)
    boxes = np.array([[1, 2, 50, 30], [0, 0, 101, 37]], np.float32)
    np.testing.assert_allclose(frame.boxes_to_image(frame.boxes_to_model(boxes)), boxes, rtol=1e-5)
    assert frame.boxes_to_model([]).shape == (0, 4)
    assert frame.points_to_model([]).shape == (0, 2)


@pytest.mark.parametrize("point", [(-1, 0), (0, -0.5), (10, 2), (3, 5)])
def test_point_outside_is_named_with_the_size(point):
    with pytest.raises(PromptError, match=r"point .* outside .* 10 x 5 pixels"):
        Frame((5, 10), 8).fit_prompt(Prompt(points=[point]))


def test_boxes_are_clipped_and_points_kept():
    fitted = Frame((5, 10), 8).fit_prompt(
        Prompt(points=[[1, 1]], point_labels=[0], boxes=[[-3, 2, 99, 99]])
    )
    np.testing.assert_array_equal(fitted.boxes, [[0, 2, 10, 5]])
    np.testing.assert_array_equal(fitted.points, [[1, 1]])
    assert fitted.point_labels.tolist() == [0]


@pytest.mark.parametrize("box", [(10, 0, 12, 5), (-4, 0, 0, 5), (0, -9, 5, -1)])
def test_box_wholly_outside_is_refused(box):
    with pytest.raises(PromptError, match="outside the image"):
        Frame((5, 10), 8).fit_prompt(Prompt(boxes=[box]))


@pytest.mark.parametrize("image_hw", [(48, 64), (64, 48), (64, 64), (200, 300), (1, 64), (7, 9)])
def test_masks_are_sams(image_hw):
    """The same two bilinear steps as SAM's postprocess_masks, done here by torch."""
    torch = pytest.importorskip("torch")
    frame = Frame(image_hw, 64)
    logits = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    height, width = frame.resized_hw
    square = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], (64, 64), mode="bilinear", align_corners=False
    )
    expected = torch.nn.functional.interpolate(
        square[..., :height, :width], image_hw, mode="bilinear", align_corners=False
    )[0].numpy()
    full = np.stack([frame.logits_to_image(one) for one in logits])
    np.testing.assert_allclose(full, expected, atol=1e-5)
    masks = frame.logits_to_masks(logits)
    assert masks.dtype == np.bool_
    assert (masks == (full > 0)).all()


def test_no_logits_make_no_masks():
    assert Frame((5, 10), 8).logits_to_masks(np.zeros((0, 4, 4), np.float32)).shape == (0, 5, 10)


def test_very_long_pictures_work():
    """OpenCV's remapping stops at 32,767 pixels a side; the frame doesn't."""
    masks = Frame((2, 40_000), 64).logits_to_masks(np.ones((1, 16, 16), np.float32))
    assert masks.shape == (1, 2, 40_000)
    assert masks.all()


def test_logits_in_image_cuts_off_the_padding():
    logits = np.zeros((2, 16, 16), np.float32)
    assert Frame((30, 60), 64).logits_in_image(logits).shape == (2, 8, 16)
    assert Frame((1, 4000), 64).logits_in_image(logits).shape == (2, 1, 16)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.float32), np.zeros((0, 5, 3), np.uint8)],
)
def test_fit_picture_refuses_what_is_no_picture(array):
    with pytest.raises(ImageError, match="RGB array of uint8"):
        fit_picture(array, 8)


def test_fit_picture():
    frame, pixels = fit_picture(np.zeros((4, 5, 3), np.uint8), 8)
    assert frame == Frame((4, 5), 8)
    assert pixels.shape == (1, 3, 8, 8)


SHAPES = [(37, 101), (101, 37), (5, 64), (64, 64), (300, 211)]


@pytest.mark.parametrize("image_hw", SHAPES)
def test_a_stretched_picture_fills_the_square(image_hw):
    frame = Frame(image_hw, 64, stretched=True)
    assert frame.resized_hw == (64, 64)
    image = np.random.default_rng(0).integers(0, 255, (*image_hw, 3), np.uint8)
    assert (frame.pixels(image, (0,) * 3, (1,) * 3).transpose(1, 2, 0) == frame.resize(image)).all()
    height, width = image_hw
    corners = [[0, 0, width, height], [width / 2, 0, width, height / 4]]
    model = frame.boxes_to_model(corners)
    np.testing.assert_allclose(model, [[0, 0, 64, 64], [32, 0, 64, 16]], rtol=1e-6)
    np.testing.assert_allclose(frame.boxes_to_image(model), corners, rtol=1e-6)


@pytest.mark.parametrize("image_hw", SHAPES)
def test_a_stretched_picture_s_masks_take_one_step(image_hw):
    """Straight to the image's size, as ``torch.nn.functional.interpolate`` does it."""
    functional = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    frame = Frame(image_hw, 64, stretched=True)
    want = functional.interpolate(
        torch.from_numpy(logits)[None, None], image_hw, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(frame.logits_to_image(logits), want, rtol=0, atol=1e-5)
    x0, y0, x1, y1 = window = Window(3, 1, image_hw[1] - 2, image_hw[0] - 1)
    part = frame.logits_to_image(logits, window)
    assert np.array_equal(part, frame.logits_to_image(logits)[y0:y1, x0:x1])
    sure = np.abs(want) > 1e-4
    assert ((frame.logits_to_masks(logits[None])[0] == (want > 0)) | ~sure).all()
    assert frame.logits_in_image(logits).shape == logits.shape


def test_a_stretched_frame_is_another_frame():
    assert Frame((5, 9), 64) != Frame((5, 9), 64, stretched=True)


def test_pixels_can_be_normalised_otherwise():
    image = np.full((2, 4, 3), 255, np.uint8)
    frame, pixels = fit_picture(image, 8, stretched=True, mean=(127.5,) * 3, std=(127.5,) * 3)
    assert frame.stretched
    assert pixels.shape == (1, 3, 8, 8)
    assert (pixels == 1).all()
