"""Python that loads an exported model without this package, for its card."""

from __future__ import annotations

from revo_ray.model.description import Description
from revo_ray.settings.limits import MAX_PIXELS

_READ = '''
SIZE, FIT, INTENSITY = {size}, {fit!r}, {intensity}
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270",
         "TRANSVERSE", "ROTATE_90")


def read(path):
    """The image in a file as the model sees it: (3, SIZE, SIZE) uint8, RGB."""
    image = Image.open(path)
    shape = (SIZE, SIZE)
    if FIT == "pad":
        shape = tuple(max(1, round(side * SIZE / max(image.size))) for side in image.size)
    reduced = image.draft(image.mode, (2 * shape[0], 2 * shape[1]))  # of a large JPEG
    image.load()
    width, height = reduced[1][2:] if reduced else image.size
    box = (0, 0, width, height)
    if FIT == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    turn = image.getexif().get(274, 1)
    if image.mode[0] in "IF":  # more than 8 bits
        deep, (low, high) = np.array(image, np.float32), INTENSITY
        small = np.asarray(Image.fromarray(deep).resize(shape, Image.Resampling.BICUBIC, box))
        small = (small.clip(deep.min(), deep.max()).astype(float) - low) * (255 / (high - low))
        image = Image.fromarray(np.rint(small).clip(0, 255).astype(np.uint8))
    else:
        if image.has_transparency_data:  # over white
            clear = image.convert("RGBA")
            image = Image.new("RGB", clear.size, "white")
            image.paste(clear, mask=clear.getchannel("A"))
        elif image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        image = image.resize(shape, Image.Resampling.BICUBIC, box)
    if 2 <= turn <= 8:
        image = image.transpose(Image.Transpose[TURNS[turn - 2]])
    square = Image.new("RGB", (SIZE, SIZE))
    square.paste(image.convert("RGB"), ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return np.asarray(square).transpose(2, 0, 1)

'''

_NORMALISED = """
MEAN = torch.tensor({mean}).view(3, 1, 1)
STD = torch.tensor({std}).view(3, 1, 1)
"""

_TIMM = """

def load(folder):
    return timm.create_model("local-dir:" + folder, pretrained=True).eval()

"""

_TORCHVISION = """

def load(folder):
    config = json.load(open(folder + "/config.json"))
    model = torchvision.models.get_model(
        config["architecture"], num_classes=config["num_classes"], **config["model_args"]
    )
    state = model.state_dict()
    state.update(safetensors.torch.load_file(folder + "/model.safetensors"))
    model.load_state_dict(state)
    return model.eval()

"""

_ONE = '''
labels = json.load(open({name!r} + "/config.json"))["label_names"]
model = load({name!r})


def predict(images):
    """Probabilities (N, C) of images (N, 3, SIZE, SIZE), uint8."""
    with torch.inference_mode():
        logits = model((torch.from_numpy(images) / 255 - MEAN) / STD)
    return logits.softmax(1).numpy()

'''

_SEVERAL = '''
config = json.load(open({name!r} + "/config.json"))
labels = config["label_names"]
shares = [member["share"] for member in config["members"]]
models = [load({name!r} + "/" + member["folder"]) for member in config["members"]]


def predict(images):
    """Probabilities (N, C) of images (N, 3, SIZE, SIZE), uint8: the mean of the members'."""
    with torch.inference_mode():
        normalised = (torch.from_numpy(images) / 255 - MEAN) / STD
        each = [s * m(normalised).softmax(1) for s, m in zip(shares, models)]
    return sum(each).numpy()

'''

_ONNX = '''
session = onnxruntime.InferenceSession({name!r})
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])


def predict(images):
    """Probabilities (N, C) of images (N, 3, SIZE, SIZE), uint8; the file normalises them."""
    logits = session.run(["logits"], {{"images": images}})[0]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)

'''

_PROGRAM = '''
extra = {{"labels": ""}}
model = torch.export.load({name!r}, extra_files=extra).module()
labels = json.loads(extra["labels"])


def predict(images):
    """Probabilities (N, C) of images (N, 3, SIZE, SIZE), uint8; the program normalises them."""
    with torch.inference_mode():
        return model(torch.from_numpy(images)).softmax(1).numpy()

'''

_USE = """
images = np.stack([read("image.png")])  # any number
probabilities = predict(images)
print(labels[probabilities[0].argmax()], probabilities[0].max())
"""

PILLOW = "pillow>=10.1"


def packages(description: Description, to: str) -> tuple[str, ...]:
    """Packages that the lines for a format need, as pip takes them."""
    runtimes = {
        "onnx": ("onnxruntime",),
        "torch-export": ("torch",),
        "safetensors": ("torch", description.library, "safetensors"),
    }
    return (*runtimes[to], "numpy", PILLOW)


def snippet(description: Description, to: str, name: str, members: int = 1) -> str:
    """Python that reads an image and labels it.

    Args:
        description: the model's input and output.
        to: `safetensors`, `onnx` or `torch-export`.
        name: file name of the exported folder or file.
        members: number of networks in a folder.
    """
    library = description.library
    values = {
        "name": name,
        "size": description.image_size,
        "fit": description.fit,
        "intensity": tuple(description.intensity or (0, 65535)),
        "mean": list(description.mean),
        "std": list(description.std),
    }
    parts: tuple[str, ...]
    if to == "onnx":
        imports, parts = ["numpy as np", "onnxruntime"], (_READ, _ONNX)
    elif to == "torch-export":
        imports, parts = ["numpy as np", "torch"], (_READ, _PROGRAM)
    else:
        imports = ["numpy as np", "torch"]
        imports += ["timm"] if library == "timm" else ["safetensors.torch", "torchvision"]
        opened = _TIMM if library == "timm" else _TORCHVISION
        parts = (_READ, _NORMALISED, opened, _ONE if members == 1 else _SEVERAL)
    lines = ["import json", *(f"import {module}" for module in sorted(imports))]
    body = "".join(part.format(**values) for part in (*parts, _USE))
    if description.max_pixels > MAX_PIXELS:
        body = f"\nImage.MAX_IMAGE_PIXELS = {description.max_pixels}\n{body.lstrip()}"
    return "\n".join(lines) + "\nfrom PIL import Image\n" + body
