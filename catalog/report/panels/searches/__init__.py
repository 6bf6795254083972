"""Pictures of searches: their trials, their spaces, and English against the other languages."""
