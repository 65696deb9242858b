"""What becomes of pieces: on candidates made by hand, two tiles of 64 that share 24 columns."""

import numpy as np
import pytest

from perception.detectors.tiled import join
from perception.ops.windows import Tile
from perception.prompts.grammar import parse
from perception.types import Candidates

LEFT, RIGHT, WHOLE = 0, 1, 2
PLACES = (Tile(0, 0, 64, 64), Tile(40, 0, 104, 64), Tile(0, 0, 104, 64))
PHRASES = parse("a. b. !c. !d")


def joined(*pieces):
    """Boxes and scores after joining; a piece is its view, its phrase, its score and its box."""
    views, phrases, best, boxes = ([piece[n] for piece in pieces] for n in range(4))
    scores = np.zeros((len(pieces), len(PHRASES)), np.float32)
    scores[np.arange(len(pieces)), phrases] = best
    found = Candidates(boxes, scores, np.arange(len(pieces)))
    made = join(found, np.array(views), PLACES, PHRASES)
    assert len(set(made.queries.tolist())) == len(made)
    tops = made.scores.max(axis=1, initial=0)
    return [(tuple(box), round(float(top), 3)) for box, top in zip(made.boxes, tops, strict=True)]


def test_nothing():
    assert joined() == []


def test_pieces_that_meet():
    assert joined((LEFT, 0, 0.8, (20, 10, 64, 30)), (RIGHT, 0, 0.9, (40, 10, 90, 30))) == [
        ((20, 10, 90, 30), 0.9)
    ]
    # A detector's boxes are never exact.
    assert joined((LEFT, 0, 0.8, (20, 10, 63, 31)), (RIGHT, 0, 0.9, (41, 11, 90, 30))) == [
        ((20, 10, 90, 31), 0.9)
    ]


@pytest.mark.parametrize(
    "other",
    [
        (RIGHT, 1, 0.9, (40, 10, 90, 30)),  # another class
        (RIGHT, 0, 0.9, (40, 26, 90, 60)),  # beside it
        (RIGHT, 0, 0.9, (44, 10, 90, 30)),  # not cut
        (RIGHT, 0, 0.9, (40, 10, 46, 30)),  # it ends where the other has just begun
        (RIGHT, 0, 0.3, (40, 10, 90, 30)),  # much less certain
        (LEFT, 0, 0.9, (40, 12, 64, 40)),  # in the same tile
    ],
)
def test_pieces_that_do_not_meet(other):
    assert len(joined((LEFT, 0, 0.8, (20, 10, 64, 30)), other)) == 2


def test_a_narrow_piece_of_a_wide_thing():
    wide, narrow = (LEFT, 0, 0.8, (2, 5, 64, 60)), (RIGHT, 0, 0.7, (40, 20, 90, 30))
    assert joined(wide, narrow) == [((2, 5, 90, 60), 0.8)]


def test_of_two_that_could_meet_the_one_more_in_line():
    rows = joined(
        (LEFT, 0, 0.9, (20, 10, 64, 30)),
        (RIGHT, 0, 0.8, (40, 20, 90, 40)),
        (RIGHT, 0, 0.7, (40, 10, 80, 30)),
    )
    assert rows == [((20, 10, 80, 30), 0.9), ((40, 20, 90, 40), 0.8)]


def test_a_piece_gives_way_to_what_shows_more():
    piece, more = (LEFT, 0, 0.6, (42, 10, 64, 30)), (RIGHT, 0, 0.9, (42, 10, 72, 30))
    assert joined(piece, more) == [((42, 10, 72, 30), 0.9)]
    whole = (WHOLE, 0, 0.8, (41, 9, 73, 31))
    assert joined(piece, whole) == [((41, 9, 73, 31), 0.8)]


def test_what_shows_more_gets_the_score_of_its_piece():
    piece, whole = (LEFT, 0, 0.9, (42, 10, 64, 30)), (WHOLE, 0, 0.5, (41, 9, 73, 31))
    assert joined(piece, whole) == [((41, 9, 73, 31), 0.9)]
    much_fainter = (WHOLE, 0, 0.4, (41, 9, 73, 31))
    assert len(joined(piece, much_fainter)) == 2


def test_a_piece_stays_where_nothing_shows_more():
    piece = (LEFT, 0, 0.9, (30, 10, 64, 30))
    assert joined(piece, (WHOLE, 1, 0.9, (28, 9, 73, 31)))[0] == ((30, 10, 64, 30), 0.9)
    assert joined(piece, (WHOLE, 0, 0.9, (60, 9, 90, 31)))[0] == ((30, 10, 64, 30), 0.9)


def test_things_at_the_edge_of_the_picture_are_not_cut():
    assert len(joined((LEFT, 0, 0.9, (0, 0, 30, 64)), (WHOLE, 0, 0.5, (0, 0, 90, 64)))) == 2


def test_negatives_are_joined_each_by_itself():
    rows = ((LEFT, 2, 0.8, (20, 10, 64, 30)), (RIGHT, 2, 0.9, (40, 10, 90, 30)))
    assert joined(*rows) == [((20, 10, 90, 30), 0.9)]
    assert len(joined(rows[0], (RIGHT, 3, 0.9, (40, 10, 90, 30)))) == 2
