"""A classifier's folder + corrections of its heads -> a new folder, for FAREWAY_CLASSIFIER_DIR.

The corrections become nodes behind the old outputs, under the same names; the rest of the graph,
the int8 encoder above all, is left as it is. A folder that has been corrected can be again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from fareway.classify import Classifier
from fareway.errors import ClassifierUnavailable
from fareway.train import LEAST_P, Correction

FILES = ("model.onnx", "tokenizer.json", "manifest.json")


def graft(
    source: Path, out: Path, corrections: Mapping[str, Correction], notes: Mapping[str, Any]
) -> str:
    """Writes the corrected classifier -> its version.

    Args:
        source: the folder of the classifier whose heads were corrected.
        corrections: by output: `complexity` of 5 columns, `sensitivity` of 2 (no, yes).
        notes: what the manifest says of the training, in place of the old model's metrics.

    Raises:
        ClassifierUnavailable: `out` holds something else, or the source is no such model.
        OSError: it cannot be written.
    """
    if out.resolve() == source.resolve():
        raise ClassifierUnavailable(f"{out}: is the classifier that is trained; give another --out")
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise ClassifierUnavailable(f"{out}: holds other files; give an empty folder")
    model = onnx.load_model(source / "model.onnx")
    for name, correction in corrections.items():
        _correct(model, name, correction)
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    content = model.SerializeToString()
    sha256 = hashlib.sha256(content).hexdigest()
    version = f"{str(manifest['version']).partition('+')[0]}+{sha256[:8]}"
    manifest["files"]["model.onnx"] = {"sha256": sha256, "bytes": len(content)}
    for name in ("metrics", "parity"):  # the old model's
        manifest.pop(name, None)
    manifest |= {"trained": {"from": manifest["version"], **notes}, "version": version}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:  # so that each file comes whole
        part = Path(scratch)
        (part / "model.onnx").write_bytes(content)
        shutil.copyfile(source / "tokenizer.json", part / "tokenizer.json")
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        (part / "manifest.json").write_text(text, encoding="utf-8")
        Classifier.load(part)  # what cannot be loaded replaces nothing
        for name in FILES:
            os.replace(part / name, out / name)
    return version


def _correct(model: ModelProto, output: str, correction: Correction) -> None:
    """Puts softmax(log p + state @ W + b) behind an output, and gives it the output's name."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    step = next(n for n in range(len(taken) + 1) if f"{output}_before_{n}" not in taken)

    def own(name: str) -> str:
        return f"{output}_{name}_{step}"

    def constant(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), own(name)))
        return own(name)

    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name == output:
                    names[position] = own("before")
    binary = correction.bias.shape == (2,)
    before, nodes = own("before"), list[NodeProto]()

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    if binary:  # (B,) of yes -> (B, 2) of no and yes
        column = add("Unsqueeze", [before, constant("axis", np.array([1], np.int64))], own("yes"))
        no = add("Sub", [constant("one", np.float32(1)), column], own("no"))
        before = add("Concat", [no, column], own("both"), axis=1)
    least = constant("least", np.float32(LEAST_P))
    log_p = add("Log", [add("Max", [before, least], own("clipped"))], own("log"))
    weights = constant("weights", correction.weights.astype(np.float32))
    seen = add("MatMul", ["state", weights], own("seen"))
    bias = constant("bias", correction.bias.astype(np.float32))
    shift = add("Add", [seen, bias], own("shift"))
    logits = add("Add", [log_p, shift], own("logits"))
    if binary:
        both = add("Softmax", [logits], own("after"), axis=-1)
        add("Gather", [both, constant("second", np.int64(1))], output, axis=1)
    else:
        add("Softmax", [logits], output, axis=-1)
    graph.node.extend(nodes)
