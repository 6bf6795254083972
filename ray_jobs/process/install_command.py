"""How an optional extra of this package is installed."""


def install_command(extra: str) -> str:
    """Return how to install an optional extra of this package, which is on no package index."""
    return f"pip install -e '.[{extra}]' in the checkout, or pip install 'PATH_OF_THE_WHEEL[{extra}]'"
