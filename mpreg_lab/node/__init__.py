"""One member of a cluster."""
