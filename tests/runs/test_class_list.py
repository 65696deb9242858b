"""Classes from files."""

import pytest

from perception.errors import PromptError
from perception.prompts.class_list import read_classes


@pytest.mark.parametrize(
    ("name", "content", "prompt"),
    [
        (
            "c.txt",
            "person\n\n  red  star \nU.S. car: old|new\n",
            ["person", "red  star", "U.S. car: old|new"],
        ),
        ("c.txt", "\ufeff猫\r\ndog", ["猫", "dog"]),
        ("c.yaml", "- cat\n- no\n- 7\n", ["cat", "no", "7"]),
        (
            "c.yml",
            "vehicle: [car, truck]\nperson:\ncat: kitten\n",
            {"vehicle": ["car", "truck"], "person": ["person"], "cat": ["kitten"]},
        ),
        ("c.yaml", "path: x\nnames:\n  1: dog\n  0: cat\n", ["cat", "dog"]),
        ("c.yaml", "names: [cat, dog]\nnc: 2\n", ["cat", "dog"]),
    ],
)
def test_classes(tmp_path, name, content, prompt):
    (tmp_path / name).write_text(content, "utf-8")
    assert read_classes(tmp_path / name) == prompt


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", "cat\ndog\ncat\n", r'the class "cat" stands there twice'),
        ("c.txt", "Cat\ncat\n", r'"Cat" and "cat" are the same class'),
        ("c.yaml", "cat: a\ncat: b\n", r'the class "cat" stands there twice'),
        ("c.yaml", "a: [x]\nb: [X]\n", "stands for two classes"),
        ("c.txt", "\n\n", "empty"),
        ("c.yaml", "", "expected a list"),
        ("c.yaml", "- [a, b]\n", "expected a text in line 1"),
        ("c.yaml", "a: {b: c}\n", "expected a text"),
        ("c.yaml", "a: [", "not YAML"),
        ("c.txt", b"\xff\xfe", "not utf-8"),
    ],
)
def test_classes_that_can_not_be_used(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PromptError, match=rf"{name}: .*{message}") as caught:
        read_classes(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_no_such_file(tmp_path):
    with pytest.raises(PromptError, match="no such file"):
        read_classes(tmp_path / "c.txt")
