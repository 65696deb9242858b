from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.sam.configuration_sam import SamConfig
from transformers.models.sam.modeling_sam import SamModel

from perception.checkpoints.transformers_layout import (
    FREQUENCIES,
    SHARED,
    TWIN,
    is_transformers_layout,
    spelling,
    transformers_name,
    without_twin,
)
from perception.errors import WeightsError
from perception.segmenters.load import load_sam
from perception.segmenters.sam.network import Sam, build_sam_vit_b, build_sam_vit_h, build_sam_vit_l

from .tiny import CHANNELS, PATCH, SIDE, build_tiny

Answers = tuple[Tensor, Tensor]


def tiny_config() -> SamConfig:
    """The numbers of ``build_tiny``."""
    return SamConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "mlp_ratio": 2.0,
            "window_size": 3,
            "global_attn_indexes": [1],
            "image_size": SIDE,
            "patch_size": PATCH,
            "output_channels": CHANNELS,
            "num_pos_feats": CHANNELS // 2,
        },
        prompt_encoder_config={"hidden_size": CHANNELS, "image_size": SIDE, "patch_size": PATCH},
        mask_decoder_config={
            "hidden_size": CHANNELS,
            "mlp_dim": 48,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 24,
        },
    )


def published_config(width: int, depth: int, heads: int, global_blocks: list[int]) -> SamConfig:
    return SamConfig(
        vision_config={
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "global_attn_indexes": global_blocks,
        }
    )


@pytest.fixture(scope="module")
def theirs() -> SamModel:
    """A tiny model of transformers with numbers of a useful size everywhere."""
    model = SamModel(tiny_config()).eval()
    generator = torch.Generator().manual_seed(0)
    for value in model.state_dict().values():
        value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return model


@pytest.fixture(autouse=True)
def _tiny_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.segmenters.load.BUILDERS", {32: build_tiny})


@pytest.fixture(scope="module")
def folder(theirs: SamModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single")
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder: Path) -> Sam:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perception.segmenters.load.BUILDERS", {32: build_tiny})
        return load_sam(folder)


@pytest.fixture
def weights(theirs: SamModel) -> dict[str, Tensor]:
    """A copy that a test may spoil."""
    return dict(theirs.state_dict())


@pytest.fixture(scope="module")
def embedding(theirs: SamModel) -> Tensor:
    return theirs.get_image_embeddings(pixels())


def pixels() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("build", "config"),
    [
        (build_sam_vit_b, (768, 12, 12, [2, 5, 8, 11])),
        (build_sam_vit_l, (1024, 24, 16, [5, 11, 17, 23])),
        (build_sam_vit_h, (1280, 32, 16, [7, 15, 23, 31])),
    ],
)
def test_the_published_networks_have_the_same_names_and_shapes(
    build: Callable[[], Sam], config: tuple[int, int, int, list[int]]
) -> None:
    with torch.device("meta"):
        published, other = build().state_dict(), SamModel(published_config(*config)).state_dict()
    named = {transformers_name(key): value.shape for key, value in published.items()}
    assert len(named) == len(published)
    assert {**named, TWIN: named[SHARED]} == {key: value.shape for key, value in other.items()}


def test_the_layouts_are_told_apart(tiny: Sam, theirs: SamModel) -> None:
    assert is_transformers_layout(theirs.state_dict())
    assert not is_transformers_layout(tiny.state_dict())
    assert not is_transformers_layout([])


def test_the_frequencies_are_spelled_as_the_file_does() -> None:
    assert spelling([SHARED, TWIN])(FREQUENCIES) == SHARED
    assert spelling([TWIN])(FREQUENCIES) == TWIN
    assert spelling([])(FREQUENCIES) == SHARED
    assert spelling([TWIN])("image_encoder.pos_embed") == "vision_encoder.pos_embed"


def test_only_equal_twins_are_merged(weights: dict[str, Tensor]) -> None:
    assert set(weights) - set(without_twin(weights, "a")) == {TWIN}
    del weights[SHARED]
    assert without_twin(weights, "a") == weights


@pytest.mark.parametrize("other", [torch.zeros(2, 16), torch.zeros(2, 8)])
def test_two_positional_codes_are_refused(
    weights: dict[str, Tensor], tmp_path: Path, other: Tensor
) -> None:
    save_file({**weights, TWIN: other}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=rf"{SHARED} and {TWIN} differ"):
        load_sam(tmp_path / "model.safetensors")


