"""What the protocols of releases leak, in the words of their cards."""

from __future__ import annotations

NO_VALIDATION = "no validation part: what was chosen on the test clips is biased towards them"
