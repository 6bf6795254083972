"""The live view: a page on loopback that follows the runs of a store and answers SQL. It only reads."""
