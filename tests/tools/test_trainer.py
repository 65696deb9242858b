from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from trainer import Trainer, load_batches, training_options

X = torch.linspace(-1, 1, 12).reshape(4, 3)


def tiny() -> nn.Module:
    """Matrices, of which one is wide enough for Muon, vectors, a norm with averages, a counter."""
    torch.manual_seed(0)
    layers = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Linear(8, 1)
    return nn.Sequential(*layers).train()


def loss_of(model: nn.Module) -> Tensor:
    return ((model(X)[:, 0] - X.sum(1)) ** 2).mean()


def open_trainer(path: Path, **options: float) -> Trainer:
    return Trainer(tiny(), path, **({"steps": 400, "rate": 0.05} | options))


def advance(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.update(loss_of(trainer.model))


def states(trainer: Trainer) -> dict[str, Tensor]:
    rate = torch.tensor(trainer.optimizers[0].param_groups[0]["lr"])
    moments = {
        f"{type(optimizer).__name__} {index} {name}": torch.as_tensor(value)
        for optimizer in trainer.optimizers
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    average = {f"average {k}": v for k, v in trainer.average.state_dict().items()}
    return {"rate": rate, **trainer.model.state_dict(), **average, **moments}


def test_a_resumed_run_is_where_it_would_have_been(tmp_path: Path) -> None:
    straight = open_trainer(tmp_path / "straight.pt")
    advance(straight, 12)
    first = open_trainer(tmp_path / "run" / "state.pt")
    advance(first, 7)
    first.save()
    second = open_trainer(tmp_path / "run" / "state.pt")
    assert second.step == 7
    advance(second, 5)
    assert second.step == straight.step
    want = states(straight)
    have = states(second)
    assert have.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(have[name], want[name], rtol=0, atol=0, msg=name)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["state.pt"]


def test_a_new_run_begins_at_the_beginning(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "none.pt")
    assert trainer.step == 0
    for ours, theirs in zip(
        trainer.average.state_dict().values(), tiny().state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_learns_and_the_average_follows(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "state.pt", rate=0.2)
    before = loss_of(trainer.model).item()
    advance(trainer, 200)
    assert not trainer.average.training
    mine, theirs = (m.state_dict() for m in (trainer.model, trainer.average))
    assert theirs["1.num_batches_tracked"] == mine["1.num_batches_tracked"]
    gap = (mine["0.weight"] - theirs["0.weight"]).abs().max()
    assert 0 < gap < (mine["0.weight"] - tiny()[0].weight).abs().max()
    assert loss_of(trainer.model).item() < 0.1 * before


def test_the_rate_rises_and_falls(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "state.pt", steps=400, rate=1.0)
    rates = []
    for _ in range(400):
        trainer.update(loss_of(trainer.model) * 0)
        (rate,) = {group["lr"] for each in trainer.optimizers for group in each.param_groups}
        rates.append(rate)
    assert rates[0] == pytest.approx(1 / 300)
    assert rates[:100] == sorted(rates[:100])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)


def test_only_matrices_decay(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "state.pt")
    adam, muon = trainer.optimizers
    groups = [*adam.param_groups, *muon.param_groups]
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    stepped = [id(p) for group in groups for p in group["params"]]
    assert sorted(stepped) == sorted(id(p) for p in trainer.model.parameters())


def test_some_weights_learn_slowly_and_some_not_at_all(tmp_path: Path) -> None:
    model = tiny()
    model[0].requires_grad_(False)
    trainer = Trainer(model, tmp_path / "state.pt", steps=400, rate=0.05, slowly=("2.",))
    kept = model[0].weight.clone()
    advance(trainer, 3)
    assert torch.equal(model[0].weight, kept)
    rate_of = {
        id(p): group["lr"]
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert rate_of[id(model[2].weight)] == rate_of[id(model[2].bias)]
    assert rate_of[id(model[2].weight)] == pytest.approx(rate_of[id(model[3].weight)] / 2)
    assert id(model[0].weight) not in rate_of
    (adam,) = trainer.optimizers  # the only matrix that Muon would turn is slow
    assert isinstance(adam, torch.optim.AdamW)


def test_a_state_of_another_version_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save({"model": tiny().state_dict(), "step": 3}, path)
    with pytest.raises(SystemExit, match=r"state\.pt .*--out"):
        open_trainer(path)


def test_saves_now_and_then(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "state.pt", save_seconds=-1)
    advance(trainer, 1)
    assert open_trainer(tmp_path / "state.pt").step == 1


@pytest.mark.parametrize("until", [0, 3, 100])
def test_run_stops_where_it_should(
    tmp_path: Path, until: int, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = open_trainer(tmp_path / "state.pt")
    trainer.run(
        iter(range(until)),  # no batch more than it needs
        lambda batch: (loss_of(trainer.model), {"batch": float(batch)}),
        until=until,
        pictures=4,
    )
    assert trainer.step == until
    assert (tmp_path / "state.pt").is_file()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == until // 50
    if until == 100:
        assert lines[0].startswith("step 50 loss ")
        assert "batch 24.500" in lines[0]  # the mean of 0..49
        assert "batch 74.500" in lines[1]
        assert lines[1].endswith("img/s")


def test_the_log_of_a_resumed_run_is_a_mean_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    advance(first := open_trainer(tmp_path / "state.pt"), 30)
    first.save()
    trainer = open_trainer(tmp_path / "state.pt")
    trainer.run([0] * 20, lambda _: (loss_of(trainer.model), {"one": 1.0}), until=50, pictures=1)
    assert "one 1.000" in capsys.readouterr().out


def test_a_resumed_run_draws_other_scenes(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "state.pt")
    seeds = {trainer.scene_seed(0), trainer.scene_seed(1)}
    advance(trainer, 1)
    seeds |= {trainer.scene_seed(0), trainer.scene_seed(1)}
    assert len(seeds) == 4


def test_the_weights_are_the_average(tmp_path: Path) -> None:
    trainer = open_trainer(tmp_path / "state.pt")
    advance(trainer, 5)
    trainer.save_weights(tmp_path / "tiny.safetensors")
    weights = load_file(tmp_path / "tiny.safetensors")
    assert weights.keys() == trainer.model.state_dict().keys()
    for name, value in trainer.average.state_dict().items():
        assert torch.equal(weights[name], value)


class Numbers(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(5))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_order(workers: int) -> None:
    assert list(load_batches(Numbers(), workers)) == [0, 1, 2, 3, 4]


def test_options() -> None:
    parser = training_options("Trains a thing.\n\nMore.", out=Path("runs/x"), batch=7, rate=0.5)
    options = parser.parse_args(["--steps", "9"])
    assert (options.out, options.batch, options.rate) == (Path("runs/x"), 7, 0.5)
    assert (options.steps, options.until, options.seed, options.workers) == (9, None, 0, 1)
    assert parser.description == "Trains a thing."
