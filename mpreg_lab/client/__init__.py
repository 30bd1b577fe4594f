"""Speaking to a cluster: awaitable and blocking."""
