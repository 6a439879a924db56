"""Did the old styles survive? The answer in numbers and in pictures, with nothing but the base's own VAE latents.

signature.py       statistics of latents, the distance of two of them, the score of a style
retention.py       the same prompts and seeds through base and museum -> a verdict on every style
prediction_drift.py  how far predictions have moved on fixed (latent, t, prompt) triples
confusion.py       as which style each trigger's pictures are seen
memorization.py    how near drawn pictures come to training pictures
findings.py        all of these of one museum, against the museum before
matrix.py          the retention matrix, average forgetting, backward transfer
lettering.py       text in pictures: the font, wrapping, colours
grid.py            drawn pictures side by side
matrix_picture.py  the retention matrix as a heat map and as JSON
"""
