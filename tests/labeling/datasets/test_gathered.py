"""What is gathered for a data set, in its temporary file."""

from datetime import UTC, datetime

import pytest

from labeling.datasets.evidence import Evidence
from labeling.datasets.gathered import Gathered
from labeling.errors import StoreError


def test_a_full_disk_is_an_outage_in_words_and_what_fails_meanwhile_stays_itself() -> None:
    evidence = Evidence("x" * 100_000, None, (), "edited", "1/1", None, datetime.now(UTC), False)
    with pytest.raises(StoreError, match=r"full.*TMPDIR") as error, Gathered.begin() as gathered:
        gathered._database.execute("PRAGMA max_page_count = 10")
        gathered.add("0" * 64, evidence)
    assert error.value.is_transient
    with pytest.raises(KeyError), Gathered.begin():
        raise KeyError("it is somebody else's")
