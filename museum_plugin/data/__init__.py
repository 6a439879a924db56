"""Pictures and captions in, batches and cached latents out.

images.py    find, open and measure pictures; pixels to tensors
captions.py  read captions, vary them, put the style's phrase in
buckets.py   which size a picture is trained at, and which part of it is kept
folders.py   what folders of pictures hold
dataset.py   the pictures of one style, in batches that depend on (step, seed, style) only
inspection.py what a check tells of pictures and captions
cache.py     latents that are encoded once, kept in memory and on disk
"""
