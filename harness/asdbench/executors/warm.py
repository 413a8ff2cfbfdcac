"""What most jobs import besides the harness: the server that workers are forked from imports it once for all of them."""

import librosa.filters  # noqa: F401  with scipy.signal behind it: mel filters
import torch._dynamo  # noqa: F401  every optimizer loads it at its first step
