"""Load a model as a GPU worker does and have it segment a tiny picture; exit code 0 if that works.

Example: python -m worker.gpu_worker.try_model --model starter
"""

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from PIL import Image

from worker.errors import ModelError
from worker.gpu_worker.model_child import ARGENSEG, ModelOptions, Question
from worker.gpu_worker.model_process import ModelProcess

_SIDE = 64  # px
_TIMEOUT_S = 290.0


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 1 after a line on stderr that says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--loader", default=ARGENSEG, help="ModelOptions -> Segmenter, as module:name (MODEL_LOADER)")
    given = parser.parse_args(arguments)
    options = ModelOptions(given.model, given.device, _SIDE * _SIDE, "WARNING", given.loader)
    with tempfile.TemporaryDirectory() as folder, closing(ModelProcess(options)) as process:
        picture = Path(folder) / "picture.png"
        Image.new("RGB", (_SIDE, _SIDE), "white").save(picture)
        try:
            process.prepare()
            [answer] = process.segment([Question(picture, ("everything",))], _TIMEOUT_S)
        except ModelError as error:
            print(error, file=sys.stderr)
            return 1
    if isinstance(answer, ModelError):
        print(answer, file=sys.stderr)
    return int(isinstance(answer, ModelError))


if __name__ == "__main__":
    sys.exit(main())
