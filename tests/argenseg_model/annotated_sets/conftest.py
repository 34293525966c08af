"""A COCO file with what tools write of it, in a folder of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

COCO: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 8, "height": 6},
        {"id": 2, "file_name": "b.png", "width": 4, "height": 4},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cup"}],
    "annotations": [
        {"id": 10, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3, 0, 3]]},
        {"id": 11, "image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": [42, 6]}},
        {"id": 12, "image_id": 1, "category_id": 2, "segmentation": {"size": [6, 8], "counts": [0, 48]}},
    ],
}


@pytest.fixture
def coco(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")  # beside the file: that works too
    return json.loads(json.dumps(COCO))
