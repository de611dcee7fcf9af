"""The records and their laws: pure values, no input or output."""
