"""The built-in processors, and the block reader and writer that anybody's processor may use.

Nothing here is imported before it is chosen: numpy, soundfile, soxr and av load in the run path only, so
that every specification can be listed without them.
"""
