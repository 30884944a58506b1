"""What Ray hands to a trial beside its parameters."""

from __future__ import annotations

# Keys of what Ray hands to a trial beside its parameters.
NUMBER = "trial.number"


ORIGIN = "trial.origin"  # the first attempt at this configuration; its seed follows from it


EARLIER = "trial.earlier"  # attempts that were cut short, the latest first


PROTECTED = "trial.protected"  # never stopped by the scheduler


DONOR = "trial.donor"  # configuration and epoch whose weights a clone starts from; else None


SPENT = "trial.spent"  # seconds that it took before it let others go first


METADATA_KEYS = (NUMBER, ORIGIN, EARLIER, PROTECTED, DONOR, SPENT)
