"""The command `argenseg predict`."""

import click

from backend.console.command_line import label_studio_options
from backend.console.opened_project import opened_project, project_option


@click.command()
@project_option
@click.option("--only-unlabeled", is_flag=True, help="Leave out tasks that hold annotations.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many tasks.")
@click.option(
    "--pin", is_flag=True, help="When all are done, show annotators these predictions (argenseg versions pin)."
)
@click.option(
    "--resume", is_flag=True, help="Go on with the last run and its options, wherever it was broken off or cancelled."
)
@click.option("--again", is_flag=True, help="Delete what was drawn of the current version, and draw it anew.")
@click.option("--no-wait", is_flag=True, help="Queue the tasks and end; do not show the progress.")
@click.option("--dry-run", is_flag=True, help="Only tell how many tasks there are, and how long they would take.")
@click.option("--failed", "list_failed", is_flag=True, help="List the tasks that failed or are postponed, and why.")
@click.option("--retry-failed", is_flag=True, help="Try the tasks that failed again.")
@click.option("--cancel", is_flag=True, help="Take back what is queued for this project and not begun yet.")
@label_studio_options
def predict(
    number: int,
    only_unlabeled: bool,
    limit: int | None,
    pin: bool,
    resume: bool,
    again: bool,
    no_wait: bool,
    dry_run: bool,
    list_failed: bool,
    retry_failed: bool,
    cancel: bool,
    label_studio_url: str | None,
    api_key: str | None,
) -> None:
    """Draw the masks of a whole project: of every task that has none of the current prompts and weights.

    The work is in the queue: Ctrl-C, a closed terminal or a restart stop the showing only. The share of the tasks that
    BLIND_SHARE names gets no masks: give this command the value that the backend has. Do not draw again while
    somebody annotates: a page that shows a deleted prediction cannot be submitted before it is loaded again.

    Exit code 4: there was nothing to do.

    Example: argenseg predict --project 3 --only-unlabeled --pin
    """
    if sum((list_failed, retry_failed, cancel, dry_run, again)) > 1 or (resume and again):
        raise click.UsageError("--failed, --retry-failed, --cancel, --dry-run and --again exclude each other.")
    from backend.console import project_run
    from labeling.store import RunOptions

    with opened_project(number, label_studio_url, api_key) as (project, console):
        if list_failed:
            project_run.say_failures(project, console, shown_tasks=None)
            project_run.say_postponed(project, console)
        elif cancel:
            project_run.cancel(project, console)
        elif retry_failed:
            project_run.retry_failed(project, console, no_wait=no_wait)
        else:
            options = RunOptions(only_unlabeled, limit, pin)
            project_run.predict(project, console, options, resume=resume, no_wait=no_wait, dry_run=dry_run, again=again)
