"""Side-by-side timings, one command: `python -m benchmarks`.

=============  ========================================================================================
plain          what a straightforward eager fp32 script runs: the baselines
limits         what the machine could do at best: arithmetic at its GEMM rate, bytes at its copy rate
timing         contenders in processes of their own, run in turn; seconds, peak memory
cells          a row of a table of timings: who runs in it, how often, what the work is
stylization    a picture: ours, the same network in a plain script, Johnson's network
training       a step: the same three
startup        stylize.py from the shell
growth         memory that is held after many pictures or steps
quality        the same loss after the same steps
report         JSON, and RESULTS.md
=============  ========================================================================================
"""
