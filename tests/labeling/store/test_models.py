"""Model versions, active versions and their history."""

import pytest

from labeling.errors import StoreError
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.store import Project, Store


def test_names_count_up_from_the_root(store: Store) -> None:
    assert store.models.next_name("starter-1") == "starter-1.1"
    store.models.add("starter-1.1", "/m/1", "starter")
    store.models.add("starter-1.9", "/m/9", "starter")
    assert store.models.next_name("starter-1") == "starter-1.10"
    assert store.models.next_name("starter-1.9") == "starter-1.10"
    assert store.models.next_name("ARGenSeg-8B") == "ARGenSeg-8B.1"


def test_the_name_of_what_a_run_is_to_make_is_taken(store: Store) -> None:
    run = store.finetunes.request("one", None)
    assert run is not None
    store.finetunes.begin(run.id, "starter-1.1", "starter")
    assert store.models.next_name("starter-1") == "starter-1.2"
    store.finetunes.end(run.id, "failed")
    assert store.models.next_name("starter-1") == "starter-1.1"


def test_a_version_is_added_once(store: Store, project: Project) -> None:
    first = store.models.add("starter-1.1", "/m/1", "starter", project)
    assert (first.state, first.project, first.parent) == ("candidate", project, "starter")
    assert store.models.add("starter-1.1", "/m/1", "starter", project) == first
    with pytest.raises(StoreError, match="already"):
        store.models.add("starter-1.1", "/m/other", "starter")
    store.models.judge("starter-1.1", "refused", {"reasons": ["worse"]})
    assert store.models.get("starter-1.1").report == {"reasons": ["worse"]}
    assert [version.name for version in store.models.all()] == ["starter-1.1"]
    with pytest.raises(StoreError, match="no model version 'nobody'"):
        store.models.get("nobody")


def test_active_versions_by_project_with_a_default_and_rollback(store: Store, project: Project) -> None:
    for name in ("a", "b", "c"):
        store.models.add(name, f"/m/{name}", "starter")
    assert store.models.active(project) is None

    assert store.models.set_active("a") is None
    assert store.models.active(project).name == store.models.active().name == "a"
    assert store.models.set_active("b", project).name == "a"
    store.models.set_active("b", project)  # again changes nothing: one rollback is enough
    store.models.set_active("c", project)
    assert (store.models.active(project).name, store.models.active().name) == ("c", "a")
    assert store.models.active_for("c") == ["project 1"]

    assert store.models.withdraw_active(project).name == "b"
    assert store.models.withdraw_active(project).name == "a"  # the default again
    with pytest.raises(StoreError, match="nothing was promoted"):
        store.models.withdraw_active(project)
    assert store.models.withdraw_active() is None
    assert store.models.active(project) is None


def test_what_was_active_is_remembered_by_scope(store: Store, project: Project) -> None:
    for name in ("a", "b"):
        store.models.add(name, f"/m/{name}", "starter")
    store.models.set_active("a", project)
    assert [
        store.models.was_active("a", project),
        store.models.was_active("a"),
        store.models.was_active("b", project),
    ] == [True, False, False]
    store.models.withdraw_active(project)
    store.models.set_active("b")
    assert [
        store.models.was_active("a", project),
        store.models.was_active("b"),
        store.models.was_active("b", project),
    ] == [True, True, False]


def test_a_project_can_go_back_to_the_model_of_the_settings(store: Store, project: Project) -> None:
    store.models.add("a", "/m/a", "starter")
    store.models.set_active("a")
    store.models.set_active(None, project)
    assert store.models.active(project) is None
    assert store.models.active().name == "a"


def test_what_a_deleted_version_was_to_predict_fails(store: Store, project: Project) -> None:
    store.models.add("a", "/m/a", "starter")
    plan = plan_prompts(parse_label_config(project.label_config), {})
    rows = {
        version: store.requests.add(project, 1, {"image": "x"}, plan, version, delivery="push").id
        for version in ("a · 123456", "a.1 · 123456")
    }
    store.models.delete("a")
    failed = store.predictions.get(rows["a · 123456"])
    assert failed.status == "failed" and "weights of a were deleted" in failed.error
    assert store.predictions.get(rows["a.1 · 123456"]).status == "requested"
    assert store.models.find("a") is None and store.models.find("a", with_deleted=True).folder == "/m/a"


def test_an_active_version_is_not_deleted(store: Store, project: Project) -> None:
    for name in ("a", "b"):
        store.models.add(name, f"/m/{name}", "starter")
        store.models.set_active(name, project)
    with pytest.raises(StoreError, match="project 1"):
        store.models.delete("b")
    store.models.delete("a")
    assert store.models.find("a") is None
    assert store.models.get("a").state == "deleted"
    with pytest.raises(StoreError, match="deleted"):
        store.models.set_active("a")
    with pytest.raises(StoreError, match="deleted"):  # a run that was postponed comes back to its candidate
        store.models.add("a", "/m/a", "starter")
    with pytest.raises(StoreError, match="deleted"):
        store.models.judge("a", "accepted")
    assert store.models.get("a").state == "deleted"
    assert store.models.withdraw_active(project) is None  # rollback skips what has no weights any more
