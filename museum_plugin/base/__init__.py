"""The frozen base model: what it is, how it is loaded, and every forward pass through it.

family.py    facts of each model family
folder.py    what a diffusers folder tells without loading the networks
outline.py   the same of a folder or a checkpoint file
load.py      a diffusers folder or a checkpoint file -> BaseModel, with its fingerprint
light_import.py   diffusers without what it loads in vain
weight_file.py    tensors of a .safetensors or .ckpt file
layout.py    the original layout of checkpoints: family and sizes from names and shapes; configs/ has the rest
original_text.py  the text encoders in that layout
single_file.py    a checkpoint file -> the parts of a model
other_vae.py      --vae
clip_tokenizer.py    the tokenizers of a folder, and of a checkpoint, which brings none
text_encoders.py  the classes of text encoders, and whether they fit the U-Net
expectation.py    --v2 and --v_parameterization against what the base says
text_encoding.py  what changes the text states of a prompt
text_states.py    what a U-Net is told of prompts
emphasis.py  weights of words in a prompt
vae_memory.py     how many pictures a VAE gets at once, and tiles where not one fits
encode.py    prompts -> text states, pictures -> latents
schedule.py  the noise schedule, rescaled to end in pure noise
denoiser.py  add_noise, predict, predict_x0; the only place that runs the U-Net
sampler.py   prompts and seeds -> latents -> pictures
"""
