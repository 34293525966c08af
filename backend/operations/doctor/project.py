"""One project: its label config, its connection, its webhook, its images, and the version that annotators see."""

import time
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice

from PIL import Image

from backend.operations.doctor.findings import Finding, failure, ok, skipped, warning
from backend.operations.projects.connection import (
    find_backend,
    find_webhooks,
    has_credentials,
    refuses_host,
    same_address,
    webhook_faults,
)
from labeling.label_studio.images import fetch_image
from labeling.prompts.known import known_names, unknown_notes
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.task_values import task_text
from labeling.settings import Settings
from labeling.store import Store
from worker.projects.active_model import active_model_of, model_of_version
from worker.projects.open_project import OpenProject, open_project, require_client
from worker.projects.pinning import shown_version

_DELIVERY_S = 10.0
_SHOWN_PROMPTS = 5

ProjectCheck = Callable[[Settings, int], Iterator[Finding]]
AnyCheck = Callable[[Settings, int | None], Iterator[Finding]]


def of_project(check: ProjectCheck) -> AnyCheck:
    """A check that has nothing to look at while no project is named. LabelStudioError where there is none of this
    number, which is one cause for all of them.
    """

    @wraps(check)
    def look(settings: Settings, project: int | None) -> Iterator[Finding]:
        if project is None:
            yield skipped("Not looked at; argenseg doctor --project N does that.")
        else:
            require_client(settings).get_project(project)
            yield from check(settings, project)

    return look


@of_project
def label_config(settings: Settings, project: int) -> Iterator[Finding]:
    """Can masks be drawn for it, what is asked, and was the model taught that?"""
    config = parse_label_config(str(require_client(settings).get_project(project)["label_config"]))
    prompts = [
        f"{label.label or control.name}: {', '.join(label.prompts)}"
        for control in config.controls
        for label in control.labels
    ]
    more = f" and {len(prompts) - _SHOWN_PROMPTS} more" if len(prompts) > _SHOWN_PROMPTS else ""
    yield ok(f"Asked for: {'; '.join(prompts[:_SHOWN_PROMPTS]) or 'what is typed'}{more}.")
    for note in config.notes:
        yield warning(note, "Change it in Settings > Labeling Interface, if that is not what you want.")
    for note in unknown_notes(known_names(settings, active_model_of(settings, project)), config):
        yield warning(
            note,
            "Ask with a name that it knows (argenseg prompts names), or annotate some tasks and fine-tune: an empty"
            " answer to it is not sent.",
        )


@of_project
def connection(settings: Settings, project: int) -> Iterator[Finding]:
    """Is our backend connected, and does Label Studio reach it just now?"""
    client, url = require_client(settings), settings.public_backend_url
    mend = f"Run argenseg up --project {project} --connect."
    backend = find_backend(client, project, url)
    if backend is None:
        yield failure(f"Project {project} has no ML backend at {url}.", mend)
    elif (refusal := refuses_host(settings, str(backend["url"]))) is not None:
        yield failure(f"It is connected to {backend['url']}, under which the backend does not answer.", refusal)
    elif not same_address(backend["url"], url):
        yield failure(
            f"It is connected to {backend['url']}, and the backend is at {url}.", f"{mend} Or set BACKEND_URL."
        )
    elif not has_credentials(backend, settings):
        yield failure("Label Studio does not send the backend's user and password.", mend)
    elif backend["state"] != "CO":
        reported = str(backend.get("error_message") or "it gives no reason")[:200]
        yield failure(
            f"Label Studio does not reach {url}: {reported}.", "Start the backend, or set BACKEND_URL to where it is."
        )
    else:
        yield ok(f"Connected to {url} as {backend['title']!r}, and reached.")
        if not backend["is_interactive"]:
            yield warning("Typed prompts are off.", "Switch on interactive preannotations in Settings > Model.")


