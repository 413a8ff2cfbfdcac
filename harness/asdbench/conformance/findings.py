"""What a check found: a check returns what it saw, or raises ``Unmet`` with that and how to mend it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from asdbench.core.config import Config

Outcome = Literal["passed", "failed", "skipped"]
Kind = Literal["method", "dataset", "featurizer", "scorer"]
_log = logging.getLogger(__name__)


class Unmet(AssertionError):  # noqa: N818 - a finding, which pytest takes for a failed assertion
    """A promise of the contract is not kept."""

    def __init__(self, saw: str, *, mend: str) -> None:
        super().__init__(f"{saw}; {mend}")
        self.saw = saw
        self.mend = mend


class NotApplicable(Exception):  # noqa: N818 - no error: the check has nothing to look at
    """A check cannot say anything about this plugin; the message says why."""


class Finding(Config, frozen=True, kw_only=True):
    """What one check found."""

    check: str
    outcome: Outcome
    saw: str
    """What the check saw; of a skipped one, why."""
    mend: str = ""
    """How to mend it; empty: nothing to mend."""


class Report(Config, frozen=True, kw_only=True):
    """What all checks of one plugin's method, dataset, featurizer or scorer found."""

    kind: Kind
    name: str
    plugin: str
    distribution: str
    version: str
    api: str
    """Version of the plugin API that it was checked against."""
    dataset: str
    """Where a method's shapes and options come from; empty: no method."""
    isolated: str
    """How its process was kept from everything else: ``landlock`` or ``audit``."""
    findings: list[Finding]
    seconds: float
    """Of all checks together."""
    fit_seconds: float | None
    """Of the longest training; None: nothing was trained."""
    ms_per_item: float | None
    """To score a test item; None: nothing was scored."""
    peak_memory_bytes: int
    """Largest memory of the process, Python and its libraries included."""

    @property
    def failed(self) -> list[str]:
        """Return the names of the checks that failed."""
        return [finding.check for finding in self.findings if finding.outcome == "failed"]


class Checklist:
    """Runs checks one after another; one that fails stops none of the others, unless they need what it checked."""

    def __init__(self, refused: Callable[[BaseException], bool] = lambda error: False) -> None:
        """Start an empty list.

        Args:
            refused: Whether an error is that of an access that the isolation refused, which has a check of its own.
        """
        self.findings: list[Finding] = []
        self._refused = refused

    def run(self, name: str, check: Callable[[], str], *, needs: tuple[str, ...] = ()) -> None:
        """Run a check.

        Args:
            name: Of the check.
            check: Returns what it saw.
            needs: Checks that must have passed, or been inapplicable; otherwise this one says nothing new.
        """
        lacking = [one for one in needs if one not in self._met()]
        if lacking:
            self._add(name, "skipped", saw=f"not checked, because of {lacking[0]!r}")
            return
        _log.info("checking: %s", name)
        try:
            self._add(name, "passed", saw=check())
        except Unmet as unmet:
            self._add(name, "failed", saw=unmet.saw, mend=unmet.mend)
        except NotApplicable as reason:
            self._add(name, "skipped", saw=str(reason))
        # The border to a plugin: whatever it raises, even SystemExit, is a finding about it.
        except BaseException as error:  # noqa: BLE001
            self._raised(name, error)

    def _met(self) -> set[str]:
        blocked = "not checked, because of "
        return {
            one.check
            for one in self.findings
            if one.outcome != "failed" and not one.saw.startswith((blocked, "stopped"))
        }

    def _raised(self, name: str, error: BaseException) -> None:
        if self._refused(error):
            self._add(name, "skipped", saw=f"stopped by a refused access: {error}")
            return
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        self._add(
            name, "failed", saw=f"{type(error).__name__}: {error}{place}", mend="mend what raises this error"
        )

    def _add(self, name: str, outcome: Outcome, *, saw: str, mend: str = "") -> None:
        self.findings.append(Finding(check=name, outcome=outcome, saw=saw, mend=mend))
