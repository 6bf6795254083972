"""Commands of capabilities: one module each. `ray_jobs.cli.command_table` names them; nothing imports them."""
