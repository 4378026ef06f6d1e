"""Everything at once: masks without prompts, on planes, through stacks and over time."""
