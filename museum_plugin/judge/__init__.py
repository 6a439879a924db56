"""Did the old styles survive? The answer in numbers and in pictures, with nothing but the base's own VAE latents.

signature.py       statistics of latents, the distance of two of them, the score of a style
retention.py       the same prompts and seeds through base and museum -> a verdict on every style
matrix.py          the retention matrix, average forgetting, backward transfer
lettering.py       text in pictures: the font, wrapping, colours
grid.py            drawn pictures side by side
matrix_picture.py  the retention matrix as a heat map and as JSON
"""
