"""A cache with room holds what transformers' own holds, and copies nothing while the room lasts."""

import torch
from transformers import DynamicCache

from argenseg_model.roomy_cache import RoomyLayer, give_room


def filled() -> DynamicCache:
    cache = DynamicCache()
    for layer in range(2):
        cache.update(torch.full((3, 2, 4, 5), float(layer)), torch.full((3, 2, 4, 5), -float(layer)), layer)
    return cache


@torch.inference_mode()
def test_a_cache_with_room_holds_the_same() -> None:
    plain, roomy = filled(), filled()
    give_room(roomy, 7)
    for length in (1, 4, 2, 9):  # the last one is more than there is room for
        for layer in range(2):
            keys, values = torch.rand(3, 2, length, 5), torch.rand(3, 2, length, 5)
            expected, found = plain.update(keys, values, layer), roomy.update(keys, values, layer)
            assert all(map(torch.equal, expected, found))
        assert roomy.get_seq_length() == plain.get_seq_length()


@torch.inference_mode()
def test_what_it_holds_stays_in_its_place_while_there_is_room() -> None:
    cache = filled()
    give_room(cache, 7)
    places = set()
    for _ in range(7):
        keys, _ = cache.update(torch.rand(3, 2, 1, 5), torch.rand(3, 2, 1, 5), 0)
        places.add(keys.data_ptr())
    assert len(places) == 1


def test_where_gradients_are_kept_nothing_is_written_in_place() -> None:
    cache = filled()
    give_room(cache, 7)
    assert not any(isinstance(layer, RoomyLayer) for layer in cache.layers)
