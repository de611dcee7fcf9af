"""The ports filled in: one folder per technology, none of which knows another."""
