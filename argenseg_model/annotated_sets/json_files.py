"""Foreign json files."""

import json
from pathlib import Path
from typing import Any

from argenseg_model.manifest import ManifestError

MAX_BYTES = 4 * 2**30


def read_json(path: Path) -> Any:
    """The content. ManifestError for what cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f"{path}: larger than {MAX_BYTES:,} bytes; split the annotations")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: is no json ({str(error)[:100]}); fetch or export it again") from error
