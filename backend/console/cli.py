"""The command `argenseg`: one table of names. A command's code is imported when it is run, so `--help` is quick."""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import click

from backend.console.command_line import NOTHING_TO_DO, Refused
from labeling.errors import LabelingError, SettingsError, StoreMissing
from labeling.extras import require_extra
from worker.errors import NothingToDo, WorkerError

GROUPS = {
    "Start": "demo up doctor connect",
    "Label": "predict versions prompts",
    "Learn": "corrections stats finetune models",
    "The model alone": "segment evaluate init plan-memory",
    "Keep": "backup restore prune",
    "One process of up, for several machines": "backend worker publisher sweeper scheduler health",
}
"""How `argenseg --help` groups the commands: first what a newcomer needs."""


class Command(NamedTuple):
    """Where a command lives, what it does in one line, and the extra without which it does nothing."""

    target: str  # "module:click command"
    help: str
    extra: str | None = None


COMMANDS = {
    "segment": Command(
        "backend.console.segment:segment", "Segment images by text prompts; write masks and overlays.", "worker"
    ),
    "evaluate": Command(
        "backend.console.evaluate:evaluate", "Measure a model on annotated images: ours, COCO, RefCOCO.", "worker"
    ),
    "init": Command(
        "backend.console.init:init", "Start a new model out of an InternVL2.5 and a mask tokenizer.", "worker"
    ),
    "plan-memory": Command(
        "backend.console.plan_memory:plan_memory", "Tell what a GPU can do with a model, by arithmetic.", "worker"
    ),
    "demo": Command(
        "backend.console.demo.command:demo", "Start everything with Label Studio and a sample project.", "worker"
    ),
    "up": Command(
        "backend.console.up:up",
        "Start Redis, worker, publisher, sweeper, scheduler and backend on this machine.",
        "worker",
    ),
    "backend": Command("backend.console.backend:backend", "Serve the Label Studio ML backend (port 9090)."),
    "connect": Command("backend.console.connect:connect", "Connect projects of Label Studio to a backend that runs."),
    "predict": Command("backend.console.predict:predict", "Draw the masks of a whole Label Studio project."),
    "prompts": Command(
        "backend.console.prompts:prompts", "Compare wordings of a prompt on tasks that are annotated.", "worker"
    ),
    "versions": Command(
        "backend.console.versions:versions", "Choose the predictions that annotators see; remove old ones."
    ),
    "doctor": Command("backend.console.doctor:doctor", "Check every link, and say how to mend what is broken."),
    "corrections": Command(
        "backend.console.corrections:corrections", "List, export, exclude, delete or find corrections."
    ),
    "stats": Command("backend.console.stats:stats", "How predictions fared: accepted, edited, deleted, time saved."),
    "finetune": Command(
        "backend.console.finetune:finetune", "Teach the active model what was corrected; a gate decides."
    ),
    "models": Command(
        "backend.console.models:models", "The fine-tuned versions: list, show, promote, rollback, delete."
    ),
    "scheduler": Command("backend.console.scheduler:scheduler", "Fine-tune when it is time.", "worker"),
    "worker": Command("backend.console.worker:worker", "Compute wanted predictions with the model.", "worker"),
    "publisher": Command("backend.console.publisher:publisher", "Send predictions to Label Studio; store corrections."),
    "sweeper": Command("backend.console.sweeper:sweeper", "Find and queue again what got lost."),
    "health": Command("backend.console.health:health", "Is this host's process of a role at work? For containers."),
    "backup": Command("backend.console.backup:backup", "Write store, masks and models to one file, while all runs."),
    "prune": Command("backend.console.prune:prune", "Delete what was kept long enough: events, answers, caches."),
    "restore": Command("backend.console.restore:restore", "Restore a backup into an empty installation."),
}


class CommandTable(click.Group):
    """Its commands are imported by name, one at a time. An error that a person can mend is shown as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreMissing as error:
            raise Refused(f"{error} {_where_a_store_is()}") from error
        except SettingsError as error:
            raise Refused(str(error)) from error
        except NothingToDo as nothing:
            click.echo(str(nothing))
            ctx.exit(NOTHING_TO_DO)
        except (LabelingError, WorkerError) as error:
            raise click.ClickException(str(error)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        extra = COMMANDS[name].extra if name in COMMANDS else None
        if extra and "--help" not in rest:
            require_extra(extra, f"argenseg {name}")
        return name, command, rest

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), COMMANDS[cmd_name].target
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name].help) for name in names.split()])


def _where_a_store_is() -> str:
    from backend.operations.running import where_a_store_is

    return where_a_store_is()


def _installed_version() -> str:
    try:
        return version("argenseg-labeling")
    except PackageNotFoundError:
        return "(not installed: run from a checkout)"


@click.group(cls=CommandTable)
@click.version_option(_installed_version(), prog_name="argenseg")
def main() -> None:
    """A labeling assistant for Label Studio: ARGenSeg draws masks from text prompts, and every correction is kept.

    Example: argenseg segment cells.png --prompt "all nuclei" --out masks
    """


if __name__ == "__main__":
    main()
