"""The live view: a page on loopback that follows the runs of a store and answers SQL. It only reads."""

from catalog.serve.live_state import RunProgress, StepProgress

__all__ = ["RunProgress", "StepProgress"]
