"""The built-in processors, and the block reader and writer that anybody's processor may use.

One module declares each processor; `_runs` holds what it does when it runs, `_dsp` the signal processing under
that, `_formats` the containers and codecs under `blocks` and `probe`.

Nothing here is imported before it is chosen: numpy, soundfile, soxr and av load in the run path only, so
that every specification can be listed without them.
"""
