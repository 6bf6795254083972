"""Pictures of sensitivity: losses by unit and language, agreement of languages, and block influence."""
