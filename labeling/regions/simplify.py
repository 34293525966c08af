from labeling.regions.rasterize import Ring


def simplify_ring(ring: Ring, tolerance: float) -> Ring:
    return ring
