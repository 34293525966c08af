"""From a project's label config and a task to the text prompts that the model is asked."""
