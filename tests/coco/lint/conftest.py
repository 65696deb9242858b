"""A small COCO file for each test."""

import pytest

from coco.lint.samples import make_content


@pytest.fixture
def content():
    return make_content()
