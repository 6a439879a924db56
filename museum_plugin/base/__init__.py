"""The frozen base model: what it is, how it is loaded, and every forward pass through it.

family.py    facts of each model family
folder.py    what its folder tells without loading the networks
load.py      a diffusers folder -> BaseModel, with its fingerprint
text_encoding.py  what changes the text states of a prompt
emphasis.py  weights of words in a prompt
encode.py    prompts -> text states, pictures -> latents
schedule.py  the noise schedule, rescaled to end in pure noise
denoiser.py  add_noise, predict, predict_x0; the only place that runs the U-Net
sampler.py   prompts and seeds -> latents -> pictures
"""
