"""A process that annotates with a model that looks at colors, and takes its time.

``python process.py FOLDER OUT SECONDS [THRESHOLD]``: prints a line for each image that the
detector is asked about, and, where a threshold is given, that the segmenter encodes; SECONDS is how
long the model works on one.
"""

import signal
import sys
import time
from pathlib import Path


def main():
    folder, out, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    threshold = sys.argv[4:]
    # A shell that starts the tests in the background has them ignore interrupts, and us with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from fakes import color_model

    from perception.cli import commands
    from perception.models import load as loading

    model = color_model()
    right, encode = model.detector.candidates, model.segmenter.encode

    def candidates(images, phrases, *, floor):
        sys.stdout.write("asked\n")
        sys.stdout.flush()
        time.sleep(seconds)
        return right(images, phrases, floor=floor)

    def encoded(image):
        sys.stdout.write("encoded\n")
        sys.stdout.flush()
        time.sleep(seconds)
        return encode(image)

    model.detector.candidates = candidates
    if threshold:
        model.segmenter.encode = encoded
    loading.load = lambda name, *, device, precision, threads: model
    sys.argv = ["perception", "annotate", folder, "--text", "red. blue. green", "--out", str(out)]
    sys.argv += ["--batch", "1", "--parallel", "2", "-q"]
    if threshold:
        sys.argv[4] = "red thing: red, sky: blue. green"
        sys.argv += ["--threshold", *threshold]
    commands.main()


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[n]) for n in (1, 2)]
    main()
