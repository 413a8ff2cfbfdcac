"""Everything that crosses a process boundary. Imports no torch, so that planning starts fast."""
