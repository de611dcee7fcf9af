"""Auphonic and LALAL.AI v1 on this machine, with every fault that matters.

    with FakeServices(poll_ticks=2) as fakes:
        fakes.fault(path="start", kind="process_then_reset")
        ...                                  # a client of fakes.auphonic_url or fakes.lalal_url, with the key "k"
        assert len(fakes.state()["bills"]) == 1

The same for other processes, by `python -m musproj.testing.fakes --port N`:

    POST /_fake/reset {option: value}        forget everything, set the options (see `Options`)
    POST /_fake/faults [{kind, path?, call?, times?, …}]
    POST /_fake/script {"outcomes": [{"statuses": […], "error": {…}?, "without": [label]?}]}
    POST /_fake/advance {"seconds": n}       move the clock
    POST /_fake/finish {"id": …, "status"?}  end a production or a task at once
    GET  /_fake/state                        bills, calls, deleted, live, running, leaks, webhooks, forbidden

Faults: status (code, retry_after, body), reset, reset_mid_upload (after_bytes), process_then_reset, slow (seconds),
drip (bytes, interval), truncate (at), truncate_silent (at), html, garbage, early_response (code); of results
wrong_size, bad_audio, flip (offset), gzip_bomb, evil_redirect (location); of the next webhook no_webhook,
duplicate_webhook, late_webhook (seconds). The first that matches an exchange happens. Those of results wait for
an exchange that has a result; one of them may come on top.

What they are modelled on: docs of both vendors and captured answers. Audio is WAV, made as it is sent.
"""

from musproj.testing.fakes.audio import Media, Tone, media_of, parse, wav
from musproj.testing.fakes.faults import KINDS, Fault
from musproj.testing.fakes.options import Options
from musproj.testing.fakes.server import FakeServices
from musproj.testing.fakes.world import Bill, Call

__all__ = ["KINDS", "Bill", "Call", "FakeServices", "Fault", "Media", "Options", "Tone", "media_of", "parse", "wav"]
