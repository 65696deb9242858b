"""One batch: images in, records out."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from fakes import ColorDetector, ColorSegmenter, color_model, drawing, read_and_answer

from perception.models.model import Model
from perception.predictor.whole import WholeImagePredictor
from perception.prompts.grammar import Phrases, parse
from perception.runs.image_reader import ReadPicture
from perception.runs.records import Answer, Failure, StoredBoxes, Task
from perception.runs.worker import Question, _subset, answer_pictures
from perception.types import Candidates

OUT_OF_MEMORY = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 B")
QUESTION = Question(parse("red. blue"), True, 0.05, 0.9, 0.3, 10**6)


def picture(number=1, image=None, **task):
    image = drawing() if image is None else image
    return ReadPicture(Task(number, f"{number}.png", **task), image, "uid", None)


def stored(*queries, asked="red. blue", score=0.1, made=True):
    """Boxes that an image has from before; their scores are of the prompt's first phrase."""
    count = len(queries)
    scores = np.zeros((count, len(parse(asked))), np.float32)
    scores[:, 0] = score
    boxes = np.tile(np.float32([8, 8, 40, 40]), (count, 1))
    return StoredBoxes(Candidates(boxes, scores, np.array(queries)), np.full(count, made))


def detector_of(found):
    detector = ColorDetector()
    detector.candidates = lambda images, phrases, *, floor: [found] * len(images)
    return Model(detector, WholeImagePredictor(ColorSegmenter()))


def test_records_can_travel(pictures):
    tasks = [Task(1, str(pictures / "a.png")), Task(2, str(pictures / "missing.png"))]
    tasks, question = pickle.loads(pickle.dumps((tasks, QUESTION)))  # noqa: S301
    records = {one.picture: one for one in read_and_answer(color_model(), tasks, question)}
    first = pickle.loads(pickle.dumps(records[1]))  # noqa: S301
    assert isinstance(first, Answer)
    assert first.boxes.tolist() == [[8, 8, 40, 40], [64, 32, 112, 80]]
    assert first.asked == ("red", "blue")
    assert first.reported == 2
    assert first.file.bytes > 0
    assert isinstance(records[2], Failure)
    assert records[2].reason == "no such file; check the path"


def test_nothing_to_do():
    assert read_and_answer(color_model(), [], QUESTION) == []


def test_nothing_found():
    (record,) = answer_pictures(color_model(), [picture(image=drawing(things=[]))], QUESTION)
    assert record.boxes.shape == (0, 4)
    assert len(record.scores) == 0


def test_a_batch_is_the_same_as_one_by_one():
    images = [drawing(), drawing(64, 64, [("blue", (0, 0, 20, 20))]), drawing(things=[])]
    many = [picture(n, image) for n, image in enumerate(images)]
    together = answer_pictures(color_model(), many, QUESTION)
    for one, record in zip(many, together, strict=True):
        (alone,) = answer_pictures(color_model(), [one], QUESTION)
        assert alone.masks == record.masks
        np.testing.assert_array_equal(alone.boxes, record.boxes)


def test_what_is_worth_keeping():
    boxes = [[0, 0, 40, 40], [0, 0, 40, 39], [0, 0, 40, 30], [50, 50, 60, 60]]
    scores = [[0.9, 0.01], [0.8, 0.02], [0.5, 0.03], [0.04, 0.06]]
    model = detector_of(Candidates(np.float32(boxes), np.float32(scores), np.arange(4)))
    (record,) = answer_pictures(model, [picture()], QUESTION)
    assert record.queries.tolist() == [0, 2, 3]  # 1 is 0 again; 2 is less like it
    assert record.mask_queries.tolist() == [0]  # 2 and 3 aren't reported
    assert record.reported == 1
    stored = list(zip(record.score_queries, record.score_phrases, record.scores, strict=True))
    # Below the floor, but one of the two best: the runner-up stays known.
    assert (0, 1, np.float32(0.01)) in stored
    (looser,) = answer_pictures(model, [picture()], replace(QUESTION, floor_nms=0.5))
    assert looser.queries.tolist() == [0, 3]


def test_a_box_outside_and_an_empty_mask():
    boxes = [[200, 8, 240, 40], [44, 8, 60, 24], [8, 8, 40, 40]]
    scores = [[0.9, 0], [0.8, 0], [0.7, 0]]
    model = detector_of(Candidates(np.float32(boxes), np.float32(scores), np.arange(3)))
    (record,) = answer_pictures(model, [picture()], QUESTION)
    assert record.mask_queries.tolist() == [0, 1, 2]
    assert [mask is None for mask in record.masks] == [True, True, False]


def test_negatives_alone_are_new():
    question = replace(QUESTION, phrases=parse("red, !blue"))
    one = picture(uid="uid", asked=("red",), stored=stored(0))
    (record,) = answer_pictures(color_model(), [one], question)
    assert record.adds
    assert record.asked == ("red", "blue")
    assert record.queries.tolist() == [200]
    assert len(record.masks) == 0


