"""Everything a run is told, typed and checked at birth.

schema.py        the frozen dataclasses: one RunConfig holds all
checks.py        the messages: nearest known name, what was found, what is allowed
flags.py         one table: flag name -> field of the schema, type, help
arguments.py     the only file that sees argparse: flags and --config_file -> RunConfig
dataset_toml.py  sd-scripts' dataset file -> StyleData in order
"""
