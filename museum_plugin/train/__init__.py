"""Training: one style after another.

loop.py         READ FIRST: the loop over styles and the loop over steps
start.py        what can fail is found before anything is trained
setup.py        everything a style needs before its first step
previous.py     what the terms are given of the museum as it was before
batch_order.py  which batch is learned when, over epochs, micro-steps and processes
reader.py       the next batches' pictures, opened in threads
inputs.py       what a step is given
step.py         one forward pass of the student, and its loss terms
noising.py      which noise a step adds, at which t
objective.py    the denoising loss that a run asks for
nonfinite.py    steps whose loss or gradient is not finite
validation.py   the loss of pictures that are never trained on
optimizer.py    optimisers by sd-scripts' names
schedule.py     learning-rate schedules by sd-scripts' names
parameter_groups.py  which parameters learn at which rate
calendar.py     how long a style takes, and what is due when
between.py      what is saved before a style has ended
checkpoint.py   the state of an unfinished style, for an exact resume
identity.py     what must be the same for a resume
resume.py       which state a style goes on from
finish.py       what happens after the last step: ledger, judge, pictures, file
published.py    the museum as WebUIs want it, at the end of a run
paths.py        where a run writes what
header.py       texts of the file's header, form of files for publishing
record.py       what the ledger remembers of a style
museum_file.py  the file that grows: its lock, and never over a stranger's changes
preview.py      pictures drawn while a style is being learned
guest.py        one style taught inside a loop that is not ours: bank, terms, record
guest_loop.py   the steps of such a loop: terms join its loss where it calls backward
processes.py    what several processes must agree on
stop.py         signals
log.py          the progress bar
logs.py         tensorboard and wandb
report.py       the last lines of a run
"""
