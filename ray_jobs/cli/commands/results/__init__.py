"""Commands on results: query, report, figures, rescore and ranks."""
