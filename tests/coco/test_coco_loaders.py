"""Our COCO file means the same to everyone who loads it."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from perception.coco.lint.faults import Findings, Severity
from perception.coco.lint.lint import lint
from perception.coco.write import to_coco, write_coco
from perception.instances import Instances
from perception.ops.masks import mask_to_box, mask_to_rle

HEIGHT, WIDTH = 48, 64
CLASSES = ("cat", "hot dog", "猫")


def shapes():
    """A ring, a single pixel, two loose parts, a row to the edge: bool 4 x H x W."""
    masks = np.zeros((4, HEIGHT, WIDTH), bool)
    masks[0, 5:25, 3:20] = True
    masks[0, 10:15, 8:12] = False
    masks[1, 40, 60] = True
    masks[2, 30:34, 2:9] = masks[2, 38:45, 20:30] = True
    masks[3, 47, 30:] = True
    return masks


def instances(file_name, masks):
    return Instances(
        image_hw=(HEIGHT, WIDTH),
        classes=CLASSES,
        boxes=np.array([mask_to_box(mask) for mask in masks]).reshape(-1, 4),
        scores=np.linspace(0.9, 0.4, len(masks)),
        class_ids=np.arange(len(masks)) % len(CLASSES),
        rles=tuple(mask_to_rle(mask) for mask in masks),
        file_name=file_name,
        uid="0123456789abcdef",
    )


PICTURES = {"a.png": shapes(), "sub/a.png": shapes()[::-1, ::-1], "sub/é 猫.png": shapes()[:0]}


@pytest.fixture
def folder(tmp_path):
    """Pictures and their annotations.json; equal names in two folders, one without instances."""
    write_pictures(tmp_path, PICTURES)
    return tmp_path


def write_pictures(folder, pictures):
    for name in pictures:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    found = [instances(name, masks) for name, masks in pictures.items()]
    write_coco(to_coco(found), folder / "annotations.json")


def labels(masks):
    return np.arange(len(masks)) % len(CLASSES)


def tight(masks):
    return np.array([mask_to_box(mask) for mask in masks]).reshape(-1, 4)


def test_our_own_check(folder):
    findings = Findings()
    lint(json.loads((folder / "annotations.json").read_bytes()), findings)
    assert [findings.count(severity) for severity in (Severity.ERROR, Severity.WARNING)] == [0, 0]


def test_pycocotools(folder):
    truth = COCO(folder / "annotations.json")
    assert [category["name"] for category in truth.loadCats(truth.getCatIds())] == list(CLASSES)
    for image in truth.loadImgs(truth.getImgIds()):
        annotations = truth.loadAnns(truth.getAnnIds(imgIds=image["id"]))
        masks = PICTURES[image["file_name"]]
        assert [one["category_id"] - 1 for one in annotations] == labels(masks).tolist()
        for one, mask in zip(annotations, masks, strict=True):
            assert (truth.annToMask(one) == mask).all()
            assert one["area"] == coco_mask.area(truth.annToRLE(one)) == mask.sum()
            assert one["bbox"] == coco_mask.toBbox(truth.annToRLE(one)).tolist()


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_it_agrees_with_itself(folder, kind):
    truth = COCO(folder / "annotations.json")
    results = truth.loadRes([dict(one) for one in truth.dataset["annotations"]])
    evaluation = COCOeval(truth, results, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1.0


def test_supervision(folder):
    supervision = pytest.importorskip("supervision")
    dataset = supervision.DetectionDataset.from_coco(str(folder), str(folder / "annotations.json"))
    assert_supervision_holds(dataset, folder, PICTURES)


@pytest.mark.filterwarnings("ignore:Skipping COCO polygon:UserWarning")
def test_a_round_trip_through_supervision(tmp_path):
    supervision = pytest.importorskip("supervision")
    # It writes images without their folders, and refuses equal names. With the crowd flags it
    # would take masks with holes for polygons, because they are no crowds.
    pictures = {name.replace("/", "-"): masks for name, masks in PICTURES.items()}
    write_pictures(tmp_path, pictures)
    ours, theirs = str(tmp_path / "annotations.json"), str(tmp_path / "again.json")
    dataset = supervision.DetectionDataset.from_coco(str(tmp_path), ours, use_iscrowd=False)
    dataset.as_coco(annotations_path=theirs)
    again = supervision.DetectionDataset.from_coco(str(tmp_path), theirs)
    # Nor can it write masks a pixel wide: their outlines have no three corners.
    assert_supervision_holds(again, tmp_path, pictures, holds=lambda mask: mask.sum() > WIDTH)


def assert_supervision_holds(dataset, folder, pictures, *, holds=np.any):
    """holds: says of a mask H x W whether its pixels are to be compared."""
    assert dataset.classes == list(CLASSES)
    assert set(dataset.image_paths) == {str((folder / name).resolve()) for name in pictures}
    for name, masks in pictures.items():
        found = dataset.annotations[str((folder / name).resolve())]
        assert len(found) == len(masks)
        if len(masks):
            np.testing.assert_array_equal(found.xyxy, tight(masks))
            assert (found.class_id == labels(masks)).all()
            held = [n for n, mask in enumerate(masks) if holds(mask)]
            assert len(held) >= 2
            assert (found.mask[held] == masks[held]).all()


def test_torchvision(folder):
    datasets = pytest.importorskip("torchvision.datasets")
    plain = datasets.CocoDetection(folder, folder / "annotations.json")
    assert len(plain) == len(PICTURES)
    keys = {"image_id", "boxes", "labels", "masks"}
    wrapped = datasets.wrap_dataset_for_transforms_v2(plain, target_keys=keys)
    for (picture, target), masks in zip(wrapped, PICTURES.values(), strict=True):
        assert picture.size == (WIDTH, HEIGHT)
        if len(masks):
            assert (target["masks"].numpy().astype(bool) == masks).all()
            np.testing.assert_array_equal(target["boxes"].numpy(), tight(masks))
            assert (target["labels"].numpy() - 1 == labels(masks)).all()
        else:
            # An image without annotations has nothing but its id.
            assert set(target) == {"image_id"}


def test_datumaro(folder):
    datumaro = pytest.importorskip("datumaro")
    (folder / "images").mkdir()
    for name in PICTURES:
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        (folder / name).rename(folder / "images" / name)
    (folder / "annotations").mkdir()
    (folder / "annotations.json").rename(folder / "annotations" / "instances_all.json")
    dataset = datumaro.Dataset.import_from(str(folder), "coco_instances")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label].items]
    assert names == list(CLASSES)
    items = {item.id: item for item in dataset}
    assert set(items) == {name.removesuffix(".png") for name in PICTURES}
    for name, masks in PICTURES.items():
        # It makes a mask and a box of each annotation.
        found = items[name.removesuffix(".png")].annotations
        found = sorted((one for one in found if hasattr(one, "image")), key=lambda one: one.id)
        assert [one.label for one in found] == labels(masks).tolist()
        for one, mask in zip(found, masks, strict=True):
            assert (one.image.astype(bool) == mask).all()
            assert one.get_area() == mask.sum()
