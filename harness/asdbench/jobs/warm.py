"""Imports that most jobs share; the server that workers are forked from loads them once for all of them."""

import sklearn.neighbors  # noqa: F401  most scorers need it or what it imports
import torch._dynamo  # noqa: F401  every optimizer imports it at its first step
