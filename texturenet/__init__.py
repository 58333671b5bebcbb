"""texturenet: feed-forward texture networks after Ulyanov et al. (arXiv 1603.03417, 1701.02096).

A small generator learns one texture from a frozen perceptual network over many photos; afterwards one
forward pass paints a photo of any size. `train.py` and `stylize.py` are the doors; these are the rooms:

=================  ==================================================================================
room               what it does
=================  ==================================================================================
config             every number of a training run, once, with unit and source; the flags derive from it
images             the only door between picture files and tensors
generators         Pyramid and Residual, the trained networks; `make_noise`
perceptual         frozen encoders with named layers: vgg19, vgg16, resnet18, squeezenet, lite
losses             gram, content, style, total variation; `PerceptualLoss(encoder)`
metrics            rmse, psnr, ssim, diversity
devices            where the networks run, and in what precision
monitor            what a run reports (events), and who listens: tqdm line, JSONL log
visdom_monitor     the listener behind `--viz`
visdom_server      installs visdom with its page, and starts it: `python -m texturenet.visdom_server`
data               a COCO root or any folder of pictures -> endless, repeatable batches
checkpoint         atomic save, safe load, a generator rebuilt from its file alone
presets            every number of an iterative run, and the sets of them that published reports used
gatys              the iterative method (Gatys et al. 2016): the pixels themselves are optimised
reference          the iterative method from files to files, with its trace: `stylize.py --method gatys`
stylizer           pictures through one generator
reports            rows that outlive an interruption, tables, titled contact sheets
judging            a checkpoint with its loss, rebuilt from its file
yardstick          the L-BFGS runs that styles are measured by, kept on the disk
matched            one pass against the reference: gap closed, matched iterations
grid               the ablation of the iterative method: what is varied, and each cell's recipe
ablation           the ablation of the iterative method: its runs, scores and tables
sweeps             sheets over noise, seeds, and short training runs
evaluate           the command line of all these: `python -m texturenet.evaluate matched|ablate|sweep|diversity`
job                a training run before its first step: inputs checked, choices made
trainer            the training loop
=================  ==================================================================================

Imports go down only; tests/test_architecture.py holds the table of doors.

Conventions
-----------
* An image is float32 RGB in [0, 1], shape (B, 3, H, W), everywhere. Normalisation lives inside the encoder.
* Noise is explicit and seeded: a list, finest scale first, (B, noise_channels, H/2^k, W/2^k), uniform [0, 1).
  Nothing draws hidden randomness: a result can be repeated, tiled and exported.
* Features are ``dict[layer name -> tensor (B, C, H, W)]``; names are the papers' (``relu4_2``), never indices.
* ``(h, w)`` in that order; ``*_size`` pixels, ``*_weight`` dimensionless, ``*_every`` steps.
* Bad input raises `ValueError` or `OSError` with one line that names the value and the way out; the doors
  print it and exit with 2.
"""
