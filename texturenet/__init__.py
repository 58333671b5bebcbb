"""texturenet: feed-forward texture networks after Ulyanov et al. (arXiv 1603.03417, 1701.02096).

A small generator learns one texture from a frozen perceptual network over many photos; afterwards one
forward pass paints a photo of any size. `train.py` and `stylize.py` are the doors; these are the rooms:

=================  ==================================================================================
room               what it does
=================  ==================================================================================
config             every number of a training run, once, with unit and source; the flags derive from it
program            how every program of ours ends: in an error, in Ctrl-C
files              picture files on a disk: found, and written whole
codec              Pillow's decoders and encoders made safe: formats, limits, one line for what goes wrong
pixels             any mode and profile -> 8-bit sRGB with alpha apart, and back
images             the only door between picture files and tensors
pictures           a file's frames, alpha, EXIF and profile, kept and written back
noise              of which shape the noise is, and its values, without torch
convolutions       convolutions whose gradients are fast on older CPUs too
generators         Pyramid and Residual, the trained networks; `make_noise`
torchfile          files of torch.save from anyone, read as data
colors             luma, and a picture in another's palette
winograd           3x3 convolutions of frozen weights by a quarter of the multiplications
perceptual         frozen encoders with named layers: vgg19, vgg16, resnet18, squeezenet, lite
losses             gram, content, style, total variation; `PerceptualLoss(encoder)`
metrics            rmse, psnr, ssim, diversity, flicker
artefacts          grids, borders, colour veils and clipping, as numbers
devices            where the networks run, and in what precision
monitor            what a run reports (events), and who listens: tqdm line, JSONL log
curves             loss curves as a piece of HTML
report_page        a past run as one HTML file: `python -m texturenet.monitor runs/NAME`
visdom_monitor     the listener behind `--viz`
visdom_server      installs visdom with its page, and starts it: `python -m texturenet.visdom_server`
data               a COCO root or any folder of pictures -> endless, repeatable batches
checkpoint         atomic save, safe load, a generator rebuilt from its file alone
presets            every number of an iterative run, and the sets of them that published reports used
lbfgs              L-BFGS within bounds, for the pixels of a picture
gatys              the iterative method (Gatys et al. 2016): the pixels themselves are optimised
reference          the iterative method from files to files, with its trace: `stylize.py --method gatys`
look               what a user can ask of a trained style: strength, colours, strokes, masks, sheets
blending           those controls around a pass, as functions on pictures
onnx_style         a style as an ONNX file, with numpy and onnxruntime alone
rows               maps of a network of which any rows can be had
pages              memory of maps, from picture to picture
tiles              a picture too large for the memory, painted in strips, without seams
stylizer           pictures through one generator
styles             the styles that ship, by name
segments           masks out of a COCO annotation file
painting           trained styles from files to files: `stylize.py --model`
export             a checkpoint as an ONNX file, checked: `python -m texturenet.export`
convert            weights of pytorch/examples as a checkpoint: `python -m texturenet.convert`
norms              instance norm with statistics that somebody else chose
steady             what keeps a painted clip still: statistics that follow it slowly
clips              video files to frames
joining            frames to video files: segments, joined with the sound
ahead              the next item made by a thread while the last is used
video              clips through a style, to the end or to where the next run goes on
doctor             what is there, what is missing, what mends it: `python -m texturenet.doctor`
folders            many files: where each result goes, and a run that goes past a bad one
reports            rows that outlive an interruption, tables, titled contact sheets
refining           a few iterations of the reference on a painting: `stylize.py --refine`
judging            a checkpoint with its loss, rebuilt from its file
yardstick          the L-BFGS runs that styles are measured by, kept on the disk
matched            one pass against the reference: gap closed, matched iterations
synthesis          textures against those of the reference
learning           the gap to the reference while a style is trained
grid               the ablation of the iterative method: what is varied, and each cell's recipe
ablation           the ablation of the iterative method: its runs, scores and tables
sweeps             sheets over noise, seeds, and short training runs
evaluate           the command line of all these: `python -m texturenet.evaluate matched|curve|synthesis|...`
labelled           pictures with classes -> repeatable batches
classifier         what `lite` is taken from: batch norm folded, activations made 1
adversarial        pictures on which it errs, to train it with
pretrainer         the training loop of the classifier
pretrain           the command line of these: `python -m texturenet.pretrain`
processes          several processes that train one style, as torchrun starts them
supply             photos for the loop, past a disk that is away and readers that are killed
job                a training run before its first step: inputs checked, choices made
crops              how large the crops of each training step are
objective          what a training step minimises: the loss, over a range of noise; diversity, stability
muon               steps for the weights of convolutions that count every direction alike
learner            one step of the optimizer, and all that such a step changes
auditions          which style a new one begins with
keeper             the checkpoints of a run: the latest, the ones before, the best
recovery           past a loss that is not finite, and to the end past a signal
trainer            the training loop
gui                the web page, rooms of its own: `python -m texturenet.gui`
=================  ==================================================================================

Imports go down only; tests/test_architecture.py holds the table of doors.

Conventions
-----------
* An image is float32 RGB in [0, 1], shape (B, 3, H, W), everywhere. Normalisation lives inside the encoder.
* Noise is explicit and seeded: a list, finest scale first, (B, noise_channels, H/2^k, W/2^k), uniform [0, 1).
  Nothing draws hidden randomness: a result can be repeated, tiled and exported.
* Features are ``dict[layer name -> tensor (B, C, H, W)]``; names are the papers' (``relu4_2``), never indices.
* ``(h, w)`` in that order; ``*_size`` pixels, ``*_weight`` dimensionless, ``*_every`` steps.
* Bad input raises `ValueError` or `OSError` with one line that names the value and the way out; `program.run`
  prints it and ends with 2.

From Python
-----------
>>> from PIL import Image
>>> from texturenet import Stylizer
>>> mosaic = Stylizer("mosaic")             # or a path: a checkpoint, an ONNX file
>>> photo = Image.new("RGB", (64, 48), "steelblue")
>>> painting = mosaic(photo, seed=3)
>>> painting.size
(64, 48)
>>> painting == mosaic(photo, seed=3), painting == mosaic(photo, seed=4)
(True, False)

One `Stylizer` may be shared by threads.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from texturenet.stylizer import Stylizer

__all__ = ["Stylizer"]


def __getattr__(name: str) -> Any:
    """`Stylizer`, once it is asked for: the package itself imports without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from texturenet.stylizer import Stylizer

    return Stylizer
