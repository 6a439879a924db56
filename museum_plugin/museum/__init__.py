"""The museum: the shared LoRA, the slots and the ledger; in memory and as one file.

lora.py      low-rank layers on the frozen base
shape.py     which modules get a layer, and how wide it is
block_weights.py  learning rates that differ from block to block
dropout.py   what a layer leaves out in a training step
norms.py     keeping each layer's weight change small
lora_reading.py  other LoRA files, of whatever spelling
lora_names.py    their tensors' names; strings only
lora_file.py  other LoRA files: taken as a start, or merged into the base
importing.py  another program's LoRA as the first content of a museum
resize.py    another rank for the shared LoRA
compact.py   which rank each layer needs
fullness.py  how much of the rank is in use
latest_scores.py  what styles score now, where no lesson was the last change
growth.py    a rank block for a style that is about to be learned
removal.py   a style leaves the museum
slots.py     learned token embeddings, one slot a style
triggers.py  which words may open a slot, and in which order a museum takes them
new_id.py    the id of a museum that begins
museum.py    both together: attach, disable
store.py     Museum <-> MuseumContent: what is checked before a file may be trained on
keys.py      module path <-> kohya key; strings only
ledger.py    the ordered record of styles
ledger_json.py    how it stands in a file: fields, types, versions
file.py      the one safetensors file: whole or not at all
history.py   earlier versions, and the way back to them
training_strings.py  how the newest style was taught, for the header
metadata.py  the strings that WebUIs read
"""
