"""Everything a run is told, typed and checked at birth.

schema/          the frozen dataclasses, one file a topic: one RunConfig holds all
problems.py      an error at once, or all of them
refusal.py       the messages: what was found, what is allowed, the nearest known name
convert.py       a value as the user wrote it -> a value of the right type
pairs.py         the same for pairs of name and value
network_arguments.py  sd-scripts' network_args, typed
learning.py      what several flags decide together: what is trained, and by which optimizer
read.py          the text files a user names
flags/           one table a topic: flag name -> field of the schema, type, help
style_names.py   which styles of a dataset file are taught, under which names and triggers
command_line.py  the only file that sees argparse: words -> values by flag name
given.py         what a user gave, in flags and config files, and where it stood
arguments.py     flags and --config_file -> RunConfig
dataset_toml.py  sd-scripts' dataset file -> StyleData in order
dataset_parts.py typed values -> datasets and subsets
folder_layout.py data flags without a dataset file -> StyleData
"""
