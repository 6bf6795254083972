"""Stage neurons: variants without the feed-forward neurons of a language."""
