"""/masks and its pictures, as a browser gets them."""

import io
import re
import threading

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring
from flask.testing import FlaskClient
from PIL import Image

from backend.web.app import create_app
from labeling.errors import ImageFetchError
from labeling.label_studio.messages import Task
from labeling.predictions import PredictedMask, build_prediction
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import PredictionFilter, Project, Store
from tests.backend.web.pages.seeded import CONFIG, SIZE, draw_task, predict, seed
from tests.backend.web.recorded import eventually
from worker.projects.requests import ProjectRequests

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def project(settings: Settings, store: Store) -> Project:
    return seed(settings, store, tasks=8)


def pictures(page: str) -> list[str]:
    return re.findall(r'src="(pictures/[^"]+)"', page)


def test_without_masks_the_page_says_how_to_get_some(client: FlaskClient) -> None:
    page = client.get("/masks").text
    assert "No masks yet" in page and "argenseg predict" in page


def test_the_gallery_shows_what_was_predicted_with_its_task_and_scores(client: FlaskClient, project: Project) -> None:
    page = client.get("/masks").text
    assert len(pictures(page)) == 4 and page.count("<b>No masks</b>") == 2
    assert 'href="http://label-studio.test/projects/3/data?task=307"' in page
    assert "Nuclei, plate 7" in page and "its server answered 404" in page and 'aria-label="Score"' in page


def test_a_picture_is_a_small_jpeg_with_the_labels_colours(client: FlaskClient, project: Project) -> None:
    answer = client.get(pictures(client.get("/masks").text)[0])
    assert answer.status_code == 200 and answer.mimetype == "image/jpeg" and len(answer.data) < 80_000
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", "no page of another site shows it"
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert picture.size == (480, 480)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert abs(pixels[..., 0] - pixels[..., 2]).max() > 80, "the image is grey, the masks have colours"


def test_the_gallery_is_paged_and_chosen_by_its_address(client: FlaskClient, settings: Settings, store: Store) -> None:
    seed(settings, store, tasks=32)
    first = client.get("/masks").text
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = client.get(f"/{older}").text
    assert len(re.findall('class="card"', first)) == 24 and 'rel="next"' not in second and 'rel="prev"' in second
    assert "Task 300</a>" in second and "Task 300</a>" not in first
    failed = client.get("/masks?status=failed").text
    assert failed.count("<b>No masks</b>") == 2 and not pictures(failed)
    assert "No masks fit" in client.get("/masks?score=0.8-1&project=999&label=none").text


NONSENSE = (
    *("before=abc", "before=99999999999999999999", "before=-1", "before=٣", "project=%00", "project=2147483647"),
    *("score=1e999", "min=nan", "max=inf", "status=requested%27", f"label={'x' * 5000}"),
)


def test_nonsense_in_the_address_is_no_error(client: FlaskClient, project: Project) -> None:
    for query in NONSENSE:
        assert client.get(f"/masks?{query}").status_code == 200, query
        assert client.get(f"/corrections?{query}&annotator=x&outcome=y&use=z").status_code == 200, query


def test_what_others_wrote_is_text_on_the_page(client: FlaskClient, settings: Settings, store: Store) -> None:
    config = CONFIG.replace("Large nucleus", "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;")
    requests = ProjectRequests(settings, store, 3, config)
    store.projects.describe(requests.project, HOSTILE, 2)
    rows = list(requests.request_all([draw_task(number).task for number in (1, 2)]))
    drawn = draw_task(1)
    mask = PredictedMask(HOSTILE, "all", "mask", "image", "brushlabels", CroppedMask.of(drawn.nuclei[0]), 0.9)
    store.requests.begin(rows[0].id)
    store.predictions.finish(rows[0].id, build_prediction([mask], rows[0].model_version, SIZE, SIZE))
    store.predictions.fail(rows[1].id, HOSTILE)
    for path in ("/masks", "/status", "/corrections"):
        page = client.get(path).text
        assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("data:image/png;base64,AAAA", "is no image"),
        ("/data/upload/1/a.png", "LABEL_STUDIO_URL and"),
        ("http://169.254.169.254/latest/meta-data", "private"),
        ("file:///etc/passwd", "cannot be fetched by file:"),
        ("data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "is no image"),
    ],
)
def test_an_image_that_cannot_be_had_is_a_picture_that_says_why(
    image: str, reason: str, client: FlaskClient, settings: Settings, store: Store
) -> None:
    requests = ProjectRequests(settings, store, 3, CONFIG)
    (row,) = requests.request_all([Task(id=1, data={"image": image})])
    store.requests.begin(row.id)
    store.predictions.finish(row.id, build_prediction([], row.model_version, SIZE, SIZE))
    answer = client.get(f"/pictures/masks/small/{row.id}")
    words = " ".join(re.findall(r">([^<]+)</text>", answer.text))
    assert answer.status_code == 200 and answer.mimetype == "image/svg+xml" and reason in words
    assert "script" not in answer.text and answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_an_image_that_was_exchanged_is_not_drawn_over(client: FlaskClient, settings: Settings, store: Store) -> None:
    requests, drawn = ProjectRequests(settings, store, 3, CONFIG), draw_task(1)
    (row,) = requests.request_all([drawn.task])
    store.requests.begin(row.id)
    small = CroppedMask.of(drawn.nuclei[0][:100, :100] | True)
    mask = PredictedMask("Nucleus", "all", "mask", "image", "brushlabels", small, 0.9)
    store.predictions.finish(row.id, build_prediction([mask], row.model_version, 100, 100))
    assert "another image now" in " ".join(client.get(f"/pictures/masks/small/{row.id}").text.split())


