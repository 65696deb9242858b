"""Tasks and records as Arrow tables: how they travel through a cluster and lie in Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perception.runs.records import Answer, Failure, FileStamp, Record, StoredBoxes, Task
from perception.types import Candidates

_INTS, _FLOATS = pa.list_(pa.int64()), pa.list_(pa.float32())

# Paths are bytes and phrases JSON: neither need be text that Arrow can hold.
TASKS = pa.schema(
    {
        "picture": pa.int64(),
        "path": pa.binary(),
        "uid": pa.string(),
        "asked": pa.string(),
        "boxes": pa.list_(_FLOATS),  # what is stored, or null
        "scores": pa.list_(_FLOATS),
        "queries": _INTS,
        "made": pa.list_(pa.bool_()),
    }
)

RECORDS = pa.schema(
    {
        "picture": pa.int64(),
        "reason": pa.string(),  # of a failure; null in an answer
        "file": _INTS,  # the stamp, or null
        "asked_before": pa.int64(),
        "uid": pa.string(),
        "image_hw": _INTS,
        "adds": pa.bool_(),
        "asked": pa.string(),
        "boxes": pa.list_(_FLOATS),
        "queries": _INTS,
        "mask_queries": _INTS,
        "masks": pa.list_(pa.string()),
        "quality": _FLOATS,
        "stability": _FLOATS,
        "consensus": _FLOATS,
        "score_queries": _INTS,
        "score_phrases": _INTS,
        "scores": _FLOATS,
        "reported": pa.int64(),
    }
)
"""One row an image, with the fields of ``Answer`` or ``Failure``; see ``RunWriter.merge``."""


def tasks_to_table(tasks: Sequence[Task]) -> pa.Table:
    """Tasks, a row each."""
    rows = [
        {
            "picture": task.picture,
            "path": os.fsencode(task.path),
            "uid": task.uid,
            "asked": json.dumps(task.asked),
            **({} if task.stored is None else _stored_row(task.stored)),
        }
        for task in tasks
    ]
    return pa.Table.from_pylist(rows, TASKS)


def table_to_tasks(table: pa.Table) -> list[Task]:
    """The way back."""
    return [
        Task(
            row["picture"],
            os.fsdecode(row["path"]),
            row["uid"],
            tuple(json.loads(row["asked"])),
            None if row["boxes"] is None else _stored(row),
        )
        for row in table.to_pylist()
    ]


def _stored_row(stored: StoredBoxes) -> dict[str, Any]:
    found = stored.candidates
    return {
        "boxes": list(found.boxes),
        "scores": list(found.scores),
        "queries": found.queries,
        "made": stored.made,
    }


def _stored(row: dict[str, Any]) -> StoredBoxes:
    count = len(row["boxes"])
    return StoredBoxes(
        Candidates(
            np.array(row["boxes"], np.float32).reshape(count, 4),
            np.array(row["scores"], np.float32).reshape(count, -1 if count else 0),
            np.array(row["queries"], np.int64),
        ),
        np.array(row["made"], np.bool_),
    )


def records_to_table(tasks: Sequence[Task], records: Sequence[Record]) -> pa.Table:
    """Records, a row each, with what was known of the tasks that they answer."""
    before = {task.picture: len(task.asked) for task in tasks}
    rows = [_row(record, before[record.picture]) for record in records]
    return pa.Table.from_pylist(rows, RECORDS)


def read_shard(path: Path) -> Iterator[tuple[Record, int]] | None:
    """A file's records, as ``RunWriter.merge`` takes them; None if it isn't whole.

    What ends the file is written last, so one that is being written, or that its writer died of,
    doesn't open.
    """
    try:
        table = pq.read_table(path, schema=RECORDS)
    except (pa.ArrowInvalid, OSError):
        return None
    return ((_record(row), row["asked_before"]) for row in table.to_pylist())


def _row(record: Record, asked_before: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "picture": record.picture,
        "file": record.file,
        "asked_before": asked_before,
    }
    if isinstance(record, Failure):
        return {**row, "reason": record.reason}
    return {
        **row,
        "uid": record.uid,
        "image_hw": record.image_hw,
        "adds": record.adds,
        "asked": json.dumps(record.asked),
        "boxes": list(record.boxes),
        "queries": record.queries,
        "mask_queries": record.mask_queries,
        "masks": record.masks,
        "quality": record.quality,
        "stability": record.stability,
        "consensus": record.consensus,
        "score_queries": record.score_queries,
        "score_phrases": record.score_phrases,
        "scores": record.scores,
        "reported": record.reported,
    }


def _record(row: dict[str, Any]) -> Record:
    file = FileStamp(*row["file"]) if row["file"] is not None else None
    if row["reason"] is not None:
        return Failure(row["picture"], row["reason"], file)
    height, width = row["image_hw"]
    return Answer(
        picture=row["picture"],
        uid=row["uid"],
        image_hw=(height, width),
        file=file,
        adds=row["adds"],
        asked=tuple(json.loads(row["asked"])),
        boxes=np.array(row["boxes"], np.float32).reshape(-1, 4),
        queries=np.array(row["queries"], np.int64),
        mask_queries=np.array(row["mask_queries"], np.int64),
        masks=tuple(row["masks"]),
        quality=np.array(row["quality"], np.float32),
        stability=np.array(row["stability"], np.float32),
        consensus=np.array(row["consensus"], np.float32),
        score_queries=np.array(row["score_queries"], np.int64),
        score_phrases=np.array(row["score_phrases"], np.int64),
        scores=np.array(row["scores"], np.float32),
        reported=row["reported"],
    )
