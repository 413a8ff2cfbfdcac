"""What most jobs share; the server that workers are forked from loads and reads it once for all of them."""

import gc
import platform

import sklearn.neighbors  # noqa: F401  most scorers need it or what it imports
import torch._dynamo  # noqa: F401  every optimizer imports it at its first step

from asdbench.core.environment import software
from asdbench.detector.assembly import thread_pools
from asdbench.jobs.untouched import know_loaded

platform.platform()  # asks other programs, and keeps the answer
software()
thread_pools()  # when the libraries that have some are loaded
know_loaded()
# A collection in a worker would write to every object that it shares with the server, and so copy all of that memory.
gc.collect()
gc.freeze()
