"""For people who test their own functions and workflows."""
