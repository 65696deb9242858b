from __future__ import annotations

from perception.detectors.text import TextMemory


def test_made_once() -> None:
    memory: TextMemory[str, list[str]] = TextMemory(2)
    first = memory.get("a", lambda: ["a"])
    assert memory.get("a", lambda: ["other"]) is first


def test_the_longest_unused_goes() -> None:
    memory: TextMemory[str, int] = TextMemory(2)
    for key in "abab":
        memory.get(key, lambda: 1)
    memory.get("a", lambda: 1)
    memory.get("c", lambda: 1)
    assert len(memory) == 2
    assert memory.get("a", lambda: 2) == 1
    assert memory.get("b", lambda: 2) == 2


def test_what_is_missing_is_made_in_one_call_each_once() -> None:
    memory: TextMemory[str, str] = TextMemory(9)
    asked: list[list[str]] = []

    def make(keys: list[str]) -> list[str]:
        asked.append(keys)
        return [key.upper() for key in keys]

    assert memory.get_all(["a", "b", "a"], make) == ["A", "B", "A"]
    assert memory.get_all(["b", "c"], make) == ["B", "C"]
    assert asked == [["a", "b"], ["c"]]
    assert memory.get_all([], make) == []


def test_more_at_once_than_are_kept() -> None:
    memory: TextMemory[int, int] = TextMemory(3)
    assert memory.get_all(range(10), lambda keys: [-key for key in keys]) == [
        -key for key in range(10)
    ]
    assert len(memory) == 3
