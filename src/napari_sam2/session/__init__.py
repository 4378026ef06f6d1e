"""What the user has done: objects, their prompts and their results."""
