"""How a model learns: data, simulated prompts, losses and the loop."""
