"""What a plan says to people: its jobs, its warnings, its questions, and what its jobs need."""
