"""Windows of neighbouring frames as a view of the features: what autoencoders read, without the copies."""

from __future__ import annotations

from torch import Tensor

from asdbench.errors import DataError


def frame_windows(features: Tensor, *, frames: int = 5) -> Tensor:
    """Return every window of ``frames`` neighbouring frames as a view; nothing is copied.

    Neighbouring windows share all but one frame, so copying all of them takes ``frames`` times the memory.
    Index the view by clip and position to gather a batch of rows ``[batch, frames * mels]``, the frames one
    after the other as the DCASE baselines arrange them: ``windows[clips, positions].flatten(1)``.

    Args:
        features: ``[clips, mels, T]``, of any memory layout.
        frames: Frames of one window.

    Returns:
        View ``[clips, T - frames + 1, frames, mels]``; window w of a clip holds its frames w..w + frames - 1.

    Raises:
        DataError: The features are not of that shape, or a clip has fewer than ``frames`` frames.
    """
    if features.ndim != 3:
        raise DataError(f"expected features of shape [clips, mels, frames], got {list(features.shape)}")
    if features.shape[2] < frames:
        raise DataError(
            f"a window takes {frames} frames but the clips have {features.shape[2]}: use longer clips"
        )
    return features.transpose(1, 2).unfold(1, frames, 1).transpose(2, 3)
