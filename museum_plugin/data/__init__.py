"""Pictures and captions in, batches and cached latents out.

images.py    find, open and measure pictures; pixels to tensors
captions.py  read captions, vary them, put the style's phrase in
metadata_file.py  captions and tags of many pictures in one file
sources.py   the pictures of a subset with their captions
resize.py    a picture in another size
buckets.py   which size a picture is trained at, and which part of it is kept
faces.py     crops around a face whose place stands in the file name
selection.py which pictures of the subsets are trained on
masks.py     which mask belongs to which picture, and masks in the size of latents
picture.py   one picture file, how it is shown to the model, and its mask
dataset.py   the pictures of one style, in batches that depend on (step, seed, style) only
inspection.py what a check tells of pictures and captions
cache.py     latents that are encoded once, kept in memory and on disk
"""
