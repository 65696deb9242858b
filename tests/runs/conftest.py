"""A folder with small images, and runs over it with a model that looks at colors."""

from dataclasses import replace

import pytest
from fakes import color_model, drawing, read_and_answer
from PIL import Image

from perception.detectors.decode import Labelling
from perception.prompts.grammar import parse
from perception.runs.listing import list_inputs
from perception.runs.settings import StorageSettings, run_settings
from perception.runs.worker import Question
from perception.runs.write import RunWriter

RED, BLUE = ("red", (8, 8, 40, 40)), ("blue", (64, 32, 112, 80))


@pytest.fixture
def pictures(tmp_path):
    """in/a.png with red and blue, in/b.png with red, in/sub/a.png with nothing."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name, things in (("a.png", [RED, BLUE]), ("b.png", [RED]), ("sub/a.png", [])):
        Image.fromarray(drawing(things=things)).save(tmp_path / "in" / name)
    return tmp_path / "in"


class Drive:
    """A run over a folder, without threads and processes."""

    def __init__(self, folder, path, model):
        self.folder, self.path, self.model = folder, path, model
        self.keeping = StorageSettings()

    def __call__(self, text, *, most=None, **options):
        """Works through all images that wait, or the first few; returns their records."""
        with RunWriter(self.path) as run:
            base, files = list_inputs([str(self.folder)])
            settings = run_settings(self.model, self.keeping, pictures=base, run=self.path)
            independent = self.model.detector.phrases_independent
            run.begin(settings, text, files, independent=independent, **options)
            every = Labelling(0.05)
            question = Question(parse(text), independent, 0.05, 0.9, 0.3, 10**6, masks=every)
            tasks = list(run.tasks())[:most]
            records = read_and_answer(self.model, tasks, question)
            run.record(records)
            return records


@pytest.fixture
def drive(pictures, tmp_path):
    return Drive(pictures, tmp_path / "out.json.run", color_model())


@pytest.fixture
def dependent(drive):
    """The same, with a detector whose answers depend on all phrases."""
    detector = drive.model.detector
    detector.phrases_independent = False
    drive.model = replace(drive.model, detector=detector)
    return drive
