"""Tabs that have an image open."""

from perception.serve import image_routes as tabs
from perception.serve.image_routes import Tabs


def test_a_tab_that_is_gone_is_forgotten():
    now = [0.0]
    open_tabs = Tabs(lambda: now[0])
    assert open_tabs.others("a", "one") == 0
    now[0] = 10
    assert open_tabs.others("a", "two") == 1
    now[0] = 20
    assert open_tabs.others("a", "two") == 0


def test_they_stay_few(monkeypatch):
    monkeypatch.setattr(tabs, "_MAX", 3)
    open_tabs = Tabs()
    assert [open_tabs.others("a", str(n)) for n in range(6)] == [0, 1, 2, 2, 2, 2]
