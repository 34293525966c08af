import csv

import cv2
import numpy as np
import pytest

ROWS = [
    ("a-train", "train", "fluorescence", 200, 150), ("b-small", "train", "fluorescence", 60, 90),
    ("c-colour", "train", "fluorescence", 256, 256), ("d-test", "test", "fluorescence", 128, 128),
    ("e-demo", "demo", "fluorescence", 128, 128), ("f-histology", "train", "histology", 128, 128),
]  # fmt: skip


@pytest.fixture(scope="module")
def nuclei_dir(tmp_path_factory):
    """The layout of the nuclei data set, with drawn nuclei: bright where an instance is, 16-bit ids over 255."""
    folder = tmp_path_factory.mktemp("nuclei")
    (folder / "images").mkdir(), (folder / "instances").mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["id", "split", "modality", "width", "height", "nuclei", "foreground"])
        for image_id, split, modality, width, height in ROWS:
            instances = np.zeros((height, width), np.uint16)
            for number in range(12):
                centre = (int(rng.integers(width)), int(rng.integers(height)))
                cv2.circle(instances, centre, 9, int(256 * (number + 1)), -1)  # the low byte is 0: 16 bits must be read
            picture = np.where(instances > 0, 200, 20).astype(np.uint8)
            if image_id == "c-colour":
                picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
            cv2.imwrite(str(folder / "images" / f"{image_id}.png"), picture)
            cv2.imwrite(str(folder / "instances" / f"{image_id}.png"), instances)
            writer.writerow([image_id, split, modality, width, height, 12, 0.1])
    return folder
