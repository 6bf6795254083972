"""Imported once by the server that forks off the runs of tests: everything a run imports, and its environment."""

import gc

import pandas  # noqa: F401
import torch
import transformers.models.xglm.modeling_xglm  # noqa: F401

import ray_jobs.cli
import ray_jobs.driver.run_recipe
import ray_jobs.workers.in_process  # noqa: F401
from ray_jobs.process.environment import this_environment

if not torch.cuda.is_available():  # a forked process cannot use CUDA that its parent has initialised
    this_environment()
gc.freeze()  # forked processes share the memory of these objects
