"""Imports of the server that forks off commands: done once, so that a killed command costs none."""

import gc

import mlprune.capabilities.publishing.export
import mlprune.steps.rescore.rescore  # noqa: F401
import tests.forkserver_preload  # noqa: F401

gc.freeze()  # forked processes share the memory of these objects
