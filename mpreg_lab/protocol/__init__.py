"""Messages between clients and nodes, and how they become frames. No I/O, no clock."""
