"""Variants whose masks are composed from the levels of one stored ordering, without mask files of their own."""
