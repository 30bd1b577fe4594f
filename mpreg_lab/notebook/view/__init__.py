"""From the record of a run to what is drawn: pure, tested without a browser."""
