"""The cluster's runner: images through models in Ray's actors into a run database.

Ray Data hands blocks of images to actors that each hold a model, starts an actor again that dies,
has its block done again, and writes the answers to Parquet files beside the run, on the machine
that this runs on. ``merging`` takes them into the run.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.defaults import BATCH
from perception.errors import MissingExtraError, RunError
from perception.models.model import Model
from perception.runs.local_engine import answering
from perception.runs.merging import merging
from perception.runs.records import Record, Task
from perception.runs.settings import check_same
from perception.runs.worker import Question
from perception.runs.write import RunWriter
from perception.runtime.onnx_session import usable_cores

if TYPE_CHECKING:
    import pyarrow as pa
_MOST_IN_BLOCK = 64
"""Pictures that an actor is given at once: what is lost when it dies."""

_BLOCKS_PER_WORKER = 4
"""At least, where there are images enough: the last ones shouldn't wait for one actor."""

_READERS = 1
"""Processes that read for each actor: an image comes while the one before it is answered."""


@dataclass(frozen=True)
class RayEngine:
    """Answers a run's images on a Ray cluster.

    load: gives the model, in each actor; address: of the cluster, as ``ray start`` prints it; None
    is the one that RAY_ADDRESS names, else this machine; workers: actors, None is as many as the
    cluster has cores, or GPUs where actors need them; batch: images in one call of the model;
    gpus: GPUs that each actor has for itself, None: one where the cluster has any, else none; note:
    called with a line worth knowing, such as which of these it was. Raises MissingExtraError
    without Ray.
    """

    load: Callable[[], Model]
    address: str | None = None
    workers: int | None = None
    batch: int = BATCH
    gpus: int | None = 0
    note: Callable[[str], object] = lambda _: None

    def __post_init__(self) -> None:
        if (self.address or "").startswith("ray://"):
            raise RunError(
                f"{self.address}: this is for a machine of the cluster; run the command on one, "
                "with the address that ray start printed there, or with ray job submit"
            )
        try:
            import ray.data  # noqa: F401
        except ImportError:
            raise MissingExtraError(
                "--engine ray needs Ray: pip install 'perception-masks[ray]'"
            ) from None

    def __call__(
        self,
        run: RunWriter,
        model: Model,
        question: Question,
        tell: Callable[[Sequence[Record]], object],
    ) -> None:
        """Answers all images that wait, and tells of each few once they are written.

        model: what the actors' models must equal. Raises OutputError if the run can't be written,
        RunError if the cluster gives up.
        """
        from pyarrow.fs import LocalFileSystem

        waiting = run.counts().waiting
        if not waiting:
            return
        with _cluster(self.address, self.workers) as ray, merging(run, tell) as folder:
            resources = ray.cluster_resources()
            gpus = self._gpus(int(resources.get("GPU", 0)))
            workers = self.workers or max(int(resources.get("GPU" if gpus else "CPU", 1)), 1)
            size = min(-(-waiting // (_BLOCKS_PER_WORKER * workers)), _MOST_IN_BLOCK)
            blocks = ray.data.from_blocks(list(_blocks(run.tasks(), size)))
            # Ray's own defaults: an actor that dies is started again and has its block again.
            answers = blocks.map_batches(
                _Answerer,
                fn_constructor_args=(
                    self.load,
                    model.info(text=""),
                    question,
                    self.batch,
                    run.path,
                ),
                batch_size=size,  # With GPUs, Ray insists on a number.
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=min(workers, -(-waiting // size))),
                num_cpus=1,
                num_gpus=gpus,
            )
            answers.write_parquet(
                str(folder.absolute()),
                filesystem=LocalFileSystem(),  # Without it, a path is taken for a URL.
                ray_remote_args=_here(ray),
            )

    def _gpus(self, there: int) -> int:
        """GPUs for each actor, on a cluster with so many; said where it wasn't."""
        if self.gpus is not None:
            return self.gpus
        self.note(
            f"the cluster has {there} GPU{'s' if there > 1 else ''}: each worker takes one; "
            "--device cpu computes on the CPUs"
            if there
            else "the cluster has no GPU: the model computes on the CPUs"
        )
        return min(there, 1)


class _Answerer:
    """What an actor does: it holds a model, and answers block after block.

    Raises RunError if its model isn't the run's.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        info: Mapping[str, Any],
        question: Question,
        batch: int,
        run: Path,
    ) -> None:
        model = load()
        check_same(info, model.info(text=""), run)
        self._open = ExitStack()
        self._answer = self._open.enter_context(
            answering(model, question, batch=batch, workers=_READERS, parallel=1)
        )

    def __call__(self, block: pa.Table) -> pa.Table:
        from perception.runs.shards import records_to_table, table_to_tasks

        tasks = table_to_tasks(block)
        records = [record for few in self._answer(iter(tasks)) for record in few]
        return records_to_table(tasks, records)


def _blocks(tasks: Iterator[Task], size: int) -> Iterator[pa.Table]:
    from perception.runs.shards import tasks_to_table

    while some := list(islice(tasks, size)):
        yield tasks_to_table(some)


def _here(ray: Any) -> dict[str, Any]:
    """Where answers are written: on this machine, so that no other need see the folder.

    Writing is quick and takes no core from a model.
    """
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return {"num_cpus": 0, "scheduling_strategy": strategy}


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """Ray, connected to a cluster, which it leaves; it is left as it was if it was connected."""
    # Read where a cluster is started: no report to Ray's makers, and no chatter.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray.data
    import ray.util.scheduling_strategies

    with ExitStack() as stack:
        if not ray.is_initialized():
            _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local", workers)
            stack.callback(ray.shutdown)
        stack.enter_context(_quiet(ray.data.DataContext.get_current()))
        try:
            yield ray
        except (ray.exceptions.RayError, ray.data.exceptions.RayDataUserCodeException) as error:
            raise _explained(error) from None


def _connect(ray: Any, address: str, workers: int | None) -> None:
    own = {"num_cpus": workers or usable_cores(), "include_dashboard": False}
    try:
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            **(own if address == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(
            f"{address}: no Ray cluster can be reached there ({_line(error)}); check --address, "
            "that Ray's and Python's versions are the same on all machines, and, where the cluster "
            "asks for a token, that RAY_AUTH_MODE=token is set here and the token is the same"
        ) from None


@contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Ray Data without its own progress bars and notes: there is one bar."""
    logger, bars = logging.getLogger("ray.data"), context.enable_progress_bars
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    context.enable_progress_bars = False
    try:
        yield
    finally:
        logger.setLevel(level)
        context.enable_progress_bars = bars


def _explained(error: BaseException) -> RunError:
    """An error of ours that an actor raised, or what Ray gave up for, in one line."""
    ours = re.findall(r"^perception\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
    if ours:
        return RunError(ours[-1])
    return RunError(
        f"the cluster gave up ({_line(error)}); all that is done is kept, the same command goes on"
    )


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
