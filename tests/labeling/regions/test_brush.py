import numpy as np

from labeling.regions.brush_rle import encode
from labeling.regions.kinds import region_mask


def test_antialiased_edges_count_from_128(recorded) -> None:
    region = recorded("regions")["brush255"]
    values = region_mask(region).astype(np.uint8) * 255
    values[0, :4] = [1, 127, 128, 200]
    assert region_mask(region | {"value": region["value"] | {"rle": encode(values)}})[0, :4].tolist() == [0, 0, 1, 1]
