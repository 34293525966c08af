"""Model versions, live versions and their history."""

import pytest

from labeling.errors import StoreError
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.store import Project, Store


def test_names_count_up_from_the_root(store: Store) -> None:
    assert store.next_model_name("starter-1") == "starter-1.1"
    store.add_model("starter-1.1", "/m/1", "starter")
    store.add_model("starter-1.9", "/m/9", "starter")
    assert store.next_model_name("starter-1") == "starter-1.10"
    assert store.next_model_name("starter-1.9") == "starter-1.10"
    assert store.next_model_name("ARGenSeg-8B") == "ARGenSeg-8B.1"


def test_the_name_of_what_a_run_is_to_make_is_taken(store: Store) -> None:
    run = store.want_finetune("one", None)
    assert run is not None
    store.begin_finetune(run.id, "starter-1.1", "starter")
    assert store.next_model_name("starter-1") == "starter-1.2"
    store.end_finetune(run.id, "failed")
    assert store.next_model_name("starter-1") == "starter-1.1"


def test_a_version_is_added_once(store: Store, project: Project) -> None:
    first = store.add_model("starter-1.1", "/m/1", "starter", project)
    assert (first.state, first.project, first.parent) == ("candidate", project, "starter")
    assert store.add_model("starter-1.1", "/m/1", "starter", project) == first
    with pytest.raises(StoreError, match="already"):
        store.add_model("starter-1.1", "/m/other", "starter")
    store.judge_model("starter-1.1", "refused", {"reasons": ["worse"]})
    assert store.get_model("starter-1.1").report == {"reasons": ["worse"]}
    assert [version.name for version in store.list_models()] == ["starter-1.1"]
    with pytest.raises(StoreError, match="no model version 'nobody'"):
        store.get_model("nobody")


def test_live_versions_by_project_with_a_default_and_rollback(store: Store, project: Project) -> None:
    for name in ("a", "b", "c"):
        store.add_model(name, f"/m/{name}", "starter")
    assert store.live_model(project) is None

    assert store.set_live_model("a") is None
    assert store.live_model(project).name == store.live_model().name == "a"
    assert store.set_live_model("b", project).name == "a"
    store.set_live_model("b", project)  # again changes nothing: one rollback is enough
    store.set_live_model("c", project)
    assert (store.live_model(project).name, store.live_model().name) == ("c", "a")
    assert store.live_projects("c") == ["project 1"]

    assert store.withdraw_live_model(project).name == "b"
    assert store.withdraw_live_model(project).name == "a"  # the default again
    with pytest.raises(StoreError, match="nothing was promoted"):
        store.withdraw_live_model(project)
    assert store.withdraw_live_model() is None
    assert store.live_model(project) is None


def test_what_was_live_is_remembered_by_scope(store: Store, project: Project) -> None:
    for name in ("a", "b"):
        store.add_model(name, f"/m/{name}", "starter")
    store.set_live_model("a", project)
    assert [store.was_live("a", project), store.was_live("a"), store.was_live("b", project)] == [True, False, False]
    store.withdraw_live_model(project)
    store.set_live_model("b")
    assert [store.was_live("a", project), store.was_live("b"), store.was_live("b", project)] == [True, True, False]


def test_a_project_can_go_back_to_the_model_of_the_settings(store: Store, project: Project) -> None:
    store.add_model("a", "/m/a", "starter")
    store.set_live_model("a")
    store.set_live_model(None, project)
    assert store.live_model(project) is None
    assert store.live_model().name == "a"


def test_what_a_deleted_version_was_to_predict_fails(store: Store, project: Project) -> None:
    store.add_model("a", "/m/a", "starter")
    plan = plan_prompts(parse_label_config(project.label_config), {})
    rows = {
        version: store.want_prediction(project, 1, {"image": "x"}, plan, version, delivery="push").id
        for version in ("a · 123456", "a.1 · 123456")
    }
    store.delete_model("a")
    failed = store.get_prediction(rows["a · 123456"])
    assert failed.status == "failed" and "weights of a were deleted" in failed.error
    assert store.get_prediction(rows["a.1 · 123456"]).status == "wanted"
    assert store.find_model("a") is None and store.find_model("a", with_deleted=True).folder == "/m/a"


def test_a_live_version_is_not_deleted(store: Store, project: Project) -> None:
    for name in ("a", "b"):
        store.add_model(name, f"/m/{name}", "starter")
        store.set_live_model(name, project)
    with pytest.raises(StoreError, match="project 1"):
        store.delete_model("b")
    store.delete_model("a")
    assert store.find_model("a") is None
    assert store.get_model("a").state == "deleted"
    with pytest.raises(StoreError, match="deleted"):
        store.set_live_model("a")
    with pytest.raises(StoreError, match="deleted"):  # a run that was put off comes back to its candidate
        store.add_model("a", "/m/a", "starter")
    with pytest.raises(StoreError, match="deleted"):
        store.judge_model("a", "accepted")
    assert store.get_model("a").state == "deleted"
    assert store.withdraw_live_model(project) is None  # rollback skips what has no weights any more
