"""The laws of a `JobStore`."""

from musproj.testing.laws.accounts import AccountLaws
from musproj.testing.laws.endings import CancelLaws, CancelRaceLaws, ReleaseLaws
from musproj.testing.laws.job_reads import ChangeFeedLaws, HistoryLaws, JobBackendLaws, JobReadLaws
from musproj.testing.laws.publishing import CommitLaws, NumberLaws, ReserveLaws
from musproj.testing.laws.remotes import RemoteLaws
from musproj.testing.laws.runs import BeatLaws, BeginLaws, LimitLaws, TakeOverLaws
from musproj.testing.laws.submit import IdempotencyLaws, SubmitLaws, TwinLaws
from musproj.testing.laws.timers import AbilityLaws, ExpiryLaws, LeaseTimerLaws


class JobStoreContract(
    SubmitLaws,
    IdempotencyLaws,
    TwinLaws,
    BeginLaws,
    TakeOverLaws,
    LimitLaws,
    BeatLaws,
    ReserveLaws,
    CommitLaws,
    NumberLaws,
    ReleaseLaws,
    CancelLaws,
    CancelRaceLaws,
    LeaseTimerLaws,
    ExpiryLaws,
    AbilityLaws,
    JobReadLaws,
    ChangeFeedLaws,
    HistoryLaws,
    JobBackendLaws,
    RemoteLaws,
    AccountLaws,
):
    """Override `open_ledger`; `race_rounds` where the adapter is fast."""
