"""References as browsers read them."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from labeling.errors import ImageFetchError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.label_studio.references import clean_reference, why_unusable
from labeling.settings import Settings

TOKEN = "0123456789abcdef"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), "blue").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, image_timeout_s=3, allow_private_image_hosts=True)


@pytest.mark.parametrize(
    "blanks", ["{} ", " {}", "{}\n", "\t{}\r\n", "\x00{}"], ids=["after", "before", "line", "both", "control"]
)
def test_white_space_at_the_ends_of_a_reference_means_nothing(label_studio, answer, settings, blanks: str) -> None:
    label_studio.answers["GET", "/data/upload/1/a.png"] = answer(png())
    client = LabelStudioClient(label_studio.url, TOKEN)
    for reference in ("/data/upload/1/a.png", f"{label_studio.url}/data/upload/1/a.png", "\\data\\upload/1/a.png"):
        assert fetch_image(blanks.format(reference), client, settings).read_bytes() == png()


def test_a_host_without_a_scheme_is_a_host(label_studio, other_host, answer, settings) -> None:
    other_host.answers["GET", "/a.png"] = answer(png())
    client = LabelStudioClient(label_studio.url, TOKEN)
    assert fetch_image(f"//127.0.0.1:{other_host.port}/a.png", client, settings).read_bytes() == png()
    assert "Authorization" not in other_host.requests[0].headers


def broken(text: str) -> str:
    return "\n ".join(text[start : start + 20] for start in range(0, len(text), 20))


ENCODED = base64.b64encode(png()).decode()


@pytest.mark.parametrize(
    "reference",
    [
        f"data:image/png;base64,{broken(ENCODED)}\n",
        f"data:image/png;base64,{ENCODED.rstrip('=')}",
        f" data:image/png; BASE64 ,{ENCODED}",
        f"data:;base64,{ENCODED.replace('+', '%2B').replace('/', '%2F')}",
    ],
    ids=["line breaks", "no padding", "blanks", "percents"],
)
def test_a_data_url_is_read_as_forgivingly_as_by_a_browser(settings, reference: str) -> None:
    assert fetch_image(reference, None, settings).read_bytes() == png()


@pytest.mark.parametrize("scheme", ["ftp", "file", "blob", "javascript", "C", "hdfs", "git+ssh"])
def test_what_can_never_be_fetched_is_refused_before_it_is_queued(settings, scheme: str) -> None:
    reference = f"{scheme}://host/a.png"
    assert "cannot be fetched" in (why_unusable(reference) or "")
    with pytest.raises(ImageFetchError, match="cannot be fetched"):
        fetch_image(reference, None, settings)


@pytest.mark.parametrize("reference", ["/a.png", "a b.png", "http://h/a.png", "s3://b/a.png", "azure-blob://b/a"])
def test_what_may_be_fetched_is_taken(reference: str) -> None:
    assert why_unusable(reference) is None
    assert clean_reference(reference) == reference


@pytest.mark.parametrize("path", ["/data/x.png", "/label-studio-2/data/x.png", "/label-studio/api/x.png"])
def test_the_token_goes_only_below_label_studios_path(label_studio, answer, settings, path: str) -> None:
    client = LabelStudioClient(f"{label_studio.url}/label-studio", TOKEN)
    label_studio.answers["GET", path] = answer(png())
    fetch_image(f"{label_studio.url}{path}", client, settings)
    assert "Authorization" not in label_studio.requests[0].headers
    label_studio.answers["GET", "/label-studio/data/x.png"] = answer(png())
    fetch_image(f"{label_studio.url}/label-studio/data/x.png", client, settings)
    assert "Authorization" in label_studio.requests[-1].headers
