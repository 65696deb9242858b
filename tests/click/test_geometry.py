"""demos/click/geometry.js gives the numbers of frame.py and prompts.py."""

from __future__ import annotations

import numpy as np
import pytest
from click_page import run_node

from perception.imaging.preprocess import Frame
from perception.segmenters.decoding import prompt_rows
from perception.types import Prompt

SIZES = [(480, 640), (1, 1), (1, 700), (700, 1), (2250, 1500), (1500, 2250), (333, 1024), (97, 3)]
SIDES = [256, 1024]


def prompts(height: int, width: int) -> list[Prompt]:
    rng = np.random.default_rng(height * 10_000 + width)
    points = rng.random((5, 2)) * [width, height] * 0.999
    box = [-2.5, height * 0.1, width * 0.7, height + 9.0]
    labels = [1, 0, 1, 1, 0]
    return [
        Prompt(points=points[:1]),
        Prompt(points=points, point_labels=labels),
        Prompt(points=points[:2], point_labels=labels[:2], boxes=[box]),
        Prompt(boxes=[box]),
    ]


@pytest.fixture(scope="module")
def answers() -> list[dict]:
    data = [
        {
            "hw": hw,
            "side": side,
            "points": prompt.points.tolist(),
            "labels": prompt.point_labels.tolist(),
            "box": prompt.boxes[0].tolist() if len(prompt.boxes) else None,
        }
        for hw in SIZES
        for side in SIDES
        for prompt in prompts(*hw)
    ]
    return run_node(
        """
        const { resizedHw, ratioXy, promptRows } = await load("geometry.js");
        return data.map(({ hw, side, ...prompt }) => {
          const { coords, labels } = promptRows(prompt, hw, side);
          return {
            resized: resizedHw(hw, side), ratio: ratioXy(hw, side),
            coords: [...coords], labels: [...labels],
          };
        });
        """,
        data,
    )


def test_frames_and_prompts_are_pythons(answers: list[dict]) -> None:
    wanted = [
        (Frame(hw, side), prompt) for hw in SIZES for side in SIDES for prompt in prompts(*hw)
    ]
    for (frame, prompt), answer in zip(wanted, answers, strict=True):
        rows = prompt_rows(prompt, frame, 64)
        assert tuple(answer["resized"]) == frame.resized_hw
        assert answer["ratio"] == frame.ratio_xy.tolist()
        assert answer["coords"] == rows.coords[0].ravel().tolist()
        assert answer["labels"] == rows.labels[0].tolist()


def test_places_outside_come_in() -> None:
    hw = (30, 40)
    clipped = run_node(
        """
        const { clipPoint, clipBox } = await load("geometry.js");
        const points = [[-3, 99], [40, 5]].map((place) => clipPoint(place, data));
        return [...points, clipBox([-1, 2, 50, 60], data)];
        """,
        hw,
    )
    assert clipped[2] == [0, 2, 40, 30]
    points = Frame(hw, 64).fit_prompt(Prompt(points=clipped[:2])).points
    np.testing.assert_allclose(points, [[0, 30], [40, 5]], atol=0.02)
