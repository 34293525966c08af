"""Outcomes as columns say the same as annotations with their records."""

from datetime import UTC, datetime
from typing import Any

from labeling.store import Annotation, AskedPrompt, Correction, Exclusion, Project, Store

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def region(region_id: str, kind: Any = "edited") -> Correction:
    return Correction(region_id, "brushlabels", "red", kind, 0.25, 0.125, 192, prompt="red ball", score=0.75)


def save(store: Store, project: Project, *annotations: Annotation) -> None:
    event = store.events.record("ANNOTATION_CREATED", {"action": "ANNOTATION_CREATED"})
    store.annotations.save(event, project, annotations)


def test_outcomes_are_those_of_the_newest_submitted_state(store: Store, project: Project) -> None:
    asked = (AskedPrompt("red", "red ball"),)
    save(store, project, Annotation(7, 4, "submitted", asked=asked, at=NOON, corrections=(region("old"),)))
    save(
        store,
        project,
        Annotation(7, 4, "submitted", asked=asked, lead_time_s=3.0, corrections=(region("a"), region("b", "deleted"))),
    )
    save(store, project, Annotation(8, 5, "skipped"))
    other = store.projects.upsert("http://label-studio:8080", 2, "")
    save(store, other, Annotation(9, 4, "submitted", corrections=(region("c"),)))
    [found] = store.outcomes.of_projects([project])
    [record] = [each for each in store.annotations.find() if each.project == project and each.state == "submitted"]
    assert (found.task_id, found.lead_time_s, found.asked, found.at) == (4, 3.0, asked, record.at)
    assert [(each.kind, each.prompt, each.score, each.iou) for each in found.regions] == [
        ("edited", "red ball", 0.75, 0.25), ("deleted", "red ball", 0.75, 0.25)]  # fmt: skip
    assert len(store.outcomes.of_projects([project, other])) == 2 and store.outcomes.of_projects([]) == []


def test_outcomes_leave_out_what_is_excluded(store: Store, project: Project) -> None:
    save(store, project, Annotation(7, 4, "submitted", corrections=(region("a"), region("b"))))
    save(store, project, Annotation(8, 5, "submitted", annotator_id=3, corrections=(region("c"),)))
    store.exclusions.add(project, Exclusion("region", "7/b", "badly drawn"))
    store.exclusions.add(project, Exclusion("annotator", "3", "in training"))
    [found] = store.outcomes.of_projects([project])
    assert found.task_id == 4 and len(found.regions) == 1
