"""The recipe: the YAML file a user writes, as frozen typed models with plain values.

Relative paths start at the recipe's folder. Only `steps`, `capabilities`, `planning`, `demo` and `ray_jobs` import this
package.
"""
