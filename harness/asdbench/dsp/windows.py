"""Windows of neighbouring frames, the input of autoencoders, without a copy of every window of every clip."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asdbench.errors import DataError


class FrameWindows:
    """All windows of ``frames`` neighbouring frames of some clips, gathered on demand.

    Neighbouring windows share all but one frame, so copying all of them takes ``frames`` times the memory. Here the
    features are stored once, frame after frame; a window is then ``frames`` consecutive rows.
    """

    def __init__(self, features: Tensor, *, frames: int = 5) -> None:
        """Store the features frame after frame; copies them unless they are stored that way already.

        Args:
            features: ``[clips, mels, T]``.
            frames: Frames of one window.

        Raises:
            DataError: The features have another shape, or clips have fewer than ``frames`` frames.
        """
        if features.ndim != 3:
            raise DataError(f"expected features of shape [clips, mels, frames], got {list(features.shape)}")
        self.clips, self.mels, self._length = features.shape
        if self._length < frames:
            raise DataError(
                f"a window has {frames} frames but the clips have {self._length}: use longer clips"
            )
        self.frames = frames
        self.per_clip = self._length - frames + 1
        self._rows = features.transpose(1, 2).contiguous().view(-1, self.mels)  # [clips * T, mels]

    @classmethod
    def of_pieces(cls, pieces: Iterable[Tensor], *, clips: int, frames: int = 5) -> FrameWindows:
        """Store features ``[a few, mels, T]`` that arrive piece by piece, so that they are in memory only once.

        Args:
            pieces: The features of all clips, in order.
            clips: Number of clips, at least 1.
            frames: Frames of one window.

        Raises:
            DataError: The pieces hold another number of clips, or as in the constructor.
        """
        rows, filled = torch.empty(0, 0, 0), 0
        for piece in pieces:
            if (
                not filled and piece.ndim == 3
            ):  # the first piece gives type and shape; a wrong shape fails below
                rows = piece.new_empty(clips, piece.shape[2], piece.shape[1])
            rows[filled : filled + len(piece)] = piece.transpose(1, 2)
            filled += len(piece)
        if filled != clips:
            raise DataError(f"expected features of {clips} clips, got {filled}")
        return cls(rows.transpose(1, 2), frames=frames)

    def __len__(self) -> int:
        return self.clips * self.per_clip

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """Return windows ``[B, frames, mels]`` by their numbers ``[B]``, counted clip after clip."""
        # A clip has frames - 1 rows more than windows. Gathering whole rows is the fastest way that was tried.
        first = numbers + numbers // self.per_clip * (self.frames - 1)
        rows = first.unsqueeze(1) + torch.arange(self.frames, device=numbers.device)
        return self._rows.index_select(0, rows.flatten()).view(-1, self.frames, self.mels)

    def view(self) -> Tensor:
        """Return all windows as a view ``[clips, windows, frames, mels]``; nothing is copied."""
        # The stride of a window equals that of a frame: windows overlap in memory.
        by_clip = self._rows.view(self.clips, self._length, self.mels)
        return by_clip.unfold(1, self.frames, 1).transpose(2, 3)
