"""AdaptiveBatcher that shrink when memory runs out, and a stopwatch for the stages of the work."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

from perception.errors import OutOfMemoryError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_SAID = re.compile(
    r"not enough memory|out of memory|alloc_failed|bad.?alloc|(failed|can't|cannot) .{0,9}allocate",
    re.IGNORECASE,
)
_REMEDY = (
    "use a smaller image (--max-pixels refuses larger ones), --precision bf16, --device cpu, or "
    "a smaller model"
)


class AdaptiveBatcher:
    """How many images go into one call of a model; as many as asked for, until memory runs out.

    limit: what has been learned from running out of it, None until then.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self._said = False

    def run(
        self,
        items: Sequence[Item],
        work: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        most: int,
        too_large: Callable[[Item, str], Answer] | None = None,
    ) -> list[Answer]:
        """One answer for each item, from calls of ``work`` with at most ``most`` of them.

        A call that runs out of memory is made again with half as many, which is said once, as a
        warning, and remembered; unless it turns out that one item is too large by itself.
        too_large: gives the answer for such an item and the reason; without it OutOfMemoryError is
        raised.
        """
        answers: list[Answer] = []
        before = self.limit
        while len(answers) < len(items):
            size = most if self.limit is None else min(most, self.limit)
            some = items[len(answers) : len(answers) + size]
            why = ""
            try:
                answers += work(some)
            except _memory_errors() as error:
                if not is_out_of_memory(error):
                    raise
                why = " ".join(str(error).split()) or type(error).__name__
            if not why:
                continue
            _free()  # Only here has the call let go of its memory.
            if len(some) > 1:
                self._halve(len(some))
                continue
            self.limit = before  # The others may well fit together.
            if too_large is None:
                raise one_too_large(why)
            answers.append(too_large(some[0], why))
        return answers

    def _halve(self, tried: int) -> None:
        if not self._said:
            self._said = True
            warnings.warn(
                f"not enough memory for {tried} images at once: going on with fewer, "
                f"{tried // 2} or less",
                RuntimeWarning,
                stacklevel=1,
            )
        # Of two threads the one that has gone further down is right.
        self.limit = min(tried // 2, self.limit or tried)


def one_too_large(why: str) -> OutOfMemoryError:
    """The error for an image that doesn't fit by itself."""
    return OutOfMemoryError(f"not enough memory for one image ({why}); {_REMEDY}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch or ONNX Runtime says that memory has run out."""
    if isinstance(error, OutOfMemoryError):
        return False  # Halved as far as it goes, by whoever raised it.
    return isinstance(error, MemoryError) or bool(_SAID.search(str(error)))


def _memory_errors() -> tuple[type[BaseException], ...]:
    """What may say so; what isn't loaded can't have raised."""
    if "onnxruntime" not in sys.modules:
        return (MemoryError, RuntimeError)
    from perception.runtime.onnx_session import runtime_errors

    return (MemoryError, RuntimeError, *runtime_errors())


def _free() -> None:
    """Hands memory that torch keeps for itself back to the GPU."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class Stopwatch:
    """Adds up the seconds of named stages: ``with watch("detect"): ...``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start