class Owner(int):
    """A class id that counts how often it is compared with another one."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other):
        Owner.compared += 1
        return int(self) == other


def test_new_phrases_of_many_classes_are_gone_through_a_few_times_only():
    count = 2000
    phrases = Phrases(
        tuple(f"thing {n}" for n in range(count)),
        tuple(Owner(n) for n in range(count)),
        tuple(f"Thing {n}" for n in range(count)),
    )
    new = _subset(phrases, range(1, count, 2))
    assert new.classes == phrases.classes[1::2]
    assert new.class_ids == tuple(range(count // 2))
    assert Owner.compared <= 5 * count


def test_places_that_are_known_get_scores_and_no_second_mask():
    found = Candidates(np.float32([[8, 8, 40, 40]]), np.float32([[0.6]]), np.array([7]))
    one = picture(uid="uid", asked=("red",), stored=stored(7))
    (record,) = answer_pictures(detector_of(found), [one], QUESTION)
    assert len(record.queries) == 0
    assert record.masks == ()
    assert record.score_queries.tolist() == [7]
    assert record.score_phrases.tolist() == [1]


@pytest.mark.parametrize(
    ("before", "now", "threshold", "masked"),
    [
        (0.1, 0.6, 0.3, [7]),
        (0.1, 0.2, 0.3, []),
        (0.6, 0.1, 0.3, [7]),  # Which a threshold of then left out.
        (0.6, 0.1, 0.7, []),
    ],
)
def test_a_place_that_is_shown_now_gets_its_mask(before, now, threshold, masked):
    found = Candidates(np.float32([[8, 8, 40, 40]]), np.float32([[now]]), np.array([7]))
    known = stored(7, score=before, made=False)
    one = picture(uid="uid", asked=("red",), stored=known)
    question = replace(QUESTION, threshold=threshold)
    (record,) = answer_pictures(detector_of(found), [one], question)
    assert record.mask_queries.tolist() == masked
    one = picture(uid="uid", asked=("red", "blue"), stored=known)
    (record,) = answer_pictures(color_model(), [one], question)
    assert record.mask_queries.tolist() == [7] * (before >= threshold)
    assert record.asked == ("red", "blue")
    assert len(record.scores) == 0


def test_masks_alone_of_what_was_answered():
    question = replace(QUESTION, masks_only=True)
    known = {"asked": ("red",), "stored": stored(7, 9, score=0.5, made=False)}
    same, other = picture(1, uid="uid", **known), picture(2, uid="other", **known)
    model = color_model()
    model.detector.candidates = lambda *_, **__: pytest.fail("detected")
    records = {one.picture: one for one in answer_pictures(model, [same, other], question)}
    assert records[1].mask_queries.tolist() == [7]  # 9 is the same thing again.
    assert records[2].reason == "the image is another now"


def test_other_content_is_asked_everything():
    one = picture(uid="other", asked=("red",), stored=stored(0))
    (record,) = answer_pictures(color_model(), [one], QUESTION)
    assert not record.adds
    assert record.asked == ("red", "blue")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no room\non the device")])
def test_a_picture_on_which_the_model_fails(error):
    model = color_model()
    right = model.detector.candidates

    def candidates(images, phrases, *, floor):
        if any(len(image) == 50 for image in images):
            raise error
        return right(images, phrases, floor=floor)

    model.detector.candidates = candidates
    bad = picture(2, np.zeros((50, 50, 3), np.uint8))
    records = answer_pictures(model, [picture(1), bad, picture(3)], QUESTION)
    assert [type(record) for record in records] == [Answer, Failure, Answer]
    assert records[1].reason.startswith("the model failed on it: ")
    assert "\n" not in records[1].reason


def test_a_batch_that_runs_out_of_memory_halves_and_stays_small():
    model, given = color_model(), []
    right = model.detector.candidates

    def candidates(images, phrases, *, floor):
        given.append(len(images))
        if len(images) > 2:
            raise OUT_OF_MEMORY
        return right(images, phrases, floor=floor)

    model.detector.candidates = candidates
    pictures = [picture(n) for n in range(8)]
    with pytest.warns(RuntimeWarning, match="8 images at once") as said:
        records = answer_pictures(model, pictures, QUESTION)
    assert [record.picture for record in records] == list(range(8))
    assert all(isinstance(record, Answer) for record in records)
    answer_pictures(model, pictures[:3], QUESTION)
    assert given == [8, 4, 2, 2, 2, 2, 2, 1]
    assert len(said) == 1


def test_one_picture_that_is_too_large_slows_down_no_other():
    model, given = color_model(), []
    right = model.detector.candidates

    def candidates(images, phrases, *, floor):
        given.append(len(images))
        if any(len(image) == 50 for image in images):
            raise OUT_OF_MEMORY
        return right(images, phrases, floor=floor)

    model.detector.candidates = candidates
    bad = picture(2, np.zeros((50, 50, 3), np.uint8))
    with pytest.warns(RuntimeWarning, match="4 images at once"):
        records = answer_pictures(model, [picture(1), bad, picture(3), picture(4)], QUESTION)
    assert [type(record) for record in records] == [Answer, Failure, Answer, Answer]
    assert "not enough memory for one image" in records[1].reason
    assert "--device cpu" in records[1].reason
    assert given == [4, 2, 1, 1, 2]
