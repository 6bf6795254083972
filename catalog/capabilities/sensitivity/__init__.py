"""Sensitivity: tables, queries and figures of the losses of single parts."""