@pytest.mark.parametrize("path", ["masks/small/999", "masks/huge/1", "corrections/small/999", "masks/small/9999999999"])
def test_a_picture_that_is_not_there_is_not_found(path: str, client: FlaskClient, project: Project) -> None:
    assert client.get(f"/pictures/{path}").status_code == 404


def test_an_erased_tasks_picture_is_gone(client: FlaskClient, store: Store, project: Project) -> None:
    shown = store.gallery.predictions(PredictionFilter(status="published"))[0]
    path = f"/pictures/masks/small/{shown.id}"
    assert client.get(path).status_code == 200
    store.erasure.erase(project, "task", shown.task_id, "on request")
    assert client.get(path).status_code == 404


def test_an_erased_tasks_picture_is_not_shown_for_the_prediction_that_got_its_number(
    client: FlaskClient, settings: Settings, store: Store, project: Project
) -> None:
    requests, drawn = ProjectRequests(settings, store, 3, CONFIG), [draw_task(number) for number in (901, 902)]
    seen = []
    for each in drawn:
        [row] = requests.request_all([each.task])
        predict(store, row, each)
        seen.append((row.id, client.get(f"/pictures/masks/small/{row.id}").data))
        store.erasure.erase(project, "task", each.task.id, "on request")
    assert seen[0][0] == seen[1][0], "the numbers come again"
    assert seen[0][1] != seen[1][1]


def test_a_picture_that_took_too_long_is_there_for_who_asks_again(
    client: FlaskClient, store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.web.pages.pictures._DRAWN_WITHIN_S", 0.05)
    number, regions, asked = store.gallery.predictions(PredictionFilter(status="published"))[0].id, [], []
    gate, get = threading.Event(), store.predictions.regions

    def slow(prediction_id: int) -> object:
        asked.append(prediction_id)
        gate.wait(30)
        regions.append(get(prediction_id))
        return regions[-1]

    store.predictions.regions = slow  # type: ignore[assignment]
    assert client.get(f"/pictures/masks/small/{number}").status_code == 202
    gate.set()
    eventually(lambda: client.get(f"/pictures/masks/small/{number}").status_code == 200)
    count = len(asked)
    assert client.get(f"/pictures/masks/small/{number}").status_code == 200 and len(asked) == count


def test_a_picture_that_a_bug_prevents_says_so_and_is_not_asked_for_for_ever(
    client: FlaskClient, store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = store.gallery.predictions(PredictionFilter(status="published"))[0].id
    monkeypatch.setattr("backend.operations.pictures.draw_instances", None)
    answer = client.get(f"/pictures/masks/small/{number}")
    assert answer.status_code == 200 and answer.mimetype == "image/svg+xml" and "bug of argenseg" in answer.text


def test_a_reason_is_well_formed_whatever_others_wrote_into_it(
    client: FlaskClient, store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = store.gallery.predictions(PredictionFilter(status="published"))[0].id

    def refuse(*_: object, **__: object) -> None:
        raise ImageFetchError("<&> \x00\x0b\x1b[31m \ud800 \ufffe gone")

    monkeypatch.setattr("backend.operations.pictures.Illustrator.of_prediction", refuse)
    answer = client.get(f"/pictures/masks/small/{number}")
    assert answer.status_code == 200 and "gone" in "".join(fromstring(answer.data).itertext())


def test_pictures_leave_threads_to_annotators(
    settings: Settings, store: Store, connection: object, project: Project
) -> None:
    """Who comes when half of the threads draw is asked to come again."""
    app = create_app(settings, store, connection)  # type: ignore[arg-type]
    number = store.gallery.predictions(PredictionFilter(status="published"))[0].id
    app.test_client().get(f"/pictures/masks/small/{number}")
    gate, begun, answers = threading.Event(), threading.Semaphore(0), []
    get = store.predictions.regions

    def slow(prediction_id: int) -> object:
        begun.release()
        gate.wait(30)
        return get(prediction_id)

    store.predictions.regions = slow  # type: ignore[method-assign]
    others = [each.id for each in store.gallery.predictions(PredictionFilter(status="published"))][1:4]
    threads = [
        threading.Thread(
            target=lambda path: answers.append(app.test_client().get(path)), args=(f"/pictures/masks/small/{each}",)
        )
        for each in others[:2]
    ]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=30)
    early = app.test_client().get(f"/pictures/masks/small/{others[2]}")
    assert early.status_code == 202 and early.headers["Cache-Control"] == "no-store" and 'width="1"' in early.text
    assert app.test_client().get(f"/pictures/masks/small/{number}").status_code == 200, (
        "one that is drawn needs no turn"
    )
    gate.set()
    for thread in threads:
        thread.join()
    store.predictions.regions = get  # type: ignore[method-assign]
    assert app.test_client().get(f"/pictures/masks/small/{others[2]}").status_code == 200
    app.extensions["argenseg"].background.close()