@of_project
def webhook(settings: Settings, project: int) -> Iterator[Finding]:
    """Does an event really come all the way into our store? A project that is saved unchanged sends one."""
    client, url = require_client(settings), settings.public_backend_url
    mend = f"Run argenseg up --project {project} --connect."
    hooks = find_webhooks(client, project, url)
    faults = [fault for hook in hooks[:1] for fault in webhook_faults(hook, settings)]
    if not hooks:
        yield failure(f"Project {project} has no webhook to {url}: corrections never arrive.", mend)
        return
    for fault in faults:
        yield failure(f"The webhook to {url} has a fault: {fault}.", mend)
    if len(hooks) > 1:
        yield warning(f"{len(hooks)} webhooks bring every event to us.", "Delete all but one in Settings > Webhooks.")
    with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
        before = store.events.newest()
        client.change_project(project, title=client.get_project(project)["title"])
        began = time.monotonic()
        while time.monotonic() - began < _DELIVERY_S:
            if store.events.has("PROJECT_UPDATED", project, after=before):
                yield ok(f"An event was delivered and stored, in {time.monotonic() - began:.1f} s.")
                return
            time.sleep(0.2)
    yield failure(
        f"An event was caused, and did not arrive within {_DELIVERY_S:g} s.",
        "Set SSRF_PROTECTION_ENABLED=false in Label Studio's environment if the backend's address is private; look into"
        " Label Studio's log for the webhook, and whether the backend uses this same database.",
    )


@of_project
def image(settings: Settings, project: int) -> Iterator[Finding]:
    """Can the image of one task be read as a worker reads it?"""
    client = require_client(settings)
    config = parse_label_config(str(client.get_project(project)["label_config"]))
    page = next(client.task_pages(project, page_size=1), None)
    if page is None:
        yield skipped(f"Project {project} has no tasks.")
        return
    task = page.tasks[0]
    reference = task_text(task["data"], config.image_key)
    if reference is None:
        yield failure(f"Task {task['id']} has no image under {config.image_key!r}.", _image_advice(config))
        return
    began = time.monotonic()
    with Image.open(fetch_image(reference, client, settings, task_id=int(task["id"]))) as picture:
        size = f"{picture.width} x {picture.height}"
    yield ok(f"The image of task {task['id']} ({size}) was fetched in {time.monotonic() - began:.1f} s.")


@of_project
def version(settings: Settings, project: int) -> Iterator[Finding]:
    """Do annotators see the masks that there are?"""
    with open_project(settings, project) as opened:
        shown, held = shown_version(opened), opened.client.prediction_counts(project)
        lacking = opened.tasks_without_prediction()
        predict, pin = f"argenseg predict --project {project}", f"argenseg versions pin --project {project}"
        if opened.shown and opened.shown != shown:  # "live": it follows the backend
            text = f"Annotators see what the backend says is current ({shown}), as long as it answers."
            yield warning(text, f"Predict the project, then pin it: {predict} --pin.")
        elif not shown:
            yield warning("Annotators see the predictions of all versions at once.", f"Choose one: {pin}.")
        elif not held.get(shown):
            yield failure(f"Annotators see {shown}, of which there is no prediction.", f"{predict} --pin.")
        elif shown != opened.version:
            yield _pinned_to_another(settings, opened, shown)
        else:
            yield ok(f"Annotators see {shown} ({held[shown]} predictions), pinned.")
        unseen = sum(page.remaining for page in islice(opened.client.task_pages(project, lacking_version=shown), 1))
        if held.get(shown) and shown != opened.version and unseen:
            yield warning(f"{unseen} tasks have no prediction of {shown}: they show no masks.", f"{predict} --pin.")
        if lacking:
            yield warning(f"{lacking} tasks have no prediction of {opened.version}.", f"{predict}.")
        if failed := opened.store.progress.failed_tasks(opened.project, opened.version):
            yield warning(
                f"{len(failed)} tasks failed, such as {failed[0].task_id}: {failed[0].reason}", f"{predict} --failed."
            )


def _pinned_to_another(settings: Settings, opened: OpenProject, shown: str) -> Finding:
    mend = f"Move the pin to {opened.version}: argenseg predict --project {opened.number} --pin."
    if model_of_version(settings, opened.store, shown, opened.requests.config) is None:
        text = f"Annotators see {shown}, whose weights are gone or whose prompts were changed: new tasks show no masks."
    else:
        text = f"Annotators see {shown}, new tasks get it too; the active version is {opened.version}."
    return warning(text, mend)


def _image_advice(config: LabelConfig) -> str:
    return f'Put the image\'s URL under "{config.image_key}" of the task\'s data, or change <Image value="…"/>.'
