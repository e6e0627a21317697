"""A trained checkpoint -> models/classifier: int8 ONNX, tokenizer, manifest.

    python -m models.training.export --checkpoint models/training/checkpoint

Refuses to write where torch and the fp32 graph differ by more than 1e-3 in any probability.
Weights become int8 (one scale a column of each MatMul, one for the embedding); seven bits are
used of the eight, as AVX2 without VNNI saturates on more (Source: onnxruntime.ai, "Quantize ONNX
models", U8S8). The graph is optimised here at the EXTENDED level, which is the same on every
CPU, so that nothing is left to do at load.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import load_file
from torch import Tensor, nn

from models.training import stored
from models.training.fit import CHECKPOINT, CLASSIFIER, HERE
from models.training.model import Attention, Encoder, Shape
from models.training.served import Served

TOLERANCE = 1e-3  # of a probability, between torch and the fp32 graph
OPSET = 20

INPUTS = ("ids", "mask")
OUTPUTS = ("state", "complexity", "sensitivity", "kinds", "task", "dissatisfaction")


class FusedAttention(nn.Module):
    """`Attention` as one node of ONNX Runtime's, for the graph alone: torch has no values of it.

    Source: onnxruntime, docs/ContribOperators.md, com.microsoft.GroupQueryAttention.
    """

    def __init__(self, plain: Attention, shape: Shape) -> None:
        super().__init__()
        self.wq, self.wk, self.wv, self.wo = plain.wq, plain.wk, plain.wv, plain.wo
        self.shape, self.head_dim = shape, plain.head_dim

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        s, (b, t, c) = self.shape, x.shape
        kept = (b, s.n_kv_heads, t, self.head_dim)  # of keys and values, which nobody reads
        last = (torch.ones(b, dtype=torch.int32) * (t - 1)).to(torch.int32)
        size = torch.scalar_tensor(t, dtype=torch.int32)
        said, *_ = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::GroupQueryAttention",
            (self.wq(x), self.wk(x), self.wv(x), None, None, last, size, cos, sin),
            attrs={
                "num_heads": s.n_heads,
                "kv_num_heads": s.n_kv_heads,
                "do_rotary": 1,
                "rotary_interleaved": 0,
                "local_window_size": s.sliding_window,
                "scale": self.head_dim**-0.5,
            },
            dtypes=(torch.float32,) * 3,
            shapes=((b, t, c), kept, kept),
            version=1,
        )
        return self.wo(said)


def fused(served: Served) -> Served:
    """The same with each attention as one node: a prompt of 60 tokens takes an eighth less."""
    copy = deepcopy(served)
    for layer in copy.encoder.layers:
        layer.attention = FusedAttention(layer.attention, copy.encoder.shape)
    return copy


class NotTheSame(RuntimeError):
    """The exported graph does not compute what the checkpoint computes."""


def load(checkpoint: Path) -> Served:
    """encoder.safetensors and, where fit.py has been, heads.safetensors -> what is served."""
    config = json.loads((checkpoint / "encoder.json").read_text(encoding="utf-8"))
    encoder = Encoder(Shape(**config["shape"]))
    weights = load_file(checkpoint / "encoder.safetensors")
    encoder.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return Served(encoder, stored.read(checkpoint, config["shape"]["dim"])).eval()


def to_fp32(served: Served, path: Path) -> None:
    ids = torch.randint(3, 1000, (2, 12))
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    torch.onnx.export(
        served,
        (ids, torch.ones_like(ids)),
        str(path),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: batch, 1: tokens}, {0: batch, 1: tokens}),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    served.eval()  # the exporter may leave it in training mode


def to_int8(fp32: Path, path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "int8.onnx"
        kept = {"over_state", "alone", "inward", "outward"}  # small, and they decide
        readers = [n.name for n in onnx.load(fp32).graph.node if kept & {*n.input}]
        quantize_dynamic(
            fp32,
            plain,
            nodes_to_exclude=readers,
            op_types_to_quantize=["MatMul", "Gather", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def probe(seed: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of random ids of many shapes, some of them padded."""
    chance = np.random.default_rng(seed)
    batches = []
    for rows, length in ((1, 1), (1, 7), (3, 64), (2, 300), (1, 512)):
        ids = chance.integers(3, 32_000, (rows, length))
        mask = np.ones_like(ids)
        mask[-1, max(1, length // 2) :] = 0
        batches.append((ids, mask))
    return batches


def largest_difference(served: Served, fp32: onnxruntime.InferenceSession) -> float:
    worst = 0.0
    for ids, mask in probe():
        with torch.no_grad():
            expected = served(torch.from_numpy(ids), torch.from_numpy(mask))
        got = fp32.run(list(OUTPUTS), {"ids": ids, "mask": mask})
        for one, other in zip(expected, got, strict=True):
            worst = max(worst, float(np.abs(one.numpy() - other).max()))
    return worst


def export_fp32(checkpoint: Path, path: Path) -> float:
    """Write the fp32 graph and prove it -> the largest difference. Raises: NotTheSame."""
    served = load(checkpoint)
    to_fp32(fused(served), path)
    difference = largest_difference(served, session(path))
    if not difference <= TOLERANCE:
        path.unlink()
        raise NotTheSame(f"torch and ONNX differ by {difference:.5f}, more than {TOLERANCE}")
    return difference


def described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def manifest(checkpoint: Path, folder: Path, difference: float) -> dict[str, Any]:
    config = json.loads((checkpoint / "encoder.json").read_text(encoding="utf-8"))
    sources = json.loads((HERE / "sources.json").read_text(encoding="utf-8"))
    files = {name: described(folder / name) for name in ("model.onnx", "tokenizer.json")}
    metrics = checkpoint / "metrics.json"
    today = datetime.now(UTC).date().isoformat()
    return {
        "version": f"{today}-{files['model.onnx']['sha256'][:8]}",
        "max_tokens": 512,
        "files": files,
        "encoder": described(checkpoint / "encoder.safetensors")["sha256"],
        "seed": config["seed"],
        "commit": commit(),
        "data": sources,
        "config": config,
        "parity": {"torch_fp32_max_dp": round(difference, 7)},
        "onnxruntime": onnxruntime.__version__,
        "metrics": json.loads(metrics.read_text(encoding="utf-8")) if metrics.exists() else {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=CLASSIFIER)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fp32 = Path(scratch) / "fp32.onnx"
        difference = export_fp32(args.checkpoint, fp32)
        to_int8(fp32, args.out / "model.onnx")
    session(args.out / "model.onnx")  # it loads
    said = manifest(args.checkpoint, args.out, difference)
    (args.out / "manifest.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    size = said["files"]["model.onnx"]["bytes"]
    print(f"{said['version']}: {size / 1e6:.1f} MB, torch - fp32 {difference:.1e}")


if __name__ == "__main__":
    main()
