"""Several images in one call of a detector, each asked for by itself."""

from __future__ import annotations

from fakes import ColorDetector, drawing

from perception.models.inference import BatchedDetector
from perception.prompts.grammar import parse


class Counting(ColorDetector):
    def __init__(self):
        self.given = []

    def candidates(self, images, phrases, *, floor):
        self.given.append(len(images))
        return super().candidates(images, phrases, floor=floor)


def test_one_call_for_all():
    images = [drawing(things=[("red", (8, 8, 20 + n, 40))]) for n in range(3)]
    detector, phrases = Counting(), parse("red. blue")
    together = BatchedDetector(detector, images)
    for image in images:
        (found,) = together.detect([image], phrases, threshold=0.3)
        (alone,) = ColorDetector().detect([image], phrases)
        assert found.boxes.tolist() == alone.boxes.tolist()
    assert detector.given == [3]
    assert together.name == detector.name
    assert together.phrases_independent
    assert len(together.candidates(images[:2], phrases, floor=0.1)) == 2


def test_other_pictures_are_asked_as_they_come():
    detector, phrases = Counting(), parse("red")
    together = BatchedDetector(detector, [drawing(), drawing()])
    together.detect([drawing()], phrases)
    together.detect([drawing(), drawing(), drawing()], phrases)
    assert detector.given == [1, 3]
    assert together.detect([], phrases) == []
