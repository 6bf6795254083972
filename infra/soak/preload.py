"""Imported once by the server that forks off commands, so that a killed command costs no imports."""

import gc

import mlprune.steps.evaluate.rescore
import mlprune.steps.export.export  # noqa: F401
import tests.forkserver_preload  # noqa: F401

gc.freeze()  # forked processes share the memory of these objects
