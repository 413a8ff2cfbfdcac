"""Imports that most jobs share; the server that workers are forked from loads them once for all of them."""

import torch._dynamo  # noqa: F401  every optimizer imports it at its first step
