"""Text prompts: the grammar and class lists."""
