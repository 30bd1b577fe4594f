"""What runs a workflow: the one loop, and the inline engine."""
