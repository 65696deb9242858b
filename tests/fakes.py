"""A detector and a segmenter that look at colors: quick, exact on drawings, no model files."""

from __future__ import annotations

import cv2
import numpy as np

from perception.detectors.decode import label
from perception.imaging.preprocess import Frame
from perception.models.model import Model
from perception.predictor.whole import WholeImagePredictor
from perception.prompts.grammar import NEGATIVE, Phrases
from perception.runs import image_reader as reading
from perception.runs.records import Failure
from perception.runs.worker import answer_pictures
from perception.types import Candidates, Detections, Embedding, MaskCandidates, Prompt, Proposals

COLORS = {"red": (220, 20, 20), "green": (20, 180, 20), "blue": (30, 30, 230)}
WHITE = (255, 255, 255)
SIDE, CELLS = 256, 64


def regions(image, color):
    """Boxes around the connected regions of one color, N x 4, left to right."""
    same = (np.abs(image.astype(int) - color).max(axis=2) < 40).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(same)
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:count]]
    return np.array(sorted(boxes), np.float32).reshape(-1, 4)


class ColorDetector:
    """Finds "red", "green" and "blue" things; every score is 0.9, less 0.1 for each next one."""

    name = "color-detector"
    phrases_independent = True

    def detect(self, images, phrases, *, threshold=0.3):
        return [self._one(image, phrases, threshold) for image in images]

    def candidates(self, images, phrases, *, floor):
        return [self._scores(image, phrases, floor) for image in images]

    def _scores(self, image, phrases, floor):
        """A place is a color's and its number there: it has one box, whatever is asked."""
        rows = []
        for phrase_id, phrase in enumerate(phrases.phrases):
            color = phrase.split()[0]
            if color in COLORS:
                for n, box in enumerate(regions(image, COLORS[color])):
                    scores = np.zeros(len(phrases))
                    scores[phrase_id] = 0.9 - 0.1 * n
                    rows.append((box, scores, 100 * list(COLORS).index(color) + n))
        rows = [row for row in rows if row[1].max() >= floor]
        if not rows:
            return Candidates(np.zeros((0, 4)), np.zeros((0, len(phrases))), [])
        return Candidates(*(np.array(part) for part in zip(*rows, strict=True)))

    def _one(self, image, phrases, threshold):
        rows = []
        for phrase_id, (phrase, class_id) in enumerate(
            zip(phrases.phrases, phrases.class_ids, strict=True)
        ):
            if class_id == NEGATIVE or phrase.split()[0] not in COLORS:
                continue
            for n, box in enumerate(regions(image, COLORS[phrase.split()[0]])):
                rows.append((0.9 - 0.1 * n, class_id, phrase_id, box))
        rows = sorted((row for row in rows if row[0] >= threshold), key=lambda row: -row[0])
        if not rows:
            return Detections.empty()
        scores, class_ids, phrase_ids, boxes = zip(*rows, strict=True)
        return Detections(boxes, scores, class_ids, phrase_ids, np.full(len(rows), -1), scores)


class NearSightedDetector(ColorDetector):
    """Scales images down to ``side``, and then sees nothing of less than 4 pixels a side.

    far: whether it sees anything at all in images that are larger.
    """

    side = 64

    def __init__(self, *, far=True):
        self.far = far
        self.seen = []

    def detect(self, images, phrases, *, threshold=0.3):
        found = self.candidates(images, phrases, floor=threshold)
        return [label(one, phrases, threshold=threshold)[0] for one in found]

    def _scores(self, image, phrases, floor):
        self.seen.append(image.shape[:2])
        found = super()._scores(image, phrases, floor)
        scale = min(1, self.side / max(image.shape[:2]))
        sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.inf)
        return found[(sizes * scale >= 4) & (self.far or scale == 1)]


class ShowableDetector(ColorDetector):
    """Whatever is asked, finds what has the color in the middle of the first example."""

    example_phrase = "anything"

    def shown(self, examples):
        return _Shown(examples)


