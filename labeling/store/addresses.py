"""Label Studio may move to another address: what was collected of its projects goes with it."""

from sqlalchemy import select, update

from labeling.credentials import hide_passwords
from labeling.errors import StoreError
from labeling.store.correction_tables import DataSetRow, EventRow
from labeling.store.database import Database
from labeling.store.predictions import project_record
from labeling.store.records import Project
from labeling.store.tables import ProjectRow


class AddressStore:
    """The part of `Store` that is about where Label Studio is."""

    _database: Database

    def move_projects(self, before: str, now: str) -> list[Project]:
        """Let all projects of one address belong to another, and return them: their numbers stay.

        StoreError, and nothing is moved, if there are none, or the other address has a project of the same number.
        """
        before, now = before.rstrip("/"), now.rstrip("/")
        with self._database.writing() as session:
            rows = list(session.scalars(select(ProjectRow).order_by(ProjectRow.project_id)))
            moving = [row for row in rows if row.label_studio_url == before]
            if not moving:
                raise StoreError(f"There is no project of {_shown([before])}. There are some of: {_addresses(rows)}.")
            taken = {row.project_id for row in rows if row.label_studio_url == now != before}
            if both := [str(row.project_id) for row in moving if row.project_id in taken]:
                numbers = ", ".join(both)
                aside = f"To keep the older, first move the newer aside, to an address such as {_shown([now])}/new."
                raise StoreError(f"{_shown([now])} has a project {numbers} too, and two are not joined. {aside}")
            for row in moving:
                row.label_studio_url = now
            # what an event told is found, and erased on request, by its address and the project's number
            session.execute(update(EventRow).where(EventRow.label_studio_url == before).values(label_studio_url=now))
            for made in session.scalars(select(DataSetRow)):
                options = made.lineage.get("options", {})
                if options.get("label_studio_url") == before:
                    made.lineage = made.lineage | {"options": options | {"label_studio_url": now}}
            session.flush()
            return [project_record(row) for row in moving]


def _addresses(rows: list[ProjectRow]) -> str:
    return _shown(sorted({row.label_studio_url for row in rows}) or ["none"])


def _shown(urls: list[str]) -> str:
    return ", ".join(hide_passwords(url) or "(no address)" for url in urls)
