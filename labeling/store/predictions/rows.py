"""What the parts about predictions share: rows by id, and rows as they are handed out."""

from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Update, and_, select, update
from sqlalchemy.orm import Session

from labeling.errors import StoreError
from labeling.prompts.plan import PromptPlan
from labeling.store.base import is_older
from labeling.store.database import Database
from labeling.store.predictions.records import Delivery, PredictionRequest, PredictionStatus
from labeling.store.predictions.tables import PredictionRow
from labeling.store.projects import Project, project_record


def get_row(session: Session, prediction_id: int) -> PredictionRow:
    """The row as it is now. StoreError if there is none of this id."""
    row = session.get(PredictionRow, prediction_id, populate_existing=True)
    if row is None:
        raise StoreError(f"There is no prediction {prediction_id} in the store. Was the database replaced?")
    return row


def rows_where(prediction_id: int, *statuses: str) -> Update:
    """An update of this row, if it has one of these statuses."""
    return update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status.in_(statuses))


def change_row(session: Session, change: Update) -> bool:
    """Run a conditional update of one row; whether its condition held."""
    result = session.execute(change, execution_options={"synchronize_session": False})
    return cast(CursorResult[Any], result).rowcount == 1


def unchanged_rows(
    database: Database, status: str, older_than_s: float, *, after: int = 0, limit: int | None = None
) -> list[int]:
    """Ids of rows that have had this status, unchanged, for longer than this: those larger than `after`, in order."""
    old = is_older(PredictionRow.updated_at, older_than_s)
    query = select(PredictionRow.id).where(PredictionRow.status == status, old, PredictionRow.id > after)
    with database.reading() as session:
        return list(session.scalars(query.order_by(PredictionRow.id).limit(limit)))


def of_version(project: Project, model_version: str) -> ColumnElement[bool]:
    """A project's predictions of a version; no typed prompts."""
    return and_(
        PredictionRow.project_row_id == project.id,
        PredictionRow.model_version == model_version,
        PredictionRow.interactive.is_(False),
    )


def prediction_request(row: PredictionRow) -> PredictionRequest:
    """A prediction's row as it is handed out."""
    return PredictionRequest(
        id=row.id,
        project=project_record(row.project),
        task_id=row.task_id,
        task_data=row.task_data,
        plan=PromptPlan.from_json(row.plan),
        model_version=row.model_version,
        delivery=cast(Delivery, row.delivery),
        interactive=row.interactive,
        status=cast(PredictionStatus, row.status),
        error=row.error,
        result=row.result,
        score=row.score,
        attempts=row.attempts,
        label_studio_prediction_id=row.label_studio_prediction_id,
    )
