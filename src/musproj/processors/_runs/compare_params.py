"""The parameters of `compare`, which its declaration and its run share."""

import attrs

from musproj.processors._runs.fields import InputParams, flag


@attrs.frozen(kw_only=True)
class CompareParams(InputParams):
    """What to even out before the subtraction."""

    align: bool = flag("Find by how much `other` is late, within ±1 s, and undo it.", default=True)
    match_gain: bool = flag("Scale `other` so that the least is left.")
    dual_mono: bool = flag("Count a mono file twice, as played on two loudspeakers (+3.01 LU).")
