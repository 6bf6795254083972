"""Commands of capabilities, a module or a folder each; only `ray_jobs.cli.command_table` names them."""
