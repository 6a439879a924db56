"""Training: one style after another.

loop.py        READ FIRST: the loop over styles and the loop over steps
start.py       what can fail is found before anything is trained
setup.py       everything a style needs before its first step
step.py        one forward pass of the student, and its loss terms
noising.py     which noise a step adds, at which t
objective.py   the denoising loss that a run asks for
reader.py      the next batches' pictures, opened in threads
validation.py  the loss of pictures that are never trained on
optimizer.py   optimisers by sd-scripts' names
schedule.py    learning-rate schedules by sd-scripts' names
parameter_groups.py  which parameters learn at which rate
checkpoint.py  the state of an unfinished style, for an exact resume
finish.py      what happens after the last step: ledger, judge, pictures, file
paths.py       where a run writes what
preview.py     pictures drawn while a style is being learned
processes.py   what several processes must agree on
log.py         the progress bar, signals
report.py      the last lines of a run
"""
