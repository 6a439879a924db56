"""Did the old styles survive? The answer in numbers and in pictures, with nothing but the base's own VAE latents.

signature.py       statistics of latents, the distance of two of them, the score of a style
retention.py       the same prompts and seeds through base and museum -> a verdict on every style
as_learned.py      what a style did right after it was learned, in few numbers, and what is left of it
prediction_drift.py  how far predictions have moved on fixed (latent, t, prompt) triples
confusion.py       as which style each trigger's pictures are seen
memorization.py    how near drawn pictures come to training pictures
backbone.py        networks that look at pictures: EfficientNet-lite0, CLIP
backbone_findings.py  what they find: style, its colors alone, content, diversity
findings.py        all of these of one museum, against the museum before
matrix.py          the retention matrix, average forgetting, backward transfer
lettering.py       text in pictures: the font, wrapping, colours
grid.py            drawn pictures side by side
matrix_picture.py  the retention matrix as a heat map and as JSON
page.py            all of it as one HTML file: its head, the verdict in words
page_content.py    what a page is made from
page_styles.py     sections: what was kept, retention matrix, trigger confusion, ledger
page_pictures.py   sections: the grid, nearest training pictures
page_curves.py     sections: scores and losses over time
page.css           how it looks, on paper, light and dark
charts.py          heat maps, curves and bars as SVG
loss_curves.py     the curves of losses out of a run's logs
"""
