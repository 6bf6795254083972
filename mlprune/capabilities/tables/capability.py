"""Results elsewhere: tables for publications, and variants as runs of MLflow."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("tables")