def saved_as_bin(model: SamModel, path: Path) -> Path:
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    return path / "pytorch_model.bin"


def saved_as_bin_folder(model: SamModel, path: Path) -> Path:
    return saved_as_bin(model, path).parent


def saved_as_file(model: SamModel, path: Path) -> Path:
    model.save_pretrained(path)
    return path / "model.safetensors"


def saved_in_shards(model: SamModel, path: Path) -> Path:
    model.save_pretrained(path, max_shard_size="100KB")
    assert len(list(path.glob("*.safetensors"))) > 1
    return path


def saved_as_index(model: SamModel, path: Path) -> Path:
    return saved_in_shards(model, path) / "model.safetensors.index.json"


def saved_with_the_twin_alone(model: SamModel, path: Path) -> Path:
    weights = model.state_dict()
    del weights[SHARED]
    save_file(weights, path / "sam.safetensors")
    return path / "sam.safetensors"


@pytest.mark.parametrize(
    "save",
    [
        saved_as_bin,
        saved_as_bin_folder,
        saved_as_file,
        saved_in_shards,
        saved_as_index,
        saved_with_the_twin_alone,
    ],
)
def test_every_way_of_saving_gives_the_same_network(
    theirs: SamModel, ours: Sam, tmp_path: Path, save: Callable[[SamModel, Path], Path]
) -> None:
    loaded = load_sam(save(theirs, tmp_path)).state_dict()
    for key, value in ours.state_dict().items():
        assert torch.equal(loaded[key], value)
        assert torch.equal(value, theirs.state_dict()[transformers_name(key)])


def test_the_embedding_is_that_of_transformers(ours: Sam, embedding: Tensor) -> None:
    torch.testing.assert_close(ours.encode(pixels()), embedding, atol=1e-5, rtol=0)


def assert_same_answers(
    ours: Answers, theirs: SamModel, embedding: Tensor, **prompt: Tensor
) -> None:
    """All four masks: transformers gives the single answer and the other three by turns.

    The norms between the decoder's layers add 1e-6 to the variance in transformers and 1e-5 in the
    published network and here, which is most of the difference.
    """
    single, three = (
        theirs(image_embeddings=embedding, multimask_output=several, **prompt)
        for several in (False, True)
    )
    logits = torch.cat((single.pred_masks, three.pred_masks), dim=2).flatten(0, 1)
    quality = torch.cat((single.iou_scores, three.iou_scores), dim=2).flatten(0, 1)
    assert logits.std() > 0.1  # not equal for being nothing
    torch.testing.assert_close(ours[0], logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours[1], quality, atol=1e-4, rtol=0)


def test_points_give_the_masks_of_transformers(
    ours: Sam, theirs: SamModel, embedding: Tensor
) -> None:
    """transformers closes points by a padding place itself; its + 0.5 is that of our encoder.

    A place labelled -1 is padding in both. transformers' own label -10 makes a token of zeros,
    which the published network doesn't know: nothing here compares with it.
    """
    points = torch.tensor([[[3.0, 5], [60.5, 20], [31, 33]], [[0, 63], [10, 10], [7, 9]]])
    labels = torch.tensor([[1, 0, 1], [1, 1, -1]])
    coords = torch.cat((points, torch.zeros(2, 1, 2)), dim=1)
    closed = torch.cat((labels, torch.full((2, 1), -1)), dim=1)
    answers = ours.decode(ours.prepare(embedding), coords, closed)
    assert_same_answers(
        answers, theirs, embedding, input_points=points[None], input_labels=labels[None]
    )


def test_boxes_give_the_masks_of_transformers(
    ours: Sam, theirs: SamModel, embedding: Tensor
) -> None:
    boxes = torch.tensor([[2.0, 3, 40, 50], [20, 0, 63.5, 31], [8, 8, 9, 9]])
    answers = ours.decode(
        ours.prepare(embedding), boxes.reshape(3, 2, 2), torch.tensor([[2, 3]] * 3)
    )
    assert_same_answers(answers, theirs, embedding, input_boxes=boxes[None])


def test_points_in_a_box_give_the_masks_of_transformers(
    ours: Sam, theirs: SamModel, embedding: Tensor
) -> None:
    """With a box, neither side adds a padding place; the points come before the corners."""
    point, box = torch.tensor([[12.0, 20]]), torch.tensor([2.0, 3, 40, 50])
    coords = torch.cat((point, box.reshape(2, 2)))[None]
    answers = ours.decode(ours.prepare(embedding), coords, torch.tensor([[0, 2, 3]]))
    assert_same_answers(
        answers,
        theirs,
        embedding,
        input_points=point[None, None],
        input_labels=torch.zeros(1, 1, 1),
        input_boxes=box[None, None],
    )


