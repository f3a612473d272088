"""The sample models in PyTorch on one GPU, as fast as PyTorch runs them: the baseline of `dropbear bench backend`.

    python pytorch.py MODEL.pt... [--sizes 1,8,32,64,128] [--seconds 2] [--ways eager,graph,compile]

MODEL.pt is the TorchScript file of the zoo; the same layers are built here as an eager module. Half precision, channels
last, cuDNN's autotuner on. Every run begins with pixels in pinned host memory and ends with scores there, as a model node's
does: copy, normalise, infer, copy back. Prints one line of JSON for each model, way and batch size.
"""

import argparse
import json
import re
import statistics
import time
import zipfile

import torch

MEAN, SCALE = 127.0, 128.0


class Layers(torch.nn.Module):
    """The TorchScript file's statements, one by one, as an eager module."""

    def __init__(self, path):
        super().__init__()
        script = torch.jit.load(path, map_location="cpu")
        for name, tensor in script.named_parameters():
            self.register_parameter(name, torch.nn.Parameter(tensor.detach().clone(), requires_grad=False))
        with zipfile.ZipFile(path) as archive:
            code = archive.read("model/code/__torch__.py").decode()
        self.steps = [
            (result, function, self.arguments(text))
            for result, function, text in re.findall(r"^    (_\d+) = torch\.(\w+)\((.*)\)$", code, re.MULTILINE)
        ]
        self.returned = re.search(r"^    return (\w+)$", code, re.MULTILINE).group(1)

    @staticmethod
    def arguments(text):
        found = []
        for part in re.findall(r"\[[^\]]*\]|[^,\s]+", text):
            if part.startswith("["):
                found.append(("value", json.loads(part)))
            elif re.match(r"^-?[\d.]+$", part):
                found.append(("value", float(part) if "." in part else int(part)))
            elif part.startswith("self."):
                found.append(("weight", part.removeprefix("self.")))
            else:
                found.append(("feature", part))
        return found

    def forward(self, x):
        values = {"x": x}
        for result, function, arguments in self.steps:
            given = [
                value if kind == "value" else getattr(self, value) if kind == "weight" else values[value]
                for kind, value in arguments
            ]
            call = {
                "conv2d": torch.conv2d,
                "hardtanh": torch.nn.functional.hardtanh,
                "constant_pad_nd": torch.nn.functional.pad,
                "add": torch.add,
                "mean": torch.mean,
                "linear": torch.nn.functional.linear,
            }[function]
            values[result] = call(*given)
        return values[self.returned]


def whole(model):
    """From pixels on the device to scores there."""

    def run(pixels):
        x = (pixels.permute(0, 3, 1, 2).half() - MEAN) / SCALE
        return model(x).float()

    return run


def measure(run, side, size, seconds, way):
    """Images a second, and the milliseconds of one batch."""
    pixels = torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8).pin_memory()
    device_pixels = torch.empty_like(pixels, device="cuda")
    scores = torch.empty((size, 1000)).pin_memory()

    if way == "graph":
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                run(device_pixels)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            static = run(device_pixels)

        def once():
            device_pixels.copy_(pixels, non_blocking=True)
            graph.replay()
            scores.copy_(static, non_blocking=True)
            torch.cuda.synchronize()
    else:

        def once():
            device_pixels.copy_(pixels, non_blocking=True)
            scores.copy_(run(device_pixels), non_blocking=True)
            torch.cuda.synchronize()

    for _ in range(5):
        once()
    took = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        once()
        took.append(time.perf_counter() - start)
    return size * len(took) / sum(took), statistics.median(took) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sizes", default="1,8,32,64,128")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--ways", default="eager,graph,compile")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    sides = {"lite0": 224, "lite1": 240, "lite2": 260}
    with torch.inference_mode():
        for path in arguments.models:
            name = re.search(r"([^/]+)\.pt$", path).group(1)
            side = sides[name.split("-")[0]]
            model = Layers(path).cuda().half().to(memory_format=torch.channels_last).eval()
            for way in arguments.ways.split(","):
                run = whole(model)
                if way == "compile":
                    run = torch.compile(run, mode="reduce-overhead", dynamic=False)
                for size in map(int, arguments.sizes.split(",")):
                    try:
                        pace, batch_ms = measure(run, side, size, arguments.seconds, way)
                        line = {"images_per_s": round(pace), "batch_ms": round(batch_ms, 3)}
                    except Exception as error:  # one way that does not work here hides no other
                        line = {"error": str(error).splitlines()[0][:200]}
                    print(json.dumps({"model": name, "way": f"pytorch {way}", "size": size, **line}), flush=True)


if __name__ == "__main__":
    main()
