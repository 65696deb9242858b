"""Everything that can go wrong for a user, as one tree of exceptions.

PerceptionError
├── PromptError      the text, a point or a box can't be used        (also a ValueError)
├── ImageError       an image can't be read                         (also a ValueError)
├── DataError        arrays or parts of a result don't fit together  (also a ValueError)
├── WeightsError     a model file is missing, damaged or of another kind
├── DeviceError      a model can't compute where, or as, it was asked to
│   └── OutOfMemoryError  not even one image fits                  (also a MemoryError)
├── CocoError        a COCO file can't be read as one                (also a ValueError)
├── OutputError      a result can't be written
├── RunError         an annotation run can't be gone on with, or read
├── EvaluationError  what is to be measured doesn't fit together  (also a ValueError)
├── ServeError       the service can't be started
├── ExportError      a graph doesn't give what the network gives
└── MissingExtraError  an optional dependency isn't installed        (also an ImportError)

A message is one line: what was expected, what came, what to do.
"""

import warnings


def hide_pillow_messages() -> None:
    """Keep Pillow's warnings and log lines from the terminal: an ImageError says what matters.

    For programs; a library leaves them to whoever uses it.
    """
    import logging

    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())


class PerceptionError(Exception):
    """Base of every error that this package raises on purpose."""


class PromptError(PerceptionError, ValueError):
    """The text, a point or a box can't be used as a prompt."""


class ImageError(PerceptionError, ValueError):
    """An image can't be read as one RGB image."""


class DataError(PerceptionError, ValueError):
    """Arrays or parts of a result have the wrong type or shape, or don't fit together."""


class WeightsError(PerceptionError):
    """A model file is missing, damaged, or holds another model."""


class DeviceError(PerceptionError):
    """A device isn't there, or can't do what was asked."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A model has not enough memory for one image."""


class CocoError(PerceptionError, ValueError):
    """A file isn't COCO, or can't be read."""


class OutputError(PerceptionError):
    """A result can't be written where it was asked for."""


class RunError(PerceptionError):
    """An annotation run can't be gone on with, or its database can't be read."""


class EvaluationError(PerceptionError, ValueError):
    """What is to be measured and what is right don't fit together."""


class ServeError(PerceptionError):
    """The service can't be started where or as it was asked for."""


class ExportError(PerceptionError):
    """An exported graph doesn't give what the network gives."""


class MissingExtraError(PerceptionError, ImportError):
    """An optional dependency is needed and isn't installed."""
