"""Training: one style after another.

loop.py         READ FIRST: the loop over styles and the loop over steps
start.py        what can fail is found before anything is trained
setup.py        everything a style needs before its first step
step.py         one forward pass of the student, and its loss terms
nonfinite.py    steps whose loss or gradient is not finite
optimizer.py    optimisers and learning-rate schedules by sd-scripts' names
calendar.py     how long a style takes, and what is due when
between.py      what is saved before a style has ended
checkpoint.py   the state of an unfinished style, for an exact resume
identity.py     what must be the same for a resume
resume.py       which state a style goes on from
finish.py       what happens after the last step: ledger, judge, pictures, file
header.py       texts of the file's header, form of files for publishing
record.py       what the ledger remembers of a style
museum_file.py  the file that grows: its lock, and never over a stranger's changes
preview.py      pictures drawn while a style is being learned
processes.py    what several processes must agree on
stop.py         signals
log.py          the progress bar
report.py       the last lines of a run
"""
