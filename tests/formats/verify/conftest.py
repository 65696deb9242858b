"""A small COCO file for each test."""

import pytest

from formats.verify.samples import make_content


@pytest.fixture
def content():
    return make_content()