class _Shown:
    name = "showable"
    phrases_independent = True

    def __init__(self, examples):
        self.examples = examples

    def candidates(self, images, phrases, *, floor):
        (x0, y0, x1, y1), (image,) = self.examples.boxes[0].astype(int), images
        middle = image[(y0 + y1) // 2, (x0 + x1) // 2]
        color = "red" if middle[0] > middle[2] else "blue"
        asked = Phrases((color,), (0,), phrases.classes[:1])
        return ColorDetector().candidates(images, asked, floor=floor)


class ColorSegmenter:
    """Cuts out what is not white in a box, or what has the color under a point."""

    name = "color-segmenter"

    def __init__(self):
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        frame = Frame(image.shape[:2], SIDE)
        height, width = frame.resized_hw
        padded = np.full((SIDE, SIDE, 3), 255, np.uint8)
        padded[:height, :width] = frame.resize(image)
        cells = cv2.resize(padded, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        return Embedding(cells.astype(int).transpose(2, 0, 1), frame, self.name)

    def decode(self, embedding, prompt):
        prompt = embedding.frame.fit_prompt(prompt)
        drawn = np.abs(embedding.features - 255).max(axis=0) > 40
        masks = [self._box(embedding.frame, drawn, box) for box in prompt.boxes]
        if len(prompt.points) and not len(prompt.boxes):
            masks = [self._point(embedding, drawn, prompt.points[0])]
        logits = np.where(np.array(masks).reshape(-1, 4, CELLS, CELLS), 4.0, -4.0)
        quality = np.tile(np.float32([0.95, 0.5, 0.9, 0.7]), (len(logits), 1))
        return MaskCandidates(logits, quality, embedding.frame, ambiguous=prompt.is_ambiguous)

    def propose(self, embedding, points, *, least_quality=-np.inf):
        return propose_one_by_one(self, embedding, points, least_quality=least_quality)

    def _box(self, frame, drawn, box):
        x0, y0, x1, y1 = np.round(frame.boxes_to_model(box[None])[0] * CELLS / SIDE).astype(int)
        inside = np.zeros_like(drawn)
        inside[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        return [inside & drawn] * 4

    def _point(self, embedding, drawn, point):
        x, y = (embedding.frame.points_to_model(point[None])[0] * CELLS / SIDE).astype(int)
        at = embedding.features[:, y, x]
        same = np.abs(embedding.features - at[:, None, None]).max(axis=0) < 40
        part = np.zeros_like(same)
        part[y, x] = True
        return [same, part, same, drawn | same]


def propose_one_by_one(segmenter, embedding, points, *, least_quality=-np.inf):
    """What every ``Segmenter.propose`` must give, by one ``decode`` for each point."""
    logits, quality, prompt_ids, candidate_ids = [], [], [], []
    for n, point in enumerate(points):
        decoded = segmenter.decode(embedding, Prompt(points=[point]))
        for candidate in (1, 2, 3):
            if decoded.quality[0, candidate] >= least_quality:
                logits.append(decoded.logits[0, candidate])
                quality.append(decoded.quality[0, candidate])
                prompt_ids.append(n)
                candidate_ids.append(candidate)
    stacked = np.array(logits, np.float32)
    return Proposals(stacked, quality, prompt_ids, candidate_ids, embedding.frame)


def color_model():
    return Model(ColorDetector(), WholeImagePredictor(ColorSegmenter()), {"fake.onnx": "0" * 64})


def drawing(height=96, width=128, things=(("red", (8, 8, 40, 40)), ("blue", (64, 32, 112, 80)))):
    """Rectangles on white, RGB uint8 H x W x 3; a thing is a color and its box."""
    image = np.full((height, width, 3), 255, np.uint8)
    for color, (x0, y0, x1, y1) in things:
        image[y0:y1, x0:x1] = COLORS[color]
    return image


def read_and_answer(model, tasks, question):
    """The records of tasks, without processes and threads."""
    found = [reading.read(task, max_pixels=question.max_pixels) for task in tasks]
    pictures = [one for one in found if isinstance(one, reading.ReadPicture)]
    failures = [one for one in found if isinstance(one, Failure)]
    return [*failures, *answer_pictures(model, pictures, question)]


class HereReader:
    """An annotation run's reader without its process, which takes half a second to start."""

    def __init__(self, *, max_pixels, seconds=reading.SECONDS):
        self._max_pixels = max_pixels

    def read(self, task):
        return reading.read(task, max_pixels=self._max_pixels)

    def close(self):
        pass
