"""Sessions over the one master of the system's ssh."""
