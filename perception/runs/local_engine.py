"""The local runner: images through a model into a run database, on one machine.

Reading, the model and writing overlap. Processes read ahead; some threads answer, so that the model
works on one image while another is prepared or its masks become run lengths; this thread writes.
How much is in flight is bounded, whatever is slowest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import Any

from perception.models.model import Model
from perception.runs.image_reader import Reader, ReadPicture
from perception.runs.records import Failure, Record, Task
from perception.runs.worker import Question, answer_pictures
from perception.runs.write import RunWriter

_SECONDS_TO_LOOK_UP = 0.2  # On some systems waiting can't be interrupted.


def work_through(
    run: RunWriter,
    model: Model,
    question: Question,
    *,
    batch: int,
    workers: int,
    parallel: int,
    tell: Callable[[Sequence[Record]], object],
) -> None:
    """Answers all images that wait, and tells of each few once they are written.

    batch: images in one call of the model; workers: processes that read; parallel: threads that
    call the model. An interrupt or an error may come at any time: what isn't written by then is
    done again. Raises OutputError if the run can't be written, RunError if no reader starts.
    """
    with answering(model, question, batch=batch, workers=workers, parallel=parallel) as answer:
        for records in answer(run.tasks()):
            run.record(records)
            tell(records)


@contextmanager
def answering(
    model: Model, question: Question, *, batch: int, workers: int, parallel: int
) -> Iterator[Callable[[Iterator[Task]], Iterator[list[Record]]]]:
    """A function that gives the records of tasks as they come; one record each.

    batch, workers, parallel: as in ``work_through``. Raises RunError if no reader starts.
    """
    with (
        _reader_processes(workers, question.max_pixels) as read,
        _threads(workers, "perception-read") as readers,
        _threads(parallel, "perception-answer") as answerers,
    ):
        yield lambda tasks: _pipeline(
            tasks,
            lambda task: readers.submit(read, task),
            lambda pictures: answerers.submit(answer_pictures, model, pictures, question),
            batch=batch,
            parallel=parallel,
            room=workers + batch * (parallel + 2),
        )


def _pipeline(
    tasks: Iterator[Task],
    read: Callable[[Task], Future[ReadPicture | Failure]],
    answer: Callable[[list[ReadPicture]], Future[list[Record]]],
    *,
    batch: int,
    parallel: int,
    room: int,
) -> Iterator[list[Record]]:
    """Records as they come; at most ``room`` images are between their task and their record."""
    reading: set[Future[ReadPicture | Failure]] = set()
    answering: set[Future[list[Record]]] = set()
    ready: list[ReadPicture] = []
    while True:
        free = room - len(reading) - len(ready) - batch * len(answering)
        reading |= {read(task) for task in islice(tasks, max(free, 0))}
        # A batch that isn't full beats a model that waits; a full one may wait for the model, which
        # then doesn't wait for this thread while it writes.
        while (ready and len(answering) < parallel) or (
            len(ready) >= batch and len(answering) == parallel
        ):
            answering.add(answer(ready[:batch]))
            del ready[:batch]
        if not (reading or answering):
            return
        pending: set[Future[Any]] = {*reading, *answering}
        done, _ = wait(pending, _SECONDS_TO_LOOK_UP, FIRST_COMPLETED)
        found = [future.result() for future in reading & done]
        ready += [one for one in found if isinstance(one, ReadPicture)]
        records: list[Record] = [one for one in found if isinstance(one, Failure)]
        for future in answering & done:
            records += future.result()
        reading -= done
        answering -= done
        if records:
            yield records


@contextmanager
def _reader_processes(
    count: int, max_pixels: int
) -> Iterator[Callable[[Task], ReadPicture | Failure]]:
    """A function that reads an image in whichever of some processes is idle."""
    processes = [Reader(max_pixels=max_pixels) for _ in range(count)]
    idle: SimpleQueue[Reader] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def read(task: Task) -> ReadPicture | Failure:
        process = idle.get()
        try:
            return process.read(task)
        finally:
            idle.put(process)

    try:
        yield read
    finally:
        for process in processes:
            process.close()


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads that an interrupt or an error doesn't wait for."""
    threads = ThreadPoolExecutor(count, name)
    try:
        yield threads
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
