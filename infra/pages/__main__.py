"""Write the generated pages of the documentation: `python -m infra.pages`."""

from infra.pages.site import write_pages

for path in write_pages():
    print(path)  # noqa: T201 - this is a command line
