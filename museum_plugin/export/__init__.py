"""Publishing a museum: for each client the keys, side-cars and texts that it understands, in a folder of its own.

targets.py   what is written for which client
tensors.py   a slot as each client finds it: bundled, as a patch on the embedding table, as a side-car
room.py      a chosen set of styles as a museum of its own
cards.py     NAME.json and NAME.txt: how to prompt
preview.py   the newest picture grid of a museum
outline.py   names, shapes and strings of a LoRA file, without its numbers
clients.py   one rule a client: does it load such a file, and do the triggers work
folder.py    a folder that is written whole or not at all
publish.py   all of it together
"""
