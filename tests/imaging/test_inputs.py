"""Files, folders and globs become images with names of their own."""

import os

import pytest

from perception.errors import ImageError
from perception.imaging.discover import each_image, find_images, missing_inputs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.png",
        ".cache/x.png",
        "sub/a.png",
        "sub/deep/[1].webp",
        "other/a.png",
        "other/10.tif",
        "void/readme.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["b.jpg"], ["b.jpg"]),
        (["sub/a.png"], ["a.png"]),
        (
            ["."],
            ["a.PNG", "b.jpg", "other/10.tif", "other/a.png", "sub/a.png", "sub/deep/[1].webp"],
        ),
        (["sub"], ["a.png", "deep/[1].webp"]),
        (["sub", "other"], ["sub/a.png", "sub/deep/[1].webp", "other/10.tif", "other/a.png"]),
        (["sub/a.png", "other/a.png"], ["sub/a.png", "other/a.png"]),
        (["sub/a.png", "sub", "sub/a.png"], ["a.png", "deep/[1].webp"]),
        (["*.jpg"], ["b.jpg"]),
        (["*/a.png"], ["other/a.png", "sub/a.png"]),
        (["**/*.png"], ["other/a.png", "sub/a.png"]),
        (["sub/**"], ["a.png", "deep/[1].webp"]),
        (["su*"], ["sub/a.png", "sub/deep/[1].webp"]),
        (["sub/deep/[1].webp"], ["[1].webp"]),
        (["notes.txt", "missing.png"], ["notes.txt", "missing.png"]),
        ([".hidden.png"], [".hidden.png"]),
        ([], []),
    ],
)
def test_inputs(tree, inputs, names):
    pictures = find_images(inputs)
    assert [picture.name for picture in pictures] == names
    assert len({picture.path for picture in pictures}) == len(pictures)
    assert all(str(picture.path).endswith(picture.name) for picture in pictures)


@pytest.mark.parametrize("kind", ["overlay", "mask-001-red-star", "cutout-1234-猫"])
def test_own_results_are_passed_over(tree, kind):
    (tree / "other" / f"a.png.{kind}.png").touch()
    assert [picture.name for picture in find_images(["other"])] == ["10.tif", "a.png"]
    assert [picture.name for picture in find_images(["other/*.png"])] == ["a.png"]
    named = find_images([f"other/a.png.{kind}.png"])
    assert len(named) == 1


@pytest.mark.parametrize("text", ["void", "*.gif", "void/*"])
def test_nothing_there(tree, text):
    with pytest.raises(ImageError, match=r"no image .*\.jpg"):
        find_images([text])


def test_links_are_followed_once(tree):
    (tree / "sub" / "loop").symlink_to(tree, target_is_directory=True)
    (tree / "sub" / "linked").symlink_to(tree / "other", target_is_directory=True)
    names = [picture.name for picture in find_images(["sub"])]
    assert names.count("a.png") == 1
    assert "linked/10.tif" in names
    assert len(names) < 12


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may list all")
def test_a_barred_folder_is_listed_and_not_forgotten(tree):
    (tree / "sub" / "deep").chmod(0)
    try:
        assert [picture.name for picture in find_images(["sub"])] == ["a.png", "deep"]
    finally:
        (tree / "sub" / "deep").chmod(0o700)


def test_pictures_come_one_by_one(tree, monkeypatch):
    folder, pictures = each_image(["sub", "other", "sub/a.png"])
    assert folder == tree
    assert [picture.name for picture in pictures] == [
        "sub/a.png",
        "sub/deep/[1].webp",
        "other/10.tif",
        "other/a.png",
        "sub/a.png",
    ]
    _, pictures = each_image(["."])
    monkeypatch.setattr(os, "walk", lambda *_, **__: (_ for _ in [(".", [], ["x.png"]), None]))
    assert next(pictures).name == "x.png"


def test_inputs_that_name_nothing(tree):
    assert missing_inputs([]) == []
    assert missing_inputs(["a.PNG", "sub", "nothing*.png", "sub/deep/[1].webp"]) == []
    assert missing_inputs(["a.PNG", "gone.png", "sub/gone"]) == ["gone.png", "sub/gone"]
    with pytest.raises(ImageError, match=r"^gone.png: no such file or folder; check the path$"):
        missing_inputs(["gone.png"])
    with pytest.raises(ImageError, match="nor are the 2 others"):
        missing_inputs(["gone.png", "sub/gone", "x"])


@pytest.mark.parametrize("url", ["https://example.org/a.png", "s3://bucket/a.png", "file:///a.png"])
def test_urls_are_no_inputs(tree, url):
    for read in (missing_inputs, find_images):
        with pytest.raises(ImageError, match="a URL") as caught:
            read(["a.PNG", url])
        assert "\n" not in str(caught.value)
