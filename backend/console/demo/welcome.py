"""What the demo says when the first mask is there, and the browser that it opens."""

import os
import sys
import webbrowser

from rich.console import Console

from backend.console.demo.label_studio import PASSWORD, USER, LabelStudioServer
from backend.console.demo.sample_project import SampleProject
from labeling.settings import Settings


def welcome(server: LabelStudioServer, project: SampleProject, settings: Settings) -> str:
    """Ten lines at most, in rich's markup: where to look, how to log in, what to try."""
    return (
        f"\n  [bold]{server.url}/projects/{project.id}/data[/bold]\n"
        f"  user [bold]{USER}[/bold]   password [bold]{PASSWORD}[/bold]\n\n"
        "Open a task: its nuclei are masked, each a region. Choose one; paint, erase or delete it; press Submit.\n"
        "Or type above the image what to segment (Auto-Annotation on), press Add, accept what is suggested.\n"
        f"What is under way: {settings.local_backend_url}/status   What to try next: docs/quickstart.md\n"
        "Ctrl-C stops everything and keeps your work.\n"
    )


def open_browser(url: str, console: Console) -> bool:
    """Open the page in the person's browser; False where no person sits, or there is no browser that has a window."""
    has_window = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return bool(console.is_terminal and has_window and webbrowser.open(url))