def test_an_earlier_mask_gives_the_masks_of_transformers(
    ours: Sam, theirs: SamModel, embedding: Tensor
) -> None:
    """One prompt: transformers takes an earlier mask per image, not per prompt."""
    box = torch.tensor([[2.0, 3, 40, 50]])
    mask = 4 * torch.randn(1, 1, ours.mask_size, ours.mask_size)
    coords, labels = box.reshape(1, 2, 2), torch.tensor([[2, 3]])
    answers = ours.decode(ours.prepare(embedding, mask), coords, labels)
    assert_same_answers(answers, theirs, embedding, input_boxes=box[None], input_masks=mask)
    without, _ = ours.decode(ours.prepare(embedding), coords, labels)
    assert (without - answers[0]).abs().max() > 0.01


def test_faults_are_named_as_the_file_spells_them(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    del weights["mask_decoder.upscale_layer_norm.bias"]
    weights["mask_decoder.hf_token.weight"] = torch.zeros(1)
    weights["mask_decoder.output_upscaling.1.bias"] = torch.zeros(8)
    weights["vision_encoder.neck.layer_norm2.bias"] = torch.zeros(3)
    torch.save(weights, tmp_path / "sam.bin")
    with pytest.raises(WeightsError) as caught:
        load_sam(tmp_path / "sam.bin")
    assert str(caught.value) == (
        f"{tmp_path / 'sam.bin'}: its weights don't fit the network: "
        "missing: mask_decoder.upscale_layer_norm.bias; "
        "unknown: mask_decoder.hf_token.weight, mask_decoder.output_upscaling.1.bias; "
        "wrong shape: vision_encoder.neck.layer_norm2.bias (3,) instead of (32,)"
    )


def test_a_wrong_shape_is_named_by_the_twin_where_it_is_alone(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    del weights[SHARED]
    torch.save({**weights, TWIN: torch.zeros(2, 8)}, tmp_path / "sam.bin")
    with pytest.raises(WeightsError, match=rf"wrong shape: {TWIN} \(2, 8\) instead of \(2, 16\)$"):
        load_sam(tmp_path / "sam.bin")


def test_no_positional_code_is_a_fault(weights: dict[str, Tensor], tmp_path: Path) -> None:
    del weights[SHARED], weights[TWIN]
    torch.save(weights, tmp_path / "sam.bin")
    with pytest.raises(WeightsError, match=rf"missing: {SHARED}$"):
        load_sam(tmp_path / "sam.bin")


def test_hundreds_of_faults_are_shortened(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """As of transformers' ``SamVisionModel``: the image encoder alone."""
    alone = {key: value for key, value in weights.items() if key.startswith("vision_encoder.")}
    torch.save(alone, tmp_path / "sam.bin")
    with pytest.raises(WeightsError) as caught:
        load_sam(tmp_path / "sam.bin")
    absent = len(weights) - len(alone) - 1  # the twins are one
    assert str(caught.value).endswith(f" and {absent - 5} more")
    assert str(caught.value).count(",") == 4


def test_both_layouts_in_one_file_are_refused(
    weights: dict[str, Tensor], tiny: Sam, tmp_path: Path
) -> None:
    torch.save({**weights, **tiny.state_dict()}, tmp_path / "sam.bin")
    with pytest.raises(WeightsError, match=r"unknown: image_encoder\.pos_embed"):
        load_sam(tmp_path / "sam.bin")


def test_another_model_of_transformers_is_refused(tmp_path: Path) -> None:
    """SAM 2 has a vision encoder, too."""
    key = "vision_encoder.backbone.pos_embed"
    torch.save({key: torch.zeros(1)}, tmp_path / "sam.bin")
    with pytest.raises(WeightsError, match=rf"no .*vision_encoder\.pos_embed.* start with {key}"):
        load_sam(tmp_path / "sam.bin")


def test_a_truncated_shard_is_named(theirs: SamModel, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=rf"{shard.name}: a damaged safetensors file"):
        load_sam(tmp_path)


def test_a_key_in_two_shards_is_refused(theirs: SamModel, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    first = load_file(shards[0])
    save_file({**load_file(shards[1]), **first}, shards[1])
    with pytest.raises(WeightsError, match=f"{shards[1].name}: another shard has these, too: "):
        load_sam(tmp_path)
