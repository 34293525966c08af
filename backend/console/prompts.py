"""The command `argenseg prompts`."""

import click

from backend.console import command_line


@click.group()
def prompts() -> None:
    """Find the words that a label's prompt should have.

    Example: argenseg prompts try --project 3 --prompt "all nuclei" --prompt "cell nuclei; every cell"
    """


@prompts.command("try")
@click.option("--project", "number", type=int, required=True, help="Label Studio's project number.")
@click.option("--label", "label_name", help="The label that is meant, if the label config has several.")
@click.option("--prompt", "texts", multiple=True, help="A wording to try; several prompts in one: 'a; b'. Repeat it.")
@click.option("--tasks", "limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--model", help="A folder, a Hub id, or 'starter' (default: the project's active version).")
@click.option("--device", help="auto, cpu or cuda (DEVICE, default auto).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@command_line.label_studio_options
def try_prompts(
    number: int,
    label_name: str | None,
    texts: tuple[str, ...],
    limit: int,
    model: str | None,
    device: str | None,
    as_json: bool,
    label_studio_url: str | None,
    api_key: str | None,
) -> None:
    """Compare wordings on tasks that are annotated already; nothing is sent to Label Studio.

    Where a GPU worker lives it does it, between what annotators wait for, and the page Prompts shows it with pictures;
    elsewhere, or with --model or --device, the model is loaded here.

    The label's prompt of now is tried too. The label's options and exclude count. IoU is of the label's whole mask,
    with a 95 % interval; F1 of its objects, at IoU 0.5; false positives are tasks without the label in which something
    was found. Every prompt of a wording is a question to the model, and so is what the label excludes.

    Example: argenseg prompts try --project 3 --label nucleus --prompt "every nucleus" --prompt "all cells"
    """
    from backend.console.prompt_trial import try_by_worker, try_in_project

    settings = command_line.start(
        log_level="WARNING", label_studio_url=label_studio_url, api_key=api_key, device=device
    )
    is_ours = model is not None or device is not None  # a worker has its own
    if is_ours or not try_by_worker(settings, number, label_name, texts, limit, as_json=as_json):
        try_in_project(settings, number, label_name, texts, limit, model=model, as_json=as_json)


@prompts.command("names")
@click.option("--project", "number", type=int, help="Those of this project's active version.")
@click.option("--model", help="A folder, or 'starter' (default: the active version).")
def show_names(number: int | None, model: str | None) -> None:
    """The names that a model was taught, how else they may be said, and the words that may stand beside them.

    Example: argenseg prompts names --project 3
    """
    from labeling.prompts.known import known_names
    from worker.projects.active_model import active_model_of

    settings = command_line.start(log_level="WARNING")
    model = model or active_model_of(settings, number)
    known = known_names(settings, model)
    if not known.names:
        click.echo(f"{model} keeps no list of what it was taught: any words may be asked.")
        return
    rows = [(name, ", ".join(dict.fromkeys(forms))) for name, forms in known.names.items()]
    command_line.print_table(("name", "asked as"), rows)
    click.echo(f"Words that may stand beside them: {', '.join(sorted(known.words))}.")
